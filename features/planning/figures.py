"""The figures of a plan, and what became of them; neither names a source or a media."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, cast, get_args, get_origin, get_type_hints

from features.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECONDS_AN_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Sources:
    """What was listed.

    Attributes:
        listed: Sources that are named.
        new: Of these, those that no plan of the store knows, and that a run would take.
        waiting: Planned by an earlier run and not ingested yet; a run finishes them first.
        refused: Of `new` and `waiting`, those whose use is refused for all purposes: hashed and not decoded.
        copies: Of them, probable copies of others of them, by size and samples of their bytes: not decoded twice.
        broken: Of them, sources that cannot be read; by the sample.
        sampled: Sources that were looked into.
        size_bytes: Of `new` and `waiting`.
    """

    listed: int = 0
    new: int = 0
    waiting: int = 0
    refused: int = 0
    copies: int = 0
    broken: float = 0.0
    sampled: int = 0
    size_bytes: float = 0.0


@dataclass(frozen=True, slots=True)
class StageFigures:
    """CPU and time of a stage; `origin` says what they rest on: earlier runs, a measure, or defaults."""

    stage: str
    cpu_seconds: float
    wall_seconds: float
    origin: str = ""

    @property
    def cpu_hours(self) -> float:
        """CPU hours."""
        return self.cpu_seconds / _SECONDS_AN_HOUR


@dataclass(frozen=True, slots=True)
class TableFigures:
    """Bytes that a run writes to a table, and reads of it again for later stages."""

    table: str
    written_bytes: float
    read_bytes: float = 0.0
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        created_at: When it was made, ISO 8601 in UTC.
        sources: What was listed.
        media: Media that come in: without copies and broken files.
        media_seconds: Of their time.
        margin_seconds: Half the width of a 95 % interval of it.
        video_seconds: Of those with video.
        audio_seconds: Of those with sound.
        backlog_seconds: Time of media that are in, and that extractors or models still owe.
        stages: CPU and time by stage.
        tables: Bytes by table, sources too (which are read only).
        num_workers: Workers that the time is for.
        disk_free_bytes: Of the store's disk; None where it has none.
    """

    created_at: str
    sources: Sources
    media: float
    media_seconds: float
    margin_seconds: float
    video_seconds: float
    audio_seconds: float
    backlog_seconds: float
    stages: tuple[StageFigures, ...]
    tables: tuple[TableFigures, ...]
    num_workers: int
    disk_free_bytes: float | None = None

    @property
    def cpu_seconds(self) -> float:
        """Of all stages."""
        return sum(stage.cpu_seconds for stage in self.stages)

    @property
    def wall_seconds(self) -> float:
        """Of all stages, one after the other."""
        return sum(stage.wall_seconds for stage in self.stages)

    @property
    def written_bytes(self) -> float:
        """Of all tables: what the store grows by."""
        return sum(table.written_bytes for table in self.tables)

    def to_json(self) -> dict[str, Any]:
        """For a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Read what `to_json` wrote.

        Raises:
            StoreError: It is no plan.
        """
        return cast("Plan", from_plain(cls, data))


def from_plain(kind: Any, data: Any) -> Any:  # noqa: ANN401 - by type hint
    """A dataclass of numbers, texts, dataclasses and tuples of them from JSON; unknown keys are passed over.

    Raises:
        StoreError: A key is missing, or a value is not what it should be.
    """
    try:
        return _made(kind, data)
    except (KeyError, TypeError, ValueError) as error:
        message = f"{str(data)[:80]!r} are no figures of a plan ({error!r}); delete the file that holds them"
        raise StoreError(message) from error


def _made(kind: Any, data: Any) -> Any:  # noqa: ANN401
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        given = {item.name: data[item.name] for item in fields(kind) if item.name in data}
        return cast("Any", kind)(**{name: _made(hints[name], value) for name, value in given.items()})
    if get_origin(kind) is tuple:
        return tuple(_made(get_args(kind)[0], one) for one in data)
    if type(None) in get_args(kind):
        return None if data is None else _made(get_args(kind)[0], data)
    return kind(data)
