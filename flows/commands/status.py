"""`triptych status`: what is done, pending, failed; from the logs alone, but for the dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from features.errors import TriptychError
from features.extractors.registry import extractor_names, get_extractor
from features.store import Store, read_table, unfinished_batches
from features.store.models import list_models
from features.store.store import count_rows
from flows.cli import EXIT_DEAD_LETTERS, EXIT_DONE
from flows.console import dead_letters_text, out, out_json, size_text, table

if TYPE_CHECKING:
    from features.store.store import count_rows
from flows.cli import Call


def run(call: Call) -> int:
    """Print tables, stages and dead letters."""
    store = Store.open(call.store)
    tables = [_table(store, name) for name in store.tables()]
    stages = _stages(store)
    failures = read_table(store, "failures", columns=["closed_at"])["closed_at"].null_count
    if call.arguments.json:
        out_json({"store": store.root, "tables": tables, "stages": stages, "num_failures": failures})
    else:
        rows = [(t["table"], t["rows"], t["batches"], size_text(t["size_bytes"])) for t in tables]
        out(table(("table", "rows", "batches", "size"), rows))
        out("")
        out(table(("stage", "batches done", "pending"), [(s["stage"], s["done"], s["pending"]) for s in stages]))
        out(f"{store.root}: {dead_letters_text(failures, store.root)}")
    return EXIT_DEAD_LETTERS if call.arguments.strict and failures else EXIT_DONE


def _table(store: Store, name: str) -> dict[str, Any]:
    size = count_rows(store, name)
    return {"table": name, "rows": size.num_rows, "batches": size.num_batches, "size_bytes": size.size_bytes}


def _stages(store: Store) -> list[dict[str, Any]]:
    media = store.batches("media")
    stages = [{"stage": "ingest", "done": len(media), "pending": len(unfinished_batches(store))}]
    for name in extractor_names():
        try:
            coverage = get_extractor(name).spec.coverage_table
        except TriptychError:
            continue  # a broken plug-in does not hide the rest
        done = store.batches(coverage)
        stages.append({"stage": f"extract {name}", "done": len(done), "pending": len(media - done)})
    for ref in list_models(store):
        done = store.batches(ref.table)
        stages.append({"stage": f"score {ref.key}", "done": len(done), "pending": len(media - done)})
    return stages
