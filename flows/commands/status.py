"""`triptych status`: what is done, pending, failed; from the logs alone, but for the dead letters."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from features.errors import TriptychError
from features.extractors.registry import default_extractors, get_extractor
from features.schema import BATCH_ID
from features.store import Store, read_table
from features.store.models import list_models
from features.store.store import size_of
from flows.cli import EXIT_DEAD_LETTERS, EXIT_DONE
from flows.console import dead_letters_text, out, out_json, size_text, table
from flows.report.collect_tokenizers import tokenizers_of
from pipelines.reading import makers_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from flows.cli import Call

    Row = dict[str, Any]


def run(call: Call) -> int:
    """Print tables, stages and dead letters."""
    store = Store.open(call.store)
    files = {name: store.files(name) for name in store.tables()}
    tables = [_table(name, listed) for name, listed in files.items()]
    batches = {name: frozenset(listed[BATCH_ID].to_pylist()) for name, listed in files.items()}
    stages = _stages(store, batches)
    tokenizers = [asdict(row) for row in tokenizers_of(store)]
    failures = _failures(store)
    num_failures = sum(row["open"] for row in failures)
    if call.arguments.json:
        found = {"tables": tables, "stages": stages, "tokenizers": tokenizers, "failures": failures}
        out_json({"store": store.root, **found, "num_failures": num_failures})
    else:
        _print(tables, stages, tokenizers, failures)
        out(f"{store.root}: {dead_letters_text(num_failures, store.root)}")
    return EXIT_DEAD_LETTERS if call.arguments.strict and num_failures else EXIT_DONE


def _print(tables: list[Row], stages: list[Row], tokenizers: list[Row], failures: list[Row]) -> None:
    rows = [(t["table"], t["rows"], t["batches"], size_text(t["size_bytes"])) for t in tables]
    out(table(("table", "rows", "batches", "size"), rows))
    out("")
    out(table(("stage", "batches done", "pending"), [(s["stage"], s["done"], s["pending"]) for s in stages]))
    out("")
    if tokenizers:
        lines = [(f"{row['name']}@{row['version']}", row["num_pieces"], row["created_at"]) for row in tokenizers]
        out(table(("tokenizer", "pieces", "made (UTC)"), lines))
        out("")
    if failures:
        out(table(("stage", "attempts", "dead letters"), [(f["stage"], f["attempts"], f["open"]) for f in failures]))
        out("")


def _table(name: str, files: pa.Table) -> Row:
    size = size_of(files)
    return {"table": name, "rows": size.num_rows, "batches": size.num_batches, "size_bytes": size.size_bytes}


def _stages(store: Store, batches: Mapping[str, frozenset[str]]) -> list[Row]:
    media = batches.get("media", frozenset())
    stages = [_stage("ingest", media, batches.get("sources", frozenset()))]
    for name in dict.fromkeys((*default_extractors(), *makers_of(store))):
        try:
            spec = get_extractor(name).spec
        except TriptychError:
            continue  # a broken plug-in does not hide the rest
        stages.append(_stage(f"extract {spec.name}", batches.get(spec.coverage_table, frozenset()), media))
    for ref in list_models(store):
        stages.append(_stage(f"score {ref.key}", batches.get(ref.table, frozenset()), media))
    return stages


def _stage(name: str, done: frozenset[str], wanted: frozenset[str]) -> Row:
    return {"stage": name, "done": len(done), "pending": len(wanted - done)}


def _failures(store: Store) -> list[Row]:
    """Open dead letters by stage and by how often the media was tried."""
    rows = read_table(store, "failures", columns=["stage", "attempts", "closed_at"])
    still_open = rows.filter(pc.is_null(rows["closed_at"])).select(["stage", "attempts"])
    counted = still_open.group_by(["stage", "attempts"]).aggregate([([], "count_all")])
    by_stage = counted.rename_columns(["stage", "attempts", "open"])
    found: list[Row] = by_stage.sort_by([("stage", "ascending"), ("attempts", "ascending")]).to_pylist()
    return found
