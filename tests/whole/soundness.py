"""What must hold of a store after ingest, whatever the sources held: each has one outcome, and its rows are sound."""

from __future__ import annotations

import io
import itertools
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import soundfile

from features import errors
from features.errors import TriptychError
from features.store import read_table
from features.store.failures import open_letters
from features.store.read import read_committed
from features.store.verify import verify_store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from features.store import Store
    from features.store.failures import Letter

    Row = dict[str, Any]

_REMEDIES = ("check", "copy", "fetch", "ingest", "leave", "re-encode", "raise", "put", "split", "cut", "remux")
_MADE = ("frames", "audio", "transcripts")
_OBSERVED = ("shots@1", "motion@1")
_SAMPLE_US = 63  # of 16 kHz


class Outcome(NamedTuple):
    """What became of a source; `error` is the class of its dead letter, `seconds` the time it took, where known."""

    uri: str
    status: str
    error: str | None = None
    seconds: float | None = None


class Looked(NamedTuple):
    """What a look at a store found: an outcome a source, and what is wrong, a line each."""

    outcomes: tuple[Outcome, ...]
    problems: tuple[str, ...]


def look_at(store: Store, uris: Collection[str]) -> Looked:
    """Outcomes of sources, and all that is wrong with their rows, letters, and the store.

    Args:
        store: The store, after ingest.
        uris: All that was ingested.
    """
    results = read_committed(store, "source_results").to_pylist()
    letters = [letter for letter in open_letters(store) if letter.stage == "ingest"]
    problems = [
        *_outcomes_missing(results, uris),
        *_letters_wrong(results, letters),
        *(str(finding) for finding in verify_store(store).findings),
    ]
    for batch_id in sorted(store.batches("media")):
        problems += _rows_wrong(store, batch_id)
    return Looked(tuple(_outcomes(results, letters)), tuple(problems))


def _outcomes(results: list[Row], letters: list[Letter]) -> Iterator[Outcome]:
    """Sources of a batch follow each other, so each took the time since the one before."""
    kinds = {letter.uri: letter.error for letter in letters}
    before: dict[str, Any] = {}
    for row in sorted(results, key=lambda row: row["finished_at"]):
        last = before.get(row["batch_id"])
        seconds = (row["finished_at"] - last).total_seconds() if last else None
        before[row["batch_id"]] = row["finished_at"]
        yield Outcome(row["uri"], row["status"], kinds.get(row["uri"]), seconds)


def _outcomes_missing(results: list[Row], uris: Collection[str]) -> Iterator[str]:
    counts = Counter(row["uri"] for row in results)
    yield from (f"{uri!r} has {counts[uri]} outcomes" for uri in uris if counts[uri] != 1)
    yield from (f"{uri!r} was not asked for" for uri in counts.keys() - set(uris))


def _letters_wrong(results: list[Row], letters: list[Letter]) -> Iterator[str]:
    """A source that failed has one letter; one that is done has letters of its parts only."""
    about = defaultdict(list)
    for letter in letters:
        about[letter.uri].append(letter)
    for row in results:
        expected = int(row["status"] == "failed")
        if len(about[row["uri"]]) != expected:
            yield f"{row['uri']!r} is {row['status']} and has {len(about[row['uri']])} letters"
    known = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, TriptychError)}
    for letter in letters:
        name = (letter.uri or "").partition("#track")[0].rpartition("/")[2]
        if letter.error not in known or "report it" in letter.message:
            yield f"{letter.uri!r}: an error that nobody foresaw, {letter.error}: {letter.message}"
            continue
        if name not in letter.message.replace("\\'", "'"):
            yield f"{letter.uri!r}: its letter does not name it: {letter.message}"
        if not any(word in letter.message.rpartition(";")[2] for word in _REMEDIES):
            yield f"{letter.uri!r}: its letter names no remedy: {letter.message}"


