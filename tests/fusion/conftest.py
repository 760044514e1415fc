"""A small made-up archive as tables: features that speak for a class, labels, coverage, splits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from features.fusion.configs import EncoderConfig, TrainingConfig
from features.fusion.dataset import build_examples
from features.fusion.examples import Examples, Inputs, TaskTargets
from features.fusion.recipe import Recipe, RecipeFeature, Task
from features.fusion.splits import assign_splits, groups_of
from features.schema import COVERAGE, FEATURES, LABELS, MEDIA, schema_of
from features.spec import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WIDTHS = {"pictures@1": 12, "sounds@1": 8, "words@1": 10}
MODALITIES = {"pictures@1": "video", "sounds@1": "audio", "words@1": "text"}
DURATION_US = 4_000_000


def table_of(name: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows of a table, missing columns null."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema_of(name))


@dataclass(frozen=True)
class Archive:
    """Everything that `build_examples` takes."""

    recipe: Recipe
    media: pa.Table
    features: dict[str, pa.Table]
    coverage: dict[str, pa.Table]
    labels: pa.Table
    sources: dict[str, str]
    splits: dict[str, str]
    shots: pa.Table | None = None

    def examples(self, **changes: Any) -> Examples:
        archive = replace(self, **changes)
        return build_examples(
            archive.recipe,
            media=archive.media,
            features=archive.features,
            coverage=archive.coverage,
            labels=archive.labels,
            transcripts_sources=archive.sources,
            splits=archive.splits,
            shots=archive.shots,
        )

    def specs(self) -> dict[str, str]:
        inputs: dict[str, Any] = {"video": "frames", "audio": "audio", "text": "transcripts"}
        return {
            key: FeatureSpec(key[:-2], 1, MODALITIES[key], inputs[MODALITIES[key]], shape=(width,)).to_json()
            for key, width in WIDTHS.items()
        }


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    features = tuple(RecipeFeature(key, modality) for key, modality in MODALITIES.items())
    return Recipe(
        name="moods",
        labels="mood",
        tasks=(Task("mood", ("low", "high")),),
        segmentation="labels:mood",
        score_segmentation="whole",
        features=features,
        encoders={name: EncoderConfig("mlp" if name == "text" else "linear", 8, 0.3) for name in MODALITIES.values()},
        training=TrainingConfig(epochs=30, seeds=(0, 1)),
    )


@pytest.fixture(scope="session")
def make_archive(recipe: Recipe) -> Callable[..., Archive]:
    def make(count: int = 60, seed: int = 0) -> Archive:
        random = np.random.default_rng(seed)
        ids = [f"{index:032x}" for index in range(count)]
        classes = dict(zip(ids, random.permutation(["low", "high"] * (count // 2)).tolist(), strict=True))
        media = [
            {"media_id": name, "duration_us": DURATION_US, "consent": "unstated", "subject_ids": None} for name in ids
        ]
        labels = [
            {"media_id": name, "start_us": 0, "end_us": DURATION_US, "task": "mood", "class": mood, "weight": 1.0}
            for name, mood in classes.items()
        ]
        features, coverage = {}, {}
        for key, width in WIDTHS.items():
            direction = random.normal(size=width)
            rows = [
                {
                    "media_id": name,
                    "start_us": start,
                    "end_us": start + 1_000_000,
                    "values": random.normal(size=width) + direction * (0.6 if classes[name] == "high" else -0.6),
                }
                for name in ids
                for start in range(0, DURATION_US, 1_000_000)
            ]
            features[key] = pa.Table.from_pylist(rows, schema=FEATURES)
            coverage[key] = pa.Table.from_pylist(
                [{"media_id": name, "status": "ok", "num_rows": 4} for name in ids], schema=COVERAGE
            )
        table = pa.Table.from_pylist(media, schema=MEDIA)
        splits = assign_splits(groups_of(table), classes, {}, recipe.splits.fractions)
        label_table = pa.Table.from_pylist(labels, schema=LABELS)
        return Archive(recipe, table, features, coverage, label_table, dict.fromkeys(ids, "subtitle"), splits)

    return make


@pytest.fixture(scope="session")
def archive(make_archive: Callable[..., Archive]) -> Archive:
    return make_archive()


@pytest.fixture(scope="session")
def make_table() -> Callable[..., pa.Table]:
    return table_of


@pytest.fixture(scope="session")
def make_examples(recipe: Recipe) -> Callable[..., Examples]:
    """Examples straight from vectors by modality and targets; a group a row, splits 60/20/20."""

    def make(
        values: dict[str, np.ndarray], targets: np.ndarray, present: dict[str, np.ndarray] | None = None
    ) -> Examples:
        count = len(targets)
        masks = present or {name: np.ones(count, bool) for name in values}
        split = ["train" if i % 5 < 3 else "dev" if i % 5 == 3 else "test" for i in range(count)]
        widths = {key: values[name].shape[1] for key, name in MODALITIES.items() if name in values}
        names = [f"{index:032x}" for index in range(count)]
        return Examples(
            media_id=names,
            start_us=np.zeros(count, np.int64),
            end_us=np.full(count, DURATION_US),
            inputs=Inputs({name: np.asarray(value, np.float32) for name, value in values.items()}, masks, widths),
            tasks={
                "mood": TaskTargets(
                    "class", recipe.task.classes, np.asarray(targets, np.int64), np.ones(count, np.float32)
                )
            },
            groups=names,
            split=split,
        )

    return make
