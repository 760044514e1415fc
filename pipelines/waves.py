"""A wave - one Beam run over a few batches - and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from features.schema import BATCH_ID
from features.store.lineage import Lineage, code_version

if TYPE_CHECKING:
    from features.store import Store

Stage = Literal["ingest", "extract", "score", "repair", "late"]

HEARTBEAT = "TRIPTYCH_HEARTBEAT"
"""Environment variable: the file that a wave's workers touch as they get on."""


@dataclass(frozen=True, slots=True)
class Wave:
    """What one Beam run does.

    Attributes:
        store: Root of the store.
        stage: Job that does it.
        targets: For extract: extractors; for score: one model; for repair: base tables; for ingest: none.
        batch_ids: For each target (or for the stage): its batches.
        run_id: Run that it belongs to, for lineage.
        generation: 1 for new batches; a higher one replaces what the batches have.
        scope: For a higher generation: do all media of the batches again, or only those that `failed`.
        media_ids: For a higher generation of extract: of these only the ones named here; empty: all. The rest of the
            batch keeps its rows.
    """

    store: str
    stage: Stage
    batch_ids: tuple[str, ...]
    run_id: str
    targets: tuple[str, ...] = ()
    generation: int = 1
    scope: Literal["all", "failed"] = "all"
    media_ids: tuple[str, ...] = ()

    @property
    def keeps_rows(self) -> bool:
        """Whether some media of its batches keep their rows."""
        return self.scope == "failed" or bool(self.media_ids)

    def lineage(
        self, stage: str, *, fingerprint: str = "", inputs: tuple[tuple[str, int], ...] = (), config: str = ""
    ) -> Lineage:
        """What every file and commit of the wave says of its making."""
        return Lineage(
            run_id=self.run_id,
            stage=stage,
            code_version=code_version(),
            generation=self.generation,
            fingerprint=fingerprint,
            inputs=inputs,
            config=config,
        )


class Summary(NamedTuple):
    """What is committed of some batches: rows by table, and dead letters."""

    num_batches: int
    rows: dict[str, int]
    num_failures: int

    def plus(self, other: Summary) -> Summary:
        """Both together."""
        tables = {*self.rows, *other.rows}
        rows = {table: self.rows.get(table, 0) + other.rows.get(table, 0) for table in sorted(tables)}
        return Summary(self.num_batches + other.num_batches, rows, self.num_failures + other.num_failures)

    @classmethod
    def none(cls) -> Summary:
        """Nothing done."""
        return cls(0, {}, 0)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Summary:
        """Read what `_asdict` wrote."""
        return cls(int(data["num_batches"]), dict(data["rows"]), int(data["num_failures"]))


def summarise(store: Store, tables: tuple[str, ...], batch_ids: tuple[str, ...], stages: tuple[str, ...]) -> Summary:
    """Count what is committed of batches, from the logs (and the dead letters' rows), not from a runner's counters.

    Args:
        store: The store.
        tables: Tables that the stage fills.
        batch_ids: Batches of the wave.
        stages: Names under which dead letters were written.
    """
    from features.store import read_table

    rows: dict[str, int] = {}
    wanted = set(batch_ids)
    for table in tables:
        files = store.files(table).select([BATCH_ID, "num_records"]).to_pylist() if store.has(table) else []
        rows[table] = sum(row["num_records"] for row in files if row[BATCH_ID] in wanted)
    failures = read_table(store, "failures", batch_ids=batch_ids, columns=["stage", "closed_at"]).to_pylist()
    num_failures = sum(row["stage"] in stages and row["closed_at"] is None for row in failures)
    return Summary(len(batch_ids), rows, num_failures)
