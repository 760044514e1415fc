"""Training from a store: read what a recipe names, split, compare, register the model."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from features.errors import ConfigError, ModelError
from features.fusion.recipe import load_recipe
from features.schema import BATCH_ID
from features.store import read_table
from features.store.lineage import Lineage, code_version
from features.store.models import ModelRef, model_folder, newest_model, next_version
from features.store.upsert import upsert
from pipelines.reading import best_sources, read_tables

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from features.fusion.compare import Comparison
    from features.fusion.dataset import Examples
    from features.fusion.recipe import Recipe
    from features.store import Store


class TrainedModel(NamedTuple):
    """A registered model and what its training showed."""

    ref: ModelRef
    comparison: Comparison


def table_versions(store: Store, recipe: Recipe) -> dict[str, int]:
    """Versions of the tables that a recipe learns from, as they stand now."""
    names = [f"labels/{recipe.labels}"]
    for feature in recipe.features:
        names += [f"features/{feature.name}", f"coverage/{feature.name}"]
    names += ["shots@1"] if recipe.segmentation == "shots" else []
    return {name: store.load(name).version() for name in names if store.has(name)}


def why_not_train(store: Store, recipe: Recipe) -> str | None:
    """Why a nightly run has nothing to train, or None where it has.

    It trains when there are labels and the newest model of the recipe learned from other labels.
    """
    labels = f"labels/{recipe.labels}"
    if not store.has(labels) or not store.batches(labels):
        return f"no labels: {labels} is empty; load some: triptych --store {store.root} label {recipe.labels} FILE"
    newest = newest_model(store, recipe.name)
    if newest is None:
        return None
    from features.fusion.checkpoint import load_model

    learned = load_model(model_folder(store, newest)).table_versions.get(labels)
    if learned == store.load(labels).version():
        return f"{newest.key} has learned from these labels already"
    return None


def train_recipe(
    store: Store, name: str, run_id: str, *, on_progress: Callable[[str, int, int], None] | None = None
) -> TrainedModel:
    """Train a recipe, compare the fused model with each modality alone, and register it.

    Raises:
        ConfigError: The recipe is wrong, or the store lacks a table that it names.
        ModelError: The labels do not allow training.
    """
    from features.fusion.checkpoint import save_model
    from features.fusion.compare import compare

    recipe = load_recipe(name)
    examples, splits = read_examples(store, recipe)
    trained, comparison = compare(recipe, examples, on_progress=on_progress)
    _store_splits(store, recipe, splits, run_id)
    ref = ModelRef(recipe.name, next_version(store, recipe.name))
    folder = model_folder(store, ref)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        save_model(
            folder,
            trained,
            recipe,
            comparison,
            feature_specs=_feature_specs(store, recipe),
            table_versions=table_versions(store, recipe),
            created_at=datetime.now(UTC),
            run_id=run_id,
        )
    except OSError as error:
        message = f"cannot write the model to {str(folder)!r} ({os.strerror(error.errno or 0)}); free space or rights"
        raise ModelError(message) from error
    return TrainedModel(ref, comparison)


def deal_splits(store: Store, recipe: Recipe, run_id: str) -> dict[str, str]:
    """Split by labelled media as `train_recipe` would have it, dealt and stored now where that was not done before.

    Raises:
        ConfigError: The store has no labels for the recipe.
        ModelError: A label is of no class, or a group stands on two sides.
    """
    labels = _labels(store, recipe)
    groups, splits = _splits(store, recipe, read_table(store, "media").drop_columns([BATCH_ID]), labels)
    _store_splits(store, recipe, _split_rows(groups, splits), run_id)
    return splits


def read_examples(store: Store, recipe: Recipe) -> tuple[Examples, list[dict[str, str]]]:
    """The recipe's examples, aligned, and their rows of `splits`, to be stored once a model is made."""
    from features.fusion.dataset import build_examples

    labels = _labels(store, recipe)
    for feature in recipe.features:
        _require(store, f"features/{feature.name}", f"extract it: triptych --store {store.root} extract")
    tables = read_tables(store, [feature.name for feature in recipe.features], None)
    coverage = {f.name: read_table(store, f"coverage/{f.name}").drop_columns([BATCH_ID]) for f in recipe.features}
    groups, splits = _splits(store, recipe, tables.media, labels)
    examples = build_examples(
        recipe,
        media=tables.media,
        features=tables.features,
        coverage=coverage,
        labels=labels.drop_columns([BATCH_ID]),
        transcripts_sources=best_sources(tables.transcripts),
        splits=splits,
        transcripts=tables.transcripts,
        shots=tables.shots,
    )
    return examples, _split_rows(groups, splits)


def _labels(store: Store, recipe: Recipe) -> pa.Table:
    table = f"labels/{recipe.labels}"
    _require(store, table, f"load labels: triptych --store {store.root} label {recipe.labels} FILE")
    return read_table(store, table)


def _split_rows(groups: dict[str, str], splits: dict[str, str]) -> list[dict[str, str]]:
    return [{"group_id": groups[m], "media_id": m, "split": splits[m]} for m in sorted(groups)]


def _store_splits(store: Store, recipe: Recipe, rows: list[dict[str, str]], run_id: str) -> None:
    lineage = Lineage(run_id, "split", code_version(), inputs=store.versions([f"labels/{recipe.labels}"]))
    upsert(store, f"splits/{recipe.splits.name}", rows, key=("media_id",), lineage=lineage)


def _require(store: Store, table: str, remedy: str) -> None:
    if not store.has(table):
        message = f"the store {store.root!r} has no table {table!r}; {remedy}"
        raise ConfigError(message)


def _splits(store: Store, recipe: Recipe, media: pa.Table, labels: pa.Table) -> tuple[dict[str, str], dict[str, str]]:
    """Group and split by labelled media: as given with the labels, as stored, or dealt now."""
    from features.fusion.splits import assign_splits, groups_of
    from features.fusion.targets import media_classes

    given = _stored_splits(store, f"splits/{recipe.splits.name}") | _stored_splits(store, f"splits/{recipe.labels}")
    classes = media_classes(recipe, labels)
    groups = {media_id: group for media_id, group in groups_of(media, given).items() if media_id in classes}
    return groups, assign_splits(groups, classes, given, recipe.splits.fractions, recipe.splits.seed)


def _stored_splits(store: Store, table: str) -> dict[str, str]:
    rows = read_table(store, table, columns=["media_id", "split"]).to_pylist()
    return {row["media_id"]: row["split"] for row in rows}


def _feature_specs(store: Store, recipe: Recipe) -> dict[str, str]:
    specs = {feature.name: store.spec(f"features/{feature.name}") for feature in recipe.features}
    return {key: spec.to_json() for key, spec in specs.items() if spec is not None}
