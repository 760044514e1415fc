"""`triptych maintain`: upkeep of the tables, or the end of an extractor's."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from features.errors import ConfigError, StoreError
from features.store import Store
from features.store.drop import drop_extracted, find_extracted
from features.store.maintain import maintain
from flows.cli import EXIT_DONE
from flows.console import out, out_json, say, size_text, table
from flows.stages import new_run_id

if TYPE_CHECKING:
    from features.store.drop import Extracted
    from features.store.maintain import Upkeep
    from flows.cli import Call


def run(call: Call) -> int:
    """Merge, sweep and clean, or drop."""
    store = Store.open(call.store)
    return _drop(call, store) if call.arguments.drop else _maintain(call, store)


def _maintain(call: Call, store: Store) -> int:
    arguments, started = call.arguments, time.monotonic()
    upkeep = maintain(
        store,
        new_run_id(),
        retention_hours=arguments.retention_hours,
        force=arguments.yes,
        dry_run=arguments.dry_run,
    )
    if arguments.json:
        tables = [item._asdict() for item in upkeep.tables]
        out_json({"store": store.root, "dry_run": arguments.dry_run, **upkeep._asdict(), "tables": tables})
    else:
        print_upkeep(upkeep, dry_run=arguments.dry_run, seconds=time.monotonic() - started)
    if upkeep.problems:
        raise StoreError("; ".join(upkeep.problems))
    return EXIT_DONE


def print_upkeep(upkeep: Upkeep, *, dry_run: bool, seconds: float) -> None:
    """What was done a table, and all in all."""
    rows = [
        (item.table, item.merged, item.swept, item.log_files, size_text(item.freed_bytes))
        for item in upkeep.tables
        if any(item[1:])
    ]
    if rows:
        out(table(("table", "files merged", "files swept", "log files", "freed"), rows))
    if upkeep.others:
        out(f"{upkeep.others} other leftovers of dead runs, {size_text(upkeep.others_bytes)}")
    freed = size_text(upkeep.freed_bytes)
    done = f"{freed} would be freed; nothing was changed" if dry_run else f"{freed} freed"
    out(f"{len(upkeep.tables)} tables in {seconds:.1f} s, {done}")


def _drop(call: Call, store: Store) -> int:
    extracted = find_extracted(store, call.arguments.drop)
    question = _question(extracted)
    if not call.arguments.dry_run:
        _ask(question, yes=call.arguments.yes)
        drop_extracted(store, extracted, new_run_id())
    if call.arguments.json:
        out_json({"store": store.root, "dry_run": call.arguments.dry_run, **extracted._asdict()})
    elif call.arguments.dry_run:
        out(f"would {question}")
    else:
        out(f"dropped {', '.join(extracted.tables)}; {size_text(extracted.size_bytes)} freed")
    return EXIT_DONE


def _question(extracted: Extracted) -> str:
    learned = ", ".join(extracted.models)
    size = f"{extracted.num_rows:,} rows, {size_text(extracted.size_bytes)}"
    asked = f"drop {', '.join(extracted.tables)} ({size})"
    return f"{asked}, from which {learned} learned" if learned else asked


def _ask(question: str, *, yes: bool) -> None:
    """Go on only where the user says yes.

    Raises:
        ConfigError: The answer is another, or there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        message = f"will not {question} without being told to; add --yes"
        raise ConfigError(message)
    say(f"{question}? [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        message = f"did not {question}; nothing was changed: answer y, or add --yes"
        raise ConfigError(message)
