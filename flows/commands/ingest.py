"""`triptych ingest SOURCE…`."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from flows import stages
from flows.commands.jobs import finish, run_waves

if TYPE_CHECKING:
    from flows.cli import Call


def run(call: Call) -> int:
    """Decode what is new."""
    started, run_id = time.monotonic(), stages.new_run_id()
    store, _ = stages.plan_ingest(call.config, call.store, run_id)
    plan = partial(stages.plan_unfinished, call.config, store, run_id)
    return finish(call, store, run_id, run_waves(call, store, "ingest", plan, run_id), started)
