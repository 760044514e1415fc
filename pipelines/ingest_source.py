"""One source of a batch: hashed, decoded in a sandbox, and its rows written; or a dead letter."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import MediaError, SandboxError, StoreError, TriptychError
from features.identity import MICROSECONDS
from features.media.limits import Limits
from features.media.options import tables_asked
from features.media.sandbox import LongMedia
from features.samples.record import files_of, loose_of, media_id_of, stated_size
from features.schema import BASE_TABLES
from features.sources.spool import told_of
from features.sources.urls import is_url, name_of
from features.store.storage import local_of
from pipelines.options import fetching_of
from pipelines.sinks import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from features.media.options import DecodeOptions
    from features.media.parts import Part
    from features.media.protocol import Outcome
    from features.media.sandbox import Decoded, Sandbox
    from features.records import MediaInfo
    from features.store import Store
    from features.store.files import BatchWriter
    from features.store.index import MediaIndex
    from features.store.plan import Source
    from features.store.tombstones import Tombstones
    from pipelines.options import DecodeConfig

STAGE = "ingest"

_MEGABYTE = 1 << 20
_FACTS = (
    *("container", "duration_us", "width", "height", "rotation", "frame_rate", "sample_rate_hz"),
    *("has_video", "has_audio", "has_text", "language"),
)


def limits_of(config: DecodeConfig) -> Limits:
    """What the decoding of one media may take."""
    return Limits(
        stall_seconds=config.decode_stall_seconds,
        seconds_a_second=config.decode_seconds_a_second,
        memory_bytes=config.decode_memory_megabytes * _MEGABYTE,
        output_bytes=config.decode_output_megabytes * _MEGABYTE,
        fetching=fetching_of(config),
    )


def span_of(config: DecodeConfig) -> int:
    """Length of the parts that workers share a long media in, microseconds; 0: they never do."""
    return config.span_minutes * 60 * MICROSECONDS


def spooled_tables(options: DecodeOptions) -> tuple[str, ...]:
    """Tables whose rows come out of decoding, by its options."""
    return (*BASE_TABLES, *tables_asked(asdict(options)))


@dataclass(frozen=True, slots=True)
class Decoder:
    """How sources of a store are decoded.

    Attributes:
        store: The rows wait on its disk until their media is done.
        sandbox: Where it is done.
        options: What to take.
        limits: What a media may take.
        beat: Called about once a second.
        span_us: A media twice as long is not decoded but noted, for workers to share; 0: whatever its length.
    """

    store: Store
    sandbox: Sandbox
    options: DecodeOptions
    limits: Limits
    beat: Callable[[], None]
    span_us: int = 0

    def decode(self, source: Source, media_id: str, tables: Sequence[str], part: Part | None = None) -> Decoded:
        """Rows of a source or of a part of it, and of the text beside it; to be closed.

        Raises:
            LongMedia: It is to be split.
        """
        sample = source.sample
        loose = loose_of(source)
        is_first = part is None or part.number == 0
        beside = is_first and sample is not None and loose is None and sample.text is not None
        return self.sandbox.decode(
            Path(source.uri),
            self.options,
            media_id=media_id,
            folder=local_of(self.store.path),
            tables=tables,
            sidecars=[Path(sidecar) for sidecar in source.sidecars],
            limits=self.limits,
            on_progress=self.beat,
            span_us=self.span_us if part is None else 0,
            part=part,
            sample=loose,
            text=(sample.text or "", sample.language) if sample is not None and beside else None,
        )


class KnownMedia:
    """Media that need no decoding: committed by another batch as this one began, done in this one, or forgotten."""

    def __init__(self, index: MediaIndex, batch_id: str, tombstones: Tombstones | None) -> None:
        self.tombstones = tombstones
        self._index = index
        self._batch_id = batch_id
        self._done: set[str] = set()

    def __contains__(self, media_id: str) -> bool:
        return media_id in self._done or self._index.batch_of(media_id) not in (None, self._batch_id)

    def add(self, media_id: str) -> None:
        """Note that this batch has a media."""
        self._done.add(media_id)


@dataclass
class Outcomes:
    """What became of a batch's sources so far; `long` are those that workers will share, with their lengths."""

    media: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    forgotten: list[tuple[Source, str]] = field(default_factory=list)
    long: list[tuple[Source, str, int]] = field(default_factory=list)

    def result(self, source: Source, media_id: str | None, status: str) -> None:
        """Note what became of a source."""
        row = {"uri": source.uri, "media_id": media_id, "status": status, "finished_at": datetime.now(UTC)}
        self.results.append(row)

    def done(self, source: Source, media_id: str, info: MediaInfo | None) -> None:
        """Note a media, with its facts where it was decoded."""
        self.media.append(media_row(source, media_id, info))
        self.result(source, media_id, "done")

    def forgot(self, source: Source, media_id: str, tombstones: Tombstones) -> None:
        """Forgotten bytes in a place where they did not lie before: only a hash of it is kept."""
        self.forgotten.append((source, media_id))
        self.result(source._replace(uri=tombstones.uri_hash(source.uri)), None, "forgotten")

    def failed(self, source: Source, letter: Failure) -> None:
        """Note a dead letter."""
        self.failures.append(letter)
        self.result(source, letter.media_id, "failed")

    def missed(self, source: Source, media_id: str, outcome: Outcome, local: Source | None = None) -> None:
        """Note what of a media cannot be used: tracks, and text files beside it; `local`: its copy."""
        told = partial(told_of, source=source, local=local or source)
        for part, error, message in outcome.missed:
            self.failures.append(Failure(STAGE, media_id, f"{source.uri}#{part}", error, told(message)))
        for path, error, message in outcome.bad_sidecars:
            self.failures.append(Failure(STAGE, media_id, told(path), error, told(message)))


