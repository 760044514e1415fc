"""Long media of a batch: workers share their parts, and the commit joins what these come to."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import MediaError, SandboxError, StoreError
from features.identity import fingerprint
from features.media.complete import check_joined
from features.media.options import DecodeOptions
from features.media.parts import Part, joined_info, joined_losses, joined_shots, parts_of
from features.media.quality import PictureMeter, media_quality
from features.media.sandbox import borrow_sandbox
from features.records import PictureQuality
from features.store import FileRecord, Store, write_file
from features.store.files import BatchWriter
from features.store.lineage import read_lineage
from features.store.media import read_record
from features.store.plan import Source
from features.store.rows import shot_rows, table_of
from features.store.storage import parquet_file
from pipelines.ingest_source import Decoder, Outcomes, check_unchanged, letter_of, spooled_tables, write_rows
from pipelines.sinks import Failure, Heartbeat, file_records, write_failures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from features.media.limits import Limits
    from features.media.protocol import Outcome
    from features.records import MediaQuality, Shot
    from features.store.lineage import Lineage

_FILES_A_MEDIA = 500  # the files of a batch sort by number, in the order of its media


@dataclass(frozen=True, slots=True)
class PartTask:
    """A part of a media that waits for a worker.

    Attributes:
        batch_id: Batch of the media.
        source: Fields of its source.
        media_id: The media.
        place: Which of the batch's long media it is, from 0 on.
        part: The part.
        config: The batch's decoding options, as JSON.
    """

    batch_id: str
    source: tuple[Any, ...]
    media_id: str
    place: int
    part: Part
    config: str


@dataclass(frozen=True, slots=True)
class PartDone:
    """What a part came to: files and facts, or a dead letter. Without `facts` of a part it is the whole media."""

    task: PartTask
    files: tuple[FileRecord, ...] = ()
    outcome: Outcome | None = None
    failure: Failure | None = None


def tasks_of(batch_id: str, long: Iterable[tuple[Source, str, int]], span_us: int, config: str) -> Iterator[PartTask]:
    """Parts of a batch's long media, each given as its source, its id and its length in microseconds."""
    for place, (source, media_id, duration_us) in enumerate(long):
        for part in parts_of(duration_us, span_us):
            yield PartTask(batch_id, tuple(source), media_id, place, part, config)


def decode_waiting(element: object, root: str, lineage: Lineage, limits: Limits) -> list[object]:
    """Decode a part that waits; file records pass."""
    if not isinstance(element, PartTask):
        return [element]
    made = replace(lineage, config=element.config, fingerprint=fingerprint(element.config))
    return [decode_task(element, Store.open(root), made, limits)]


def decode_task(task: PartTask, store: Store, lineage: Lineage, limits: Limits) -> PartDone:
    """Decode a part and write its rows.

    Raises:
        StoreError: The store cannot be written. What is wrong with the media is its dead letter instead.
        SandboxError: Nothing can be decoded here.
    """
    source = Source(*task.source)
    try:
        return _decode_part(task, source, store, lineage, limits)
    except (StoreError, SandboxError):
        raise
    except Exception as error:  # noqa: BLE001 - a surprise costs its media, never the batch
        return PartDone(task, failure=letter_of(source, task.media_id, error))


def _decode_part(task: PartTask, source: Source, store: Store, lineage: Lineage, limits: Limits) -> PartDone:
    with borrow_sandbox() as sandbox:
        decoder = Decoder(store, sandbox, DecodeOptions(**json.loads(task.config)), limits, Heartbeat())
        done = _decode(task, source, decoder, lineage, task.part)
        facts = done.outcome.facts if done.outcome else None
        if task.part.number == 0 and facts is not None and facts.num_jumps:
            return _decode(task, source, decoder, lineage, None)  # its clock jumps, so parts cannot tell the time
        return done


def _decode(task: PartTask, source: Source, decoder: Decoder, lineage: Lineage, part: Part | None) -> PartDone:
    check_unchanged(source)
    tables = spooled_tables(decoder.options) if part is None else _tables(decoder.options, part)
    asked = source if task.part.number == 0 else source._replace(sidecars=())
    with ExitStack() as stack:
        decoded = stack.enter_context(closing(decoder.decode(asked, task.media_id, tables, part=part)))
        check_unchanged(source)
        number = 1 + task.place * _FILES_A_MEDIA + task.part.number
        writers = {
            table: stack.enter_context(BatchWriter(decoder.store, table, task.batch_id, part=number, lineage=[lineage]))
            for table in tables
        }
        write_rows(decoded, writers)
    files = tuple(writer.record for writer in writers.values() if writer.record is not None)
    return PartDone(task, files, decoded.outcome)


def _tables(options: DecodeOptions, part: Part) -> tuple[str, ...]:
    """Tables whose rows come out of a part; shots are known when all are joined."""
    if part.number == 0:
        return ("audio", "transcripts")
    return ("frames", "motion@1") if options.motion else ("frames",)


