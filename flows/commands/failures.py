"""`triptych failures`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.store import Store, read_table
from flows.cli import EXIT_DEAD_LETTERS, EXIT_DONE
from flows.console import out, out_json

if TYPE_CHECKING:
    from flows.cli import Call


def run(call: Call) -> int:
    """Print the dead letters, newest last."""
    store = Store.open(call.store)
    rows = read_table(store, "failures").sort_by("failed_at").to_pylist()
    stage = call.arguments.stage
    rows = [row for row in rows if row["stage"].startswith(stage) and (call.arguments.all or row["closed_at"] is None)]
    if call.arguments.json:
        out_json(rows)
    else:
        for row in rows:
            out(f"{row['failed_at']:%Y-%m-%d %H:%M:%S}  {row['stage']}  {row['error']}")
            out(f"    {row['uri'] or row['media_id']}\n    {row['message']}")
        out(f"{len(rows)} dead letters" if rows else "no dead letters")
    return EXIT_DEAD_LETTERS if call.arguments.strict and rows else EXIT_DONE
