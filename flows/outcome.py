"""What a run came to, for the last lines that people see and for `--json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pipelines.waves import Summary


class StageOutcome(NamedTuple):
    """One stage of a run: what is committed, how long it took, and a word where rows do not tell."""

    stage: str
    summary: Summary
    seconds: float
    detail: str = ""


class NightlyOutcome(NamedTuple):
    """A whole run."""

    store: str
    run_id: str
    stages: tuple[StageOutcome, ...]
    report: str

    @property
    def num_failures(self) -> int:
        """Dead letters that this run wrote."""
        return sum(stage.summary.num_failures for stage in self.stages)

    @property
    def num_batches(self) -> int:
        """Batches done, over all stages."""
        return sum(stage.summary.num_batches for stage in self.stages)

    def count_rows(self) -> list[dict[str, Any]]:
        """A row a stage and table, for a table artifact."""
        rows = []
        for stage in self.stages:
            base = {"stage": stage.stage, "batches": stage.summary.num_batches, "seconds": round(stage.seconds, 1)}
            base["dead letters"] = stage.summary.num_failures
            tables = stage.summary.rows or {"": 0}
            rows += [{**base, "table": table, "rows": count} for table, count in tables.items()]
        return rows

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "store": self.store,
            "run_id": self.run_id,
            "report": self.report,
            "num_failures": self.num_failures,
            "stages": [
                {
                    "stage": stage.stage,
                    "num_batches": stage.summary.num_batches,
                    "rows": stage.summary.rows,
                    "num_failures": stage.summary.num_failures,
                    "seconds": round(stage.seconds, 3),
                    "detail": stage.detail,
                }
                for stage in self.stages
            ],
        }
