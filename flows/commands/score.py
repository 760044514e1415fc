"""`triptych score MODEL`."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from features.errors import ConfigError
from features.store import Store
from features.store.models import find_model
from flows import stages
from flows.commands.jobs import finish, run_waves

if TYPE_CHECKING:
    from flows.cli import Call


def run(call: Call) -> int:
    """Score pending batches."""
    started, run_id = time.monotonic(), stages.new_run_id()
    store = Store.open(call.store)
    if not call.config.model:
        message = "no model was named; name one: triptych score sentiment"
        raise ConfigError(message)
    ref = find_model(store, call.config.model)
    plan = partial(stages.plan_score, call.config, store, ref, run_id)
    return finish(call, store, run_id, run_waves(call, store, "score", plan, run_id), started)
