"""`triptych ingest SOURCE…`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flows import stages
from flows.commands.jobs import finish, run_waves

if TYPE_CHECKING:
    from flows.cli import Call


def run(call: Call) -> int:
    """Decode what is new."""
    started, run_id = time.monotonic(), stages.new_run_id()
    store, waves = stages.plan_ingest(call.config, call.store, run_id)
    return finish(call, store, run_id, run_waves(call, store, "ingest", waves, run_id), started)
