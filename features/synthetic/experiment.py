"""The fast path to evidence: generated samples through the real extractors and the real comparison, without videos.

With enough samples whose modalities each carry the mood in part, fusion is shown to help; with two of them turned to
noise it is not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from features.errors import ExtractionError
from features.extractors.engine import extract_media
from features.extractors.registry import get_extractor
from features.extractors.simple import clean_text
from features.extractors.tokens import TokenizerModel
from features.fusion.compare import compare
from features.fusion.dataset import build_examples
from features.fusion.recipe import RAW_INPUTS, load_recipe
from features.fusion.splits import assign_splits, groups_of
from features.fusion.targets import media_classes
from features.raw.segments import makers_of_raw
from features.raw.source import MemoryRows
from features.records import WITH_FAILURES, FeatureRow
from features.store.rows import audio_rows, feature_rows, frame_rows, table_of
from features.synthetic.evidence import make_samples
from features.tokenizer.training import train_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from features.fusion.examples import Examples
    from features.fusion.recipe import Recipe
    from features.fusion.results import Comparison
    from features.raw.segments import Found
    from features.synthetic.evidence import Sample


def compare_samples(
    num_samples: int,
    *,
    recipe: str = "sentiment",
    noise: Collection[str] = (),
    seed: int = 7,
    on_progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Generate samples, extract their features, train a recipe and compare; arguments as of `draw_examples`.

    Returns:
        The fused model beside each modality alone.
    """
    chosen, examples = draw_examples(num_samples, recipe=recipe, noise=noise, seed=seed, on_progress=on_progress)
    (on_progress or (lambda _: None))("training")
    return compare(chosen, examples)[1]


def draw_examples(
    num_samples: int,
    *,
    recipe: str,
    noise: Collection[str] = (),
    seed: int = 7,
    on_progress: Callable[[str], None] | None = None,
) -> tuple[Recipe, Examples]:
    """Generate samples and extract their features.

    Args:
        num_samples: How many, at least 400.
        recipe: A packaged recipe over the label set `sentiment`; a tokenizer is fitted where it wants `tokens`.
        noise: Modalities whose content is independent of the label: the control.
        seed: Start of the random numbers.
        on_progress: Called with what is being done.

    Returns:
        The recipe, with the tokenizer's vocabulary, and what it is trained and tested on.
    """
    tell = on_progress or (lambda _: None)
    chosen = load_recipe(recipe)
    tell(f"drawing {num_samples} samples")
    samples = make_samples(num_samples, seed=seed, noise=noise)
    media, labels = _media(samples), {chosen.labels: _labels(samples)}
    splits = assign_splits(groups_of(media), media_classes(chosen, labels), {}, chosen.splits.fractions)
    features, coverage = {}, {}
    for feature in chosen.tables:
        tell(f"extracting {feature.name}")
        name = feature.name.partition("@")[0]
        if name == "tokens":
            tokenizer = _fit_tokenizer(samples, splits)
            chosen = _with_vocabulary(chosen, feature.modality, tokenizer)
            features[feature.name], coverage[feature.name] = _tokens(tokenizer, feature.name, samples)
        else:
            features[feature.name], coverage[feature.name] = _extract(name, samples)
    examples = build_examples(
        chosen,
        media=media,
        features=features,
        coverage=coverage,
        labels=labels,
        transcripts_sources={sample.media.media_id: "subtitle" for sample in samples},
        splits=splits,
        raw=_raw(samples),
    )
    return chosen, examples


def _raw(samples: Sequence[Sample]) -> dict[str, Callable[[pa.Table], Found]]:
    frames = pa.concat_tables(frame_rows(s.media.media_id, list(s.media.frames)) for s in samples)
    audio = pa.concat_tables(audio_rows(s.media.media_id, list(s.media.audio)) for s in samples)
    return makers_of_raw(RAW_INPUTS, MemoryRows({"frames": frames, "audio": audio}))


def _fit_tokenizer(samples: Sequence[Sample], splits: Mapping[str, str]) -> TokenizerModel:
    """A tokenizer of the training split's text."""
    learned = (sample.media for sample in samples if splits[sample.media.media_id] == "train")
    return TokenizerModel(train_tokenizer(clean_text(one.text) for media in learned for one in media.utterances))


def _with_vocabulary(recipe: Recipe, modality: str, tokenizer: TokenizerModel) -> Recipe:
    encoder = replace(recipe.encoders[modality], vocabulary=tokenizer.processor.get_piece_size() + 1)
    return replace(recipe, encoders={**recipe.encoders, modality: encoder})


def _tokens(tokenizer: TokenizerModel, key: str, samples: Sequence[Sample]) -> tuple[pa.Table, pa.Table]:
    rows, coverage = [], []
    for media in (sample.media for sample in samples):
        ids = tokenizer([clean_text(one.text) for one in media.utterances])
        found = [FeatureRow(one.start_us, one.end_us, own) for one, own in zip(media.utterances, ids, strict=True)]
        rows.append(feature_rows(media.media_id, found, f"features/{key}"))
        coverage.append({"media_id": media.media_id, "status": "ok", "num_rows": len(found)})
    return pa.concat_tables(rows), table_of(f"coverage/{key}", coverage)


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