def letter_of(source: Source, media_id: str | None, error: Exception, local: Source | None = None) -> Failure:
    """The dead letter of a source; what is no error of our tree is a surprise, and asks to be reported."""
    kind, message = type(error).__name__, told_of(str(error), source, local or source)
    if not isinstance(error, TriptychError):
        message = f"{source.uri!r}: {message or kind}; report it with the file if it plays elsewhere"
    return Failure(STAGE, media_id, source.uri, kind, message, source.attempt)


def ingest_source(
    source: Source,
    copy: AbstractContextManager[Source],
    known: KnownMedia,
    decoder: Decoder,
    outcomes: Outcomes,
    writers: Mapping[str, BatchWriter],
) -> None:
    """Decode a source by its local copy, unless its bytes are known, and write its rows; of one that fails, none.

    Raises:
        StoreError: The store cannot be read or written.
        SandboxError: Nothing can be decoded here.
    """
    with ExitStack() as stack:
        try:
            local = stack.enter_context(copy)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - as below
            outcomes.failed(source, letter_of(source, None, error))
            return
        _ingest_local(source, local, known, decoder, outcomes, writers)


def _ingest_local(
    source: Source,
    local: Source,
    known: KnownMedia,
    decoder: Decoder,
    outcomes: Outcomes,
    writers: Mapping[str, BatchWriter],
) -> None:
    media_id = None
    if local is not source:
        decoder = replace(decoder, span_us=0)  # other workers would have to copy it, too
    try:
        media_id = media_id_of(local)
        if known.tombstones is not None and media_id in known.tombstones.media_ids:
            outcomes.forgot(source, media_id, known.tombstones)
            return
        check_unchanged(local)
        if media_id in known:
            outcomes.result(source, media_id, "duplicate")
            return
        decoded = None if source.consent == "refused" else _decode(local, media_id, decoder, tuple(writers))
    except LongMedia as long:
        known.add(str(media_id))
        outcomes.long.append((source, str(media_id), long.duration_us))
        return
    except (StoreError, SandboxError):
        raise
    except Exception as error:  # noqa: BLE001 - a surprise costs its media, never the batch
        outcomes.failed(source, letter_of(source, media_id, error, local))
        return
    known.add(media_id)
    outcomes.done(source, media_id, None if decoded is None else decoded.outcome.info)
    if decoded is not None:
        outcomes.missed(source, media_id, decoded.outcome, local)
        with closing(decoded):
            write_rows(decoded, writers)


def write_rows(decoded: Decoded, writers: Mapping[str, BatchWriter]) -> None:
    """Write a media's rows, a few megabytes at a time."""
    for table, writer in writers.items():
        for rows in decoded.rows(table):
            writer.write(rows)


def media_row(source: Source, media_id: str, info: MediaInfo | None) -> dict[str, Any]:
    """A row of `media`; without facts where nothing was decoded."""
    sample = source.sample
    row: dict[str, Any] = {
        "media_id": media_id,
        "name": (sample and sample.name) or (name_of(source.uri) if is_url(source.uri) else Path(source.uri).name),
        "uri": source.uri,
        "consent": source.consent,
        "has_video": False,
        "has_audio": False,
        "has_text": False,
        "subject_ids": list(sample.subject_ids) if sample else [],
        "recorded_at": sample.recorded_at if sample else None,
        "ingested_at": datetime.now(UTC),
    }
    if info is not None:
        row |= {name: getattr(info, name) for name in _FACTS}
        row |= info.quality._asdict() if info.quality is not None else {}
    if sample is not None and sample.language:
        row["language"] = sample.language
    return row


def _decode(source: Source, media_id: str, decoder: Decoder, tables: Sequence[str]) -> Decoded:
    empty = next((file for file in files_of(source) if not Path(file).stat().st_size), None)
    if empty is not None:
        message = f"{empty!r} is empty (0 bytes); copy it again"
        raise MediaError(message)
    decoded = decoder.decode(source, media_id, tables)
    try:
        check_unchanged(source)
    except BaseException:
        decoded.close()
        raise
    return decoded


def check_unchanged(source: Source) -> None:
    """Refuse bytes that are not those of the plan: of a file still being written, rows of two contents would mix.

    Raises:
        MediaError: The file has changed.
    """
    size_bytes, mtime_us = stated_size(files_of(source), source.sample.text if source.sample else None)
    if (size_bytes, mtime_us) != (source.size_bytes, source.mtime_us):
        sizes = f"{source.size_bytes} bytes then, {size_bytes} now"
        message = f"{source.uri!r} changed since it was planned ({sizes}); ingest it again when it is complete:"
        message += " the next run takes it as a new source"
        raise MediaError(message)
