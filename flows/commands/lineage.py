"""`triptych lineage`: what made the batches of a table, a model, or the rows of one media."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from features.errors import ConfigError, ModelError
from features.schema import BATCH_ID
from features.store import Store
from features.store.files import checksum_in_name
from features.store.lineage import Lineage, read_lineage
from features.store.models import find_model, list_models, model_folder
from flows.cli import EXIT_DONE
from flows.console import out, out_json, table
from flows.finding import find_media

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from features.store.models import ModelRef
    from flows.cli import Call

_HEADER = ("batches", "stage", "run", "code", "generation", "fingerprint", "inputs")
_NOT_STATED = Lineage("not stated", "not stated")


class MadeFile(NamedTuple):
    """A live file, and what made its rows, oldest first."""

    table: str
    batch_id: str
    path: str
    num_rows: int
    lineage: tuple[Lineage, ...]


def run(call: Call) -> int:
    """Print what made the thing that is named: a table, a model or a media, looked for in this order."""
    store, name = Store.open(call.store), call.arguments.of
    if name in store.tables():
        return _table(store, name, call)
    try:
        ref = find_model(store, name)
    except ModelError:
        return _media(store, name, call)
    return _model(store, ref, call)


def made_files(store: Store, name: str, batch_ids: Iterable[str] | None = None) -> list[MadeFile]:
    """Live files of a table, or of some of its batches, with what made them."""
    wanted = None if batch_ids is None else set(batch_ids)
    return [
        MadeFile(
            name,
            row[BATCH_ID],
            row["path"],
            row["num_records"],
            read_lineage(store.table_path(name) / row["path"]),
        )
        for row in store.files(name).to_pylist()
        if wanted is None or row[BATCH_ID] in wanted
    ]


def _table(store: Store, name: str, call: Call) -> int:
    batch = call.arguments.batch
    files = made_files(store, name, [batch] if batch else None)
    if batch and not files:
        message = f"table {name!r} in {store.root!r} has no batch {batch!r}; list them: triptych lineage {name} --json"
        raise ConfigError(message)
    spec = store.spec(name)
    if call.arguments.json:
        out_json({"table": name, "spec": None if spec is None else asdict(spec), "files": [_plain(f) for f in files]})
        return EXIT_DONE
    if spec is not None:
        out(
            f"{name}: {spec.source or spec.name}, fingerprint {spec.fingerprint}, {spec.licence or 'no licence stated'}"
        )
        out("")
    out(_grouped(files))
    return EXIT_DONE


def _model(store: Store, ref: ModelRef, call: Call) -> int:
    from features.fusion.checkpoint import load_model
    from features.spec import FeatureSpec

    model = load_model(model_folder(store, ref))
    features = {key: FeatureSpec.from_json(text).fingerprint for key, text in model.feature_specs.items()}
    facts = {
        "model": ref.key,
        "recipe": model.recipe.name,
        "trained": model.created_at,
        "run": model.run_id or _NOT_STATED.run_id,
        "code": model.code_version or _NOT_STATED.run_id,
        "weights": model.fingerprint,
        "scored batches": len(store.batches(ref.table)),
    }
    if call.arguments.json:
        out_json({**facts, "features": features, "tables": dict(model.table_versions)})
        return EXIT_DONE
    out("\n".join(f"{name:<15} {value}" for name, value in facts.items()))
    out("")
    out(table(("learned from", "version"), sorted(model.table_versions.items())))
    out("")
    out(table(("feature", "fingerprint"), sorted(features.items())))
    return EXIT_DONE


def _media(store: Store, name: str, call: Call) -> int:
    try:
        media = find_media(store, name)
    except ConfigError as error:
        names = ", ".join([*store.tables(), *(ref.key for ref in list_models(store))])
        message = f"{error}; tables and models: {names or 'none'}"
        raise ConfigError(message) from error
    batch_id = media[BATCH_ID]
    tables = [table for table in store.tables() if batch_id in store.batches(table)]
    files = [file for table in tables for file in made_files(store, table, [batch_id])]
    if call.arguments.json:
        out_json({"media_id": media["media_id"], "uri": media["uri"], BATCH_ID: batch_id, "files": _all(files)})
        return EXIT_DONE
    out(f"{media['name']}: media {media['media_id']} from {media['uri']}, batch {batch_id}")
    out("")
    rows = [(file.table, *_columns(one)) for file in files for one in file.lineage or (_NOT_STATED,)]
    out(table(("table", *_HEADER[1:]), rows))
    return EXIT_DONE


def _grouped(files: Sequence[MadeFile]) -> str:
    """A line for all batches that were made alike."""
    alike = Counter((_columns(one), file.batch_id) for file in files for one in file.lineage or (_NOT_STATED,))
    batches = Counter(columns for columns, _ in alike)
    return table(_HEADER, [(count, *columns) for columns, count in sorted(batches.items())])


def _columns(one: Lineage) -> tuple[str, ...]:
    inputs = ", ".join(f"{name}:{version}" for name, version in one.inputs)
    return one.stage, one.run_id, one.code_version, str(one.generation), one.fingerprint, inputs


def _all(files: Iterable[MadeFile]) -> list[dict[str, Any]]:
    return [_plain(file) for file in files]


def _plain(file: MadeFile) -> dict[str, Any]:
    made = [{**asdict(one), "inputs": one.versions} for one in file.lineage]
    return {**file._asdict(), "checksum": checksum_in_name(file.path), "lineage": made}