def _rows_wrong(store: Store, batch_id: str) -> Iterator[str]:
    rows = {table: _by_media(store, table, batch_id) for table in (*_MADE, *_OBSERVED)}
    for media in read_table(store, "media", batch_ids=[batch_id]).to_pylist():
        frames, chunks, texts = (rows[table].get(media["media_id"], []) for table in _MADE)
        has = (bool(frames), bool(chunks), bool(texts))
        wrong = [
            *_frames_wrong(frames, media["duration_us"]),
            *_sound_wrong(chunks, media["duration_us"]),
            *_texts_wrong(texts, media["duration_us"]),
        ]
        for table in _OBSERVED:
            wrong += _spans_wrong(table, rows[table].get(media["media_id"], []), media["duration_us"])
        if has != (media["has_video"], media["has_audio"], media["has_text"]):
            wrong.append(f"has pictures, sound, text: {has}, and media says otherwise")
        if not any(has):
            wrong.append("is done and has no rows")
        yield from (f"{media['uri']!r}: {what}" for what in wrong)


def _by_media(store: Store, table: str, batch_id: str) -> dict[str, list[Row]]:
    found = defaultdict(list)
    for row in read_table(store, table, batch_ids=[batch_id]).to_pylist():
        found[row["media_id"]].append(row)
    return found


def _frames_wrong(frames: list[Row], duration_us: int) -> Iterator[str]:
    for frame in frames:
        t_us, start_us, end_us = frame["t_us"], frame["valid_start_us"], frame["valid_end_us"]
        if not 0 <= start_us <= t_us < end_us <= duration_us or frame["duration_us"] <= 0:
            yield f"picture at {t_us} for {start_us} to {end_us}, on screen {frame['duration_us']}, of {duration_us} µs"
        picture = cv2.imdecode(np.frombuffer(frame["jpeg"], np.uint8), cv2.IMREAD_COLOR)
        if picture is None or picture.shape != (frame["height"], frame["width"], 3):
            yield f"picture at {t_us} µs is no JPEG of {frame['width']}x{frame['height']}"
    for before, after in itertools.pairwise(frames):
        if after["t_us"] <= before["t_us"] or after["valid_start_us"] != before["valid_end_us"]:
            yield f"pictures at {before['t_us']} and {after['t_us']} µs are not in order, or what they stand for is not"


def _sound_wrong(chunks: list[Row], duration_us: int) -> Iterator[str]:
    for chunk in chunks:
        start_us, end_us = chunk["start_us"], chunk["end_us"]
        samples, rate_hz = soundfile.read(io.BytesIO(chunk["flac"]), dtype="int16")
        if not 0 <= start_us < end_us <= duration_us or samples.ndim != 1 or rate_hz != chunk["sample_rate_hz"]:
            yield f"sound from {start_us} to {end_us} of {duration_us} µs, shape {samples.shape} at {rate_hz} Hz"
        if abs(len(samples) * 1_000_000 / rate_hz - (end_us - start_us)) > _SAMPLE_US:
            yield f"{len(samples)} samples at {rate_hz} Hz from {start_us} to {end_us} µs"
    for before, after in itertools.pairwise(chunks):
        if before["end_us"] != after["start_us"]:
            yield f"sound ends at {before['end_us']} and goes on at {after['start_us']} µs"


def _texts_wrong(texts: list[Row], duration_us: int) -> Iterator[str]:
    for text in texts:
        if not text["text"].strip() or not 0 <= text["start_us"] < text["end_us"] <= duration_us:
            yield f"text {text['text']!r} from {text['start_us']} to {text['end_us']} of {duration_us} µs"
    for before, after in itertools.pairwise(texts):
        if after["start_us"] < before["start_us"]:
            yield f"texts at {before['start_us']} and {after['start_us']} µs are not in order"


def _spans_wrong(table: str, spans: list[Row], duration_us: int) -> Iterator[str]:
    """One after the other, none over another."""
    for span in spans:
        if not 0 <= span["start_us"] < span["end_us"] <= duration_us:
            yield f"{table} from {span['start_us']} to {span['end_us']} of {duration_us} µs"
    for before, after in itertools.pairwise(spans):
        if after["start_us"] < before["end_us"]:
            yield f"{table} to {before['end_us']} goes on at {after['start_us']} µs"
