"""`triptych failures`: list the dead letters, or try them again."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from features.errors import ConfigError
from features.store import Store, read_table
from features.store.failures import Wanted, open_letters
from flows.cli import EXIT_DEAD_LETTERS, EXIT_DONE
from flows.console import out, out_json, table

if TYPE_CHECKING:
    from flows.cli import Call
    from flows.retry import Due
    from pipelines.waves import Summary

    Row = dict[str, Any]

_MANY = 10


def run(call: Call) -> int:
    """List the dead letters, newest last; with `--retry` try them again."""
    store = Store.open(call.store)
    given = call.arguments
    wanted = Wanted(given.stage, given.error, given.media, _media_ids(store, given.media))
    return _retry(call, store, wanted) if given.retry else _list(call, store, wanted)


def _media_ids(store: Store, text: str) -> frozenset[str]:
    """Media that a name stands for; what failed to be ingested is in no table."""
    from flows.finding import find_media

    try:
        return frozenset([find_media(store, text)["media_id"]]) if text else frozenset()
    except ConfigError:
        return frozenset()


def _list(call: Call, store: Store, wanted: Wanted) -> int:
    rows = read_table(store, "failures").sort_by("failed_at").to_pylist()
    rows = [row for row in rows if wanted.takes(row) and (call.arguments.all or row["closed_at"] is None)]
    if call.arguments.json:
        out_json(rows)
    else:
        for row in rows:
            out("\n    ".join(_lines(row)))
        if len(rows) > _MANY:
            out(_groups(rows))
        out(f"{len(rows)} dead letter{'s' if len(rows) > 1 else ''}" if rows else "no dead letters")
    return EXIT_DEAD_LETTERS if call.arguments.strict and rows else EXIT_DONE


def _lines(row: Row) -> tuple[str, ...]:
    tried = f", attempt {row['attempts']}" if (row["attempts"] or 1) > 1 else ""
    closed = f", closed {row['closed_at']:%Y-%m-%d %H:%M:%S}" if row["closed_at"] else ""
    head = f"{row['failed_at']:%Y-%m-%d %H:%M:%S}  {row['stage']}  {row['error']}{tried}{closed}"
    return head, row["uri"] or row["media_id"] or row["batch_id"], row["message"]


def _groups(rows: list[Row]) -> str:
    """How many of each, for who has many."""
    counts = Counter((row["stage"], row["error"]) for row in rows)
    most = {key: max(r["attempts"] or 1 for r in rows if (r["stage"], r["error"]) == key) for key in counts}
    groups = [(stage, error, count, most[stage, error]) for (stage, error), count in sorted(counts.items())]
    return table(("stage", "error", "letters", "most attempts"), groups)


def _retry(call: Call, store: Store, wanted: Wanted) -> int:
    from flows import retry, stages
    from flows.commands.jobs import run_waves

    if call.arguments.all:
        message = "--all names closed letters too, which need no retry; leave out --all or --retry"
        raise ConfigError(message)
    started, run_id = time.monotonic(), stages.new_run_id()
    due = retry.due_letters(store, wanted, call.config.max_attempts)
    ingest, gone = retry.plan_ingest_again(call.config, store, due, run_id)
    extract = partial(retry.plan_extract_again, call.config, store, due.again, run_id)
    score = partial(retry.plan_score_again, call.config, store, due.again, run_id)
    summary = run_waves(call, store, retry.INGEST, ingest, run_id)
    summary = summary.plus(run_waves(call, store, retry.EXTRACT, extract, run_id))
    summary = summary.plus(run_waves(call, store, retry.SCORE, score, run_id))
    return _finish(call, store, due, (*due.notes, *gone), summary, run_id, started)


def _finish(
    call: Call, store: Store, due: Due, notes: tuple[str, ...], summary: Summary, run_id: str, started: float
) -> int:
    """Say what became of the letters, what was left out and why; the count at the end is of those still open."""
    from flows.commands.jobs import finish

    tried = {letter.about for letter in (*due.ingest, *due.again)}
    still = tried.intersection(letter.about for letter in open_letters(store))
    told = {"tried": len(tried), "resolved": len(tried) - len(still), "notes": list(notes)}
    if not call.arguments.json:
        for note in notes:
            out(f"left out: {note}")
        if tried:
            out(f"{told['tried']} tried, {told['resolved']} resolved")
    return finish(call, store, run_id, summary._replace(num_failures=len(still) + due.num_left), started, told)
