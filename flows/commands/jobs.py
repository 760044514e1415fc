"""Running a stage's waves from the command line: shared by ingest, extract and score."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flows import stages
from flows.cli import EXIT_DEAD_LETTERS, EXIT_DONE
from flows.console import dead_letters_text, out, out_json, progress, say, table
from flows.metering import Meter
from flows.planned import planned_line
from pipelines.leasing import leased
from pipelines.reading import num_media
from pipelines.supervise import run_wave
from pipelines.waves import Summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from features.store import Store
    from flows.cli import Call
    from pipelines.waves import Wave


def run_waves(call: Call, store: Store, stage: str, plan: Callable[[], Iterable[Wave]], run_id: str) -> Summary:
    """Run a stage's waves one after the other, beside other runs, telling progress; a row in `runs` at the end."""
    started_at, summary, status = datetime.now(UTC), Summary.none(), "failed"
    meter = Meter(call.config)
    try:
        with closing(leased(store, run_id, plan, on_wait=say)) as waves:
            for number, wave in enumerate(waves, start=1):
                with progress(stages.wave_label(stage, number, wave), num_media(store, wave)) as tell:
                    summary = summary.plus(run_wave(wave, call.config, call.beam_args, on_progress=tell))
                meter.add(wave)
                stages.check_ingested(store, wave)
        status = "done"
        meter.note(store, run_id, call.arguments.command, summary)
    finally:
        if summary.num_batches:
            stages.record_run(store, run_id, call.arguments.command, stage, started_at, summary, status)
    return summary


def finish(
    call: Call,
    store: Store,
    run_id: str,
    summary: Summary,
    started: float,
    more: Mapping[str, object] | None = None,
) -> int:
    """Print what is committed, in JSON with `more`, and return the exit status."""
    seconds = time.monotonic() - started
    if call.arguments.json:
        told = {"store": store.root, "run_id": run_id, **summary._asdict(), "seconds": round(seconds, 3)}
        out_json({**told, **(more or {})})
    elif summary.num_batches:
        out(table(("table", "rows"), summary.rows.items()))
    if not call.arguments.json:
        done = f"{summary.num_batches} batches in {seconds:.1f} s" if summary.num_batches else "nothing to do"
        planned = planned_line(store, run_id)
        if planned:
            out(planned)
        out(f"{done}, {dead_letters_text(summary.num_failures, store.root)}")
    return EXIT_DEAD_LETTERS if call.arguments.strict and summary.num_failures else EXIT_DONE
