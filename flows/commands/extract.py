"""`triptych extract [NAME…]`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from features.store import Store
from flows import stages
from flows.commands.jobs import finish, run_waves
from flows.consenting import extract_planner

if TYPE_CHECKING:
    from flows.cli import Call


def run(call: Call) -> int:
    """Fill feature tables, level by level: text extractors after the recognisers that they read."""
    started, run_id = time.monotonic(), stages.new_run_id()
    store = Store.open(call.store)
    levels = stages.wanted_extractors(call.config, store)
    stages.require_batches(store)
    plan = extract_planner(call.config, store, levels, run_id)
    return finish(call, store, run_id, run_waves(call, store, "extract", plan, run_id), started)
