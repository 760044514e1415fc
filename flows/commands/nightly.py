"""`triptych nightly SOURCE…`: the flow, here and now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from features.errors import TriptychError
from features.store import Store
from flows.cli import EXIT_DEAD_LETTERS, EXIT_DONE
from flows.console import dead_letters_text, out, out_json, say, table
from flows.planned import planned_line
from flows.prefect_setup import quiet_prefect
from flows.stages import check_inputs

if TYPE_CHECKING:
    from flows.cli import Call
    from flows.outcome import NightlyOutcome
    from pipelines.options import NightlyConfig


def run(call: Call) -> int:
    """Run the flow in this process."""
    started = time.monotonic()
    outcome = run_here(call.store, call.config, call.beam_args)
    if call.arguments.json:
        out_json({**outcome.to_json(), "seconds": round(time.monotonic() - started, 3)})
    else:
        print_outcome(outcome, time.monotonic() - started)
    return EXIT_DEAD_LETTERS if call.arguments.strict and outcome.num_failures else EXIT_DONE


def run_here(store: str, config: NightlyConfig, beam_args: tuple[str, ...] = ()) -> NightlyOutcome:
    """The nightly flow in this process, on the Prefect server of PREFECT_API_URL, or on one that lives as long."""
    check_inputs(config, store)  # what is wrong is told before Prefect starts
    quiet_prefect()
    say("starting Prefect")
    from prefect import flow

    from flows.nightly import run_nightly

    @flow(name="nightly", validate_parameters=False)
    def nightly_here() -> NightlyOutcome:
        return run_nightly(store, config, beam_args=list(beam_args), on_progress=say)

    try:
        outcome: NightlyOutcome = nightly_here()
    except RuntimeError as error:
        if "ephemeral Prefect" not in str(error):
            raise
        message = f"Prefect did not start ({error}); run again, or set PREFECT_API_URL to a server that runs"
        raise TriptychError(message) from error
    return outcome


def print_outcome(outcome: NightlyOutcome, seconds: float) -> None:
    """The last lines that people see."""
    rows = [
        (stage.stage, name, count)
        for stage in outcome.stages
        for name, count in (stage.summary.rows if stage.summary.num_batches else {}).items()
    ]
    if rows:
        out(table(("stage", "table", "rows"), rows))
    for stage in outcome.stages:
        if stage.detail and stage.stage != "report":
            out(f"{stage.stage}: {stage.detail}")
    out(f"report: {outcome.report}")
    planned = planned_line(Store(outcome.store), outcome.run_id)
    if planned:
        out(planned)
    done = "done" if outcome.num_batches else "nothing new"
    out(f"{done} in {seconds:.1f} s, {dead_letters_text(outcome.num_failures, outcome.store)}")