def join_parts(root: str, values: Iterable[object]) -> list[FileRecord]:
    """Files of a wave from file records and what parts of long media came to.

    Files of a media one of whose parts failed are left out, and it gets its dead letter.
    """
    store, values = Store.open(root), list(values)
    done = [value for value in values if isinstance(value, PartDone)]
    files = file_records(values)
    done.sort(key=_order)
    for batch_id, of_batch in groupby(done, key=lambda one: one.task.batch_id):
        own = [file for file in files if file.batch_id == batch_id]
        files = [file for file in files if file.batch_id != batch_id]
        files += _Batch(store, batch_id, own).with_media([[*parts] for _, parts in groupby(of_batch, key=_media)])
    return sorted(files)


def _order(one: PartDone) -> tuple[str, int, int]:
    return one.task.batch_id, one.task.place, one.task.part.number


def _media(one: PartDone) -> tuple[int, str]:
    return one.task.place, one.task.media_id


class _Batch:
    """A batch whose small media are done, and whose long ones are added."""

    def __init__(self, store: Store, batch_id: str, files: Sequence[FileRecord]) -> None:
        self._store = store
        self._batch_id = batch_id
        self._files = {file.table: file for file in files}
        self._lineage = self._lineage_of(self._files["media"])
        self._more: list[FileRecord] = []
        self._outcomes = Outcomes()

    def with_media(self, media: Iterable[Sequence[PartDone]]) -> list[FileRecord]:
        """Files of the batch with those of the long media, each given as what its parts came to."""
        for parts in media:
            self._add({one.task.part.number: one for one in parts})  # a part that was tried twice counts once
        made = self._outcomes
        for table, rows in (("media", made.media), ("source_results", made.results)):
            self._files[table] = self._appended(self._files[table], rows)
        old = self._files.pop("failures", None)
        letters = [] if old is None else read_record(self._store, old).to_pylist()
        told = list(write_failures(self._store, self._batch_id, made.failures, self._lineage))
        if old is not None and told:
            letters += read_record(self._store, told[0]).to_pylist()
            told = [self._written("failures", letters)]
        return [*self._files.values(), *self._more, *(told or ([old] if old else []))]

    def _add(self, parts: Mapping[int, PartDone]) -> None:
        rest, pictures = parts[0], [parts[number] for number in sorted(parts) if number]
        source, media_id = Source(*rest.task.source), rest.task.media_id
        outcome = rest.outcome
        is_whole = outcome is not None and outcome.facts is None
        failed = rest.failure or (None if is_whole else next((one.failure for one in pictures if one.failure), None))
        try:
            if failed is None and not is_whole:
                outcome, shots = _joined(source, rest, pictures, self._quality(pictures))
                if shots is not None:
                    self._more.append(self._shots(rest.task, media_id, shots))
        except MediaError as error:
            failed = letter_of(source, media_id, error)
        if failed is not None:
            self._outcomes.failed(source, failed)
            return
        assert outcome is not None  # noqa: S101 - what did not fail has come to something
        self._more += [file for one in ([rest] if is_whole else [rest, *pictures]) for file in one.files]
        self._outcomes.done(source, media_id, outcome.info)
        self._outcomes.missed(source, media_id, outcome)

    def _quality(self, pictures: Iterable[PartDone]) -> MediaQuality:
        """Quality of the pictures of a media, from the rows of all its parts."""
        meter = PictureMeter()
        for file in (file for one in pictures for file in one.files if file.table == "frames"):
            with parquet_file(self._store.table_path("frames") / file.path) as parquet:
                for row in parquet.read(list(PictureQuality._fields)).to_pylist():
                    meter.count(PictureQuality(**row))
        return media_quality(meter, None)

    def _shots(self, task: PartTask, media_id: str, shots: Sequence[Shot]) -> FileRecord:
        number, rows = 1 + task.place * _FILES_A_MEDIA, shot_rows(media_id, shots)
        return write_file(self._store, "shots@1", self._batch_id, rows, part=number, lineage=[self._lineage])

    def _appended(self, file: FileRecord, rows: Sequence[dict[str, Any]]) -> FileRecord:
        return self._written(file.table, [*read_record(self._store, file).to_pylist(), *rows])

    def _written(self, table: str, rows: Sequence[dict[str, Any]]) -> FileRecord:
        return write_file(self._store, table, self._batch_id, table_of(table, rows), lineage=[self._lineage])

    def _lineage_of(self, file: FileRecord) -> Lineage:
        return read_lineage(self._store.table_path(file.table) / file.path)[0]


def _joined(
    source: Source, rest: PartDone, pictures: Sequence[PartDone], quality: MediaQuality
) -> tuple[Outcome, tuple[Shot, ...] | None]:
    """What the parts of a media came to together, and its shots where they were asked for.

    Raises:
        MediaError: Too little of it came out.
    """
    whole = rest.outcome
    known = [(one.outcome.info, one.outcome.facts) for one in pictures if one.outcome and one.outcome.facts]
    if whole is None or whole.facts is None:
        raise AssertionError  # pragma: no cover - the caller has looked
    info = joined_info(whole.info, known, quality)
    check_joined(Path(source.uri), info, joined_losses(whole.facts, known))
    facts = [one for _, one in known]
    has_shots = bool(facts) and facts[0].shots is not None
    shots = joined_shots(facts, max(one.end_us for one in facts)) if has_shots else None
    lost = [one for part in pictures if part.outcome for one in part.outcome.missed]
    return replace(whole, info=info, facts=None, missed=(*whole.missed, *lost[:1])), shots  # one letter a track
