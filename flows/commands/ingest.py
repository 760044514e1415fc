"""`triptych ingest SOURCE…`."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from features.privacy.consent_policy import find_policy
from features.store.storage import place_of
from flows import stages
from flows.commands.jobs import finish, run_waves
from flows.consenting import apply_file, late_planner
from flows.console import say
from pipelines.stated import brings_labels, state_listed

if TYPE_CHECKING:
    from flows.cli import Call


def run(call: Call) -> int:
    """Decode what is new."""
    started, run_id = time.monotonic(), stages.new_run_id()
    find_policy(place_of(call.store), call.config.consent)  # what is wrong with it is told before all else
    store, _ = stages.plan_ingest(call.config, call.store, run_id)
    plan = partial(stages.plan_unfinished, call.config, store, run_id)
    summary = run_waves(call, store, "ingest", plan, run_id)
    consent = apply_file(store, call.config.consent, run_id)
    if consent:
        say(f"consent: {consent}")
        summary = summary.plus(run_waves(call, store, "late", late_planner(call.config, store, run_id), run_id))
    if brings_labels(call.config):
        say(f"labels: {state_listed(call.config, store, run_id).text()}")
    return finish(call, store, run_id, summary, started)
