"""The fast path to evidence: generated samples through the real extractors and the real comparison, without videos.

With enough samples whose modalities each carry the mood in part, fusion is shown to help; with two of them turned to
noise it is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from features.errors import ExtractionError
from features.extractors.engine import extract_media
from features.extractors.registry import get_extractor
from features.fusion.compare import compare
from features.fusion.dataset import build_examples
from features.fusion.recipe import load_recipe
from features.fusion.splits import assign_splits, groups_of
from features.fusion.targets import media_classes
from features.records import WITH_FAILURES, FeatureRow
from features.store.rows import feature_rows, table_of
from features.synthetic.evidence import make_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from features.fusion.compare import Comparison
    from features.synthetic.evidence import Sample


def compare_samples(
    num_samples: int,
    *,
    noise: Collection[str] = (),
    seed: int = 7,
    on_progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Generate samples, extract their features, train the sentiment recipe and compare.

    Args:
        num_samples: How many, at least 400.
        noise: Modalities whose content is independent of the label: the control.
        seed: Start of the random numbers.
        on_progress: Called with what is being done.

    Returns:
        The fused model beside each modality alone.
    """
    tell = on_progress or (lambda _: None)
    recipe = load_recipe("sentiment")
    tell(f"drawing {num_samples} samples")
    samples = make_samples(num_samples, seed=seed, noise=noise)
    media = _media(samples)
    labels = _labels(samples)
    features, coverage = {}, {}
    for feature in recipe.features:
        tell(f"extracting {feature.name}")
        features[feature.name], coverage[feature.name] = _extract(feature.name.partition("@")[0], samples)
    tell("training")
    examples = build_examples(
        recipe,
        media=media,
        features=features,
        coverage=coverage,
        labels=labels,
        transcripts_sources={sample.media.media_id: "subtitle" for sample in samples},
        splits=assign_splits(groups_of(media), media_classes(recipe, labels), {}, recipe.splits.fractions),
    )
    return compare(recipe, examples)[1]


def _media(samples: Sequence[Sample]) -> pa.Table:
    rows = ({"media_id": s.media.media_id, "duration_us": s.media.duration_us, "subject_ids": []} for s in samples)
    return table_of("media", rows)


def _labels(samples: Sequence[Sample]) -> pa.Table:
    rows = (
        {
            "media_id": s.media.media_id,
            "start_us": 0,
            "end_us": s.media.duration_us,
            "task": "sentiment",
            "class": s.label,
            "weight": 1.0,
        }
        for s in samples
    )
    return table_of("labels/sentiment", rows)


def _extract(name: str, samples: Sequence[Sample]) -> tuple[pa.Table, pa.Table]:
    extractor = get_extractor(name)
    rows, coverage = [], []
    for found in extract_media(extractor, extractor.load("auto"), (sample.media for sample in samples)):
        if found.status in WITH_FAILURES:
            message = f"{name} failed on generated sample {found.media_id}: {found.message}"
            raise ExtractionError(message)
        rows.append(feature_rows(found.media_id, [row for row in found.rows if isinstance(row, FeatureRow)]))
        coverage.append({"media_id": found.media_id, "status": found.status, "num_rows": len(found.rows)})
    return pa.concat_tables(rows), table_of("coverage/any@1", coverage)
