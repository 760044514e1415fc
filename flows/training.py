"""Training from a store: read what a recipe names, split, compare, register the model."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from features.errors import ConfigError, ModelError
from features.fusion.recipe import load_recipe, recipe_to_json
from features.identity import fingerprint
from features.schema import BATCH_ID
from features.store import read_table
from features.store.lineage import Lineage, code_version
from features.store.models import ModelRef, model_folder, newest_model, next_version
from features.store.storage import local_of, remedy
from features.store.upsert import upsert
from pipelines.model_inputs import read_inputs
from pipelines.reading import best_sources, read_tables

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pyarrow as pa

    from features.fusion.examples import Examples
    from features.fusion.loop import Epoch
    from features.fusion.recipe import Recipe
    from features.fusion.results import Comparison
    from features.fusion.training import OnEpoch
    from features.store import Store


class TrainedModel(NamedTuple):
    """A registered model and what its training showed."""

    ref: ModelRef
    comparison: Comparison


def table_versions(store: Store, recipe: Recipe) -> dict[str, int]:
    """Versions of the tables that a recipe learns from, as they stand now."""
    names = [f"labels/{label_set}" for label_set in recipe.label_sets]
    for feature in recipe.tables:
        names += [f"features/{feature.name}", f"coverage/{feature.name}"]
    names += ["shots@1"] if recipe.segmentation == "shots" else []
    return {name: store.load(name).version() for name in names if store.has(name)}


def why_not_train(store: Store, recipe: Recipe) -> str | None:
    """Why a nightly run has nothing to train, or None where it has.

    It trains when there are labels and the newest model of the recipe learned from other labels.
    """
    for name in recipe.label_sets:
        if not store.has(f"labels/{name}") or not store.batches(f"labels/{name}"):
            remedy = f"load some: triptych --store {store.root} label {name} FILE"
            return f"no labels: labels/{name} is empty; {remedy}"
    newest = newest_model(store, recipe.name)
    if newest is None:
        return None
    from features.fusion.checkpoint import load_model

    learned = load_model(model_folder(store, newest)).table_versions
    labels = [f"labels/{name}" for name in recipe.label_sets]
    if all(learned.get(name) == store.load(name).version() for name in labels):
        return f"{newest.key} has learned from these labels already"
    return None


def train_recipe(
    store: Store,
    name: str,
    run_id: str,
    *,
    ablate: str = "single",
    num_processes: int = 1,
    on_progress: Callable[[str, int, int], None] | None = None,
    on_epoch: OnEpoch | None = None,
    on_problem: Callable[[str], None] | None = None,
) -> TrainedModel:
    """Train a recipe, compare the fused model with each modality alone, and register it.

    Checkpoints lie in the store until the model is registered: a training that was killed goes on where it stood.

    Args:
        store: The store.
        name: A packaged recipe, or the path of one.
        run_id: For lineage.
        ablate: What is trained beside the fused model: `none`, `single`, `full`.
        num_processes: Processes that share each batch.
        on_progress: Called with the name of the model that starts, its number from 0, and how many there are.
        on_epoch: Told after each epoch.
        on_problem: Told, in words, what went wrong and was got over.

    Raises:
        ConfigError: The recipe is wrong, or the store lacks a table that it names.
        ModelError: The labels do not allow training.
    """
    from features.fusion.checkpoint import EpochOf, save_model
    from features.fusion.compare import compare
    from features.fusion.training import TrainingRun

    recipe = with_vocabulary(store, load_recipe(name))
    versions = table_versions(store, recipe)
    examples, splits = read_examples(store, recipe)
    kept = _checkpoint_folder(store, recipe, versions, splits, examples)
    epochs: list[EpochOf] = []

    def tell(model: str, seed: int, epoch: Epoch) -> None:
        epochs.append(EpochOf(model, seed, *epoch))
        if on_epoch:
            on_epoch(model, seed, epoch)

    run = TrainingRun(kept, num_processes, tell, on_problem=on_problem)
    trained, comparison = compare(recipe, examples, ablate=ablate, run=run, on_progress=on_progress)
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
            table_versions=versions,
            created_at=datetime.now(UTC),
            run_id=run_id,
            epochs=epochs,
        )
    except OSError as error:
        what = remedy(folder, error, "free space or rights")
        message = f"cannot write the model to {str(folder)!r} ({error.strerror or error}); {what}"
        raise ModelError(message) from error
    shutil.rmtree(kept, ignore_errors=True)
    return TrainedModel(ref, comparison)


def with_vocabulary(store: Store, recipe: Recipe) -> Recipe:
    """The recipe with the number of ids of each modality that is embedded, as the feature's table states it.

    Raises:
        ConfigError: The table does not state how many ids there are.
    """
    encoders = dict(recipe.encoders)
    for modality, encoder in recipe.encoders.items():
        if not encoder.embedding or encoder.vocabulary:
            continue
        key = recipe.features_of(modality)[0].name
        _require(store, f"features/{key}", f"extract it: triptych --store {store.root} extract")
        spec = store.spec(f"features/{key}")
        stated = str(dict(spec.parameters).get("pieces", "")) if spec is not None else ""
        if not stated.isdigit():
            message = f"recipe {recipe.name!r} embeds ids of {key}, whose table does not state how many there are;"
            message += f" state it: encoders.{modality}.vocabulary"
            raise ConfigError(message)
        encoders[modality] = replace(encoder, vocabulary=int(stated) + 1)
    return replace(recipe, encoders=encoders)


def _checkpoint_folder(
    store: Store, recipe: Recipe, versions: dict[str, int], splits: list[dict[str, str]], examples: Examples
) -> Path:
    """Where the checkpoints of this very training lie: the same recipe, tables, splits, segments and code.

    The segments count because consent may be withdrawn from a media, or new content supersede it, in between.
    """
    segments = list(zip(examples.media_id, examples.start_us.tolist(), examples.end_us.tolist(), strict=True))
    identity = [recipe_to_json(recipe), versions, splits, segments, code_version()]
    return local_of(store.path / "models" / recipe.name) / f".training-{fingerprint(identity)}"


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
    """The recipe's examples, aligned, and their rows of `splits`, to be stored once a model is made.

    Features are read batch by batch, only of batches that hold labelled media; what is aligned of them is kept in
    memory up to a limit, beyond it in a mapped file (`features.fusion.inputs.Gathered`).
    """
    from features.fusion.dataset import examples_of, label_segments

    labels = _labels(store, recipe)
    for feature in recipe.tables:
        remedy = f"extract it: triptych --store {store.root} extract; or give its vectors: import-features"
        _require(store, f"features/{feature.name}", remedy)
    tables = read_tables(store, (), None)
    coverage = {f.name: read_table(store, f"coverage/{f.name}").drop_columns([BATCH_ID]) for f in recipe.tables}
    groups, splits = _splits(store, recipe, tables.media, labels)
    labelled = label_segments(recipe, tables.media, labels, coverage, splits, tables.transcripts, tables.shots)
    rows = labelled.wanted()
    inputs = read_inputs(store, recipe, labelled, rows, best_sources(tables.transcripts))
    return examples_of(recipe, labelled, inputs, rows), _split_rows(groups, splits)


def _labels(store: Store, recipe: Recipe) -> dict[str, pa.Table]:
    """Rows by label set."""
    for name in recipe.label_sets:
        remedy = f"load labels: triptych --store {store.root} label {name} FILE"
        _require(store, f"labels/{name}", remedy)
    return {name: read_table(store, f"labels/{name}").drop_columns([BATCH_ID]) for name in recipe.label_sets}


def _split_rows(groups: dict[str, str], splits: dict[str, str]) -> list[dict[str, str]]:
    return [{"group_id": groups[m], "media_id": m, "split": splits[m]} for m in sorted(groups)]


def _store_splits(store: Store, recipe: Recipe, rows: list[dict[str, str]], run_id: str) -> None:
    lineage = Lineage(
        run_id, "split", code_version(), inputs=store.versions([f"labels/{name}" for name in recipe.label_sets])
    )
    upsert(store, f"splits/{recipe.splits.name}", rows, key=("media_id",), lineage=lineage)


def _require(store: Store, table: str, remedy: str) -> None:
    if not store.has(table):
        message = f"the store {store.root!r} has no table {table!r}; {remedy}"
        raise ConfigError(message)


def _splits(
    store: Store, recipe: Recipe, media: pa.Table, labels: dict[str, pa.Table]
) -> tuple[dict[str, str], dict[str, str]]:
    """Group and split by labelled media: as given with the labels, as stored, or dealt now."""
    from features.fusion.splits import assign_splits, groups_of
    from features.fusion.targets import media_classes

    given = _stored_splits(store, f"splits/{recipe.splits.name}")
    for name in recipe.label_sets:
        given |= _stored_splits(store, f"splits/{name}")
    classes = media_classes(recipe, labels)
    groups = {media_id: group for media_id, group in groups_of(media, given).items() if media_id in classes}
    return groups, assign_splits(groups, classes, given, recipe.splits.fractions, recipe.splits.seed)


def _stored_splits(store: Store, table: str) -> dict[str, str]:
    rows = read_table(store, table, columns=["media_id", "split"]).to_pylist()
    return {row["media_id"]: row["split"] for row in rows}


def _feature_specs(store: Store, recipe: Recipe) -> dict[str, str]:
    specs = {feature.name: store.spec(f"features/{feature.name}") for feature in recipe.tables}
    return {key: spec.to_json() for key, spec in specs.items() if spec is not None}
