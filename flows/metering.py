"""What a stage of a run takes, noted in the store beside the plan that the run was made by."""

from __future__ import annotations

import os
import resource
import time
from typing import TYPE_CHECKING

from features.errors import StoreError
from features.planning.figures import TableFigures
from features.planning.records import StageRecord, add_stage, take_plan
from features.planning.work import bytes_in, work_in
from pipelines.options import IngestConfig
from pipelines.planning import plan_key

if TYPE_CHECKING:
    from features.store import Store
    from pipelines.options import RunConfig
    from pipelines.waves import Summary, Wave

_KINDS = ("ingest", "extract", "score")


class Meter:
    """Counts CPU and time of a stage from its making on, and which batches it did.

    CPU seconds are those of child processes that have ended; waves are such.
    """

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._begun = time.monotonic()
        self._cpu_seconds = _cpu_seconds_of_children()
        self._waves: list[Wave] = []

    def add(self, wave: Wave) -> None:
        """Note that a wave is done."""
        self._waves.append(wave)

    def note(self, store: Store, run_id: str, command: str, summary: Summary) -> None:
        """Write it down, unless nothing was done, or only parts of batches were done again.

        What cannot be written is not worth a run: it is left out.
        """
        waves = self._waves
        if not waves or waves[0].stage not in _KINDS or any(wave.generation > 1 for wave in waves):
            return
        try:
            plan = take_plan(plan_key(self._config, store.root)) if isinstance(self._config, IngestConfig) else None
            add_stage(store, run_id, command, self._record(store, summary), plan)
        except (StoreError, OSError):
            return

    def _record(self, store: Store, summary: Summary) -> StageRecord:
        waves = self._waves
        batch_ids = sorted({batch_id for wave in waves for batch_id in wave.batch_ids})
        targets = tuple(dict.fromkeys(target for wave in waves for target in wave.targets))
        at_once = min(self._config.num_workers, os.cpu_count() or 1)
        return StageRecord(
            stage=f"score {targets[0]}" if waves[0].stage == "score" else waves[0].stage,
            targets=targets,
            num_waves=len(waves),
            num_workers=at_once,
            cpu_seconds=_cpu_seconds_of_children() - self._cpu_seconds,
            wall_seconds=time.monotonic() - self._begun,
            work=work_in(store, batch_ids),
            num_batches=len(batch_ids),
            num_failures=summary.num_failures,
            written=tuple(TableFigures(table, bytes_in(store, table, batch_ids)) for table in summary.rows),
        )


def _cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
