"""Reads from a store what the report shows; samples are bounded, whatever the size of the store."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import pyarrow.compute as pc

from features.media.pictures import decode_jpeg, encode_jpeg, fit
from features.privacy.consent import allowed
from features.schema import BATCH_ID
from features.store import read_table
from features.store.models import find_model, list_models
from features.store.store import count_rows
from features.synthetic.archive import NOTE, is_synthetic
from flows.report.collect_models import models_of
from flows.report.collect_quality import quality_of
from flows.report.collect_tokenizers import tokenizers_of
from flows.report.data import (
    CoverageRow,
    FailureRow,
    ReportData,
    ScoredSegment,
    TableCount,
    Thumb,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pyarrow as pa

    from features.store import Store

    Row = dict[str, Any]

_MAX_FOLDERS = 20
_MAX_THUMBS = 48
_MAX_THUMB_BATCHES = 6
_MAX_SCORES = 60
_MAX_FAILURES = 200
_THUMB_SHORT_SIDE = 135
_THUMB_QUALITY = 80


def collect(store: Store) -> ReportData:
    """What a report of the store shows now."""
    rows = read_table(store, "media", columns=["media_id", "name", "uri", "duration_us", "has_video", "consent"])
    media, shown = rows.to_pylist(), _shown(rows)
    names = {row["media_id"]: row["name"] for row in media}
    scores, num_scores = _scores(store, names, shown)
    failures = _failures(store, names)
    models, regressions = models_of(store)
    return ReportData(
        store=store.root,
        created_at=datetime.now(UTC),
        tables=tuple(_count(store, name) for name in store.tables()),
        num_media=len(media),
        total_duration_us=sum(row["duration_us"] or 0 for row in media),
        coverage=tuple(_coverage(store, name) for name in store.tables() if name.startswith("coverage/")),
        contact_sheet=_contact_sheet(store, [row for row in media if row["media_id"] in shown]),
        models=models,
        regressions=regressions,
        quality=quality_of(store),
        tokenizers=tokenizers_of(store),
        scores=scores,
        num_scores=num_scores,
        failures=failures[-_MAX_FAILURES:],
        num_failures=len(failures),
        notes=_notes(media, shown),
    )


def _shown(media: pa.Table) -> frozenset[str]:
    """Media of which pictures and scores are shown: a report is made to be passed on."""
    both = pc.and_(allowed(media, "features"), allowed(media, "publish"))
    return frozenset(media.filter(both)["media_id"].to_pylist())


def _notes(media: Sequence[Row], shown: Collection[str]) -> tuple[str, ...]:
    """Plain statements for the top of the page: that what is shown is synthetic, and what is not shown."""
    folders = itertools.islice({Path(row["uri"]).parent: None for row in media}, _MAX_FOLDERS)
    notes = [NOTE] if any(is_synthetic(folder) for folder in folders) else []
    left_out = len(media) - len(shown)
    if left_out:
        notes.append(f"Consent: of {left_out} of {len(media)} media no pictures and scores are shown.")
    return tuple(notes)


def _count(store: Store, name: str) -> TableCount:
    return TableCount(name, *count_rows(store, name))


def _coverage(store: Store, name: str) -> CoverageRow:
    statuses = Counter(read_table(store, name, columns=["status"])["status"].to_pylist())
    return CoverageRow(name.removeprefix("coverage/"), **{str(status): n for status, n in statuses.items()})


def _contact_sheet(store: Store, media: Sequence[Row]) -> tuple[Thumb, ...]:
    """The middle picture of media spread over the store, from a few batches."""
    with_video = [row for row in media if row["has_video"]]
    batches = sorted({row[BATCH_ID] for row in with_video})
    batches = batches[:: max(1, -(-len(batches) // _MAX_THUMB_BATCHES))]
    share = _MAX_THUMBS if len(with_video) <= _MAX_THUMBS else -(-_MAX_THUMBS // max(1, len(batches)))
    thumbs = []
    for batch_id in batches:
        wanted = [row for row in with_video if row[BATCH_ID] == batch_id][:share]
        thumbs += _thumbs(store, batch_id, wanted)
    return tuple(sorted(thumbs, key=lambda thumb: thumb.name)[:_MAX_THUMBS])


def _thumbs(store: Store, batch_id: str, media: Sequence[Row]) -> list[Thumb]:
    rows = read_table(store, "frames", batch_ids=[batch_id], columns=["media_id", "t_us", "jpeg"])
    positions: dict[str, list[int]] = {}
    for position, media_id in enumerate(rows["media_id"].to_pylist()):
        positions.setdefault(media_id, []).append(position)
    thumbs = []
    for row in media:
        own = positions.get(row["media_id"], [])
        if own:
            middle = own[len(own) // 2]
            jpeg = _smaller(rows["jpeg"][middle].as_py())
            thumbs.append(Thumb(row["media_id"], row["name"], rows["t_us"][middle].as_py(), jpeg))
    return thumbs


def _smaller(jpeg: bytes) -> bytes:
    picture = decode_jpeg(jpeg)
    height, width = picture.shape[:2]
    size = fit(width, height, _THUMB_SHORT_SIDE)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return encode_jpeg(small.astype(picture.dtype), quality=_THUMB_QUALITY)


def _scores(store: Store, names: dict[str, str], shown: Collection[str]) -> tuple[tuple[ScoredSegment, ...], int]:
    """A bounded sample of the newest version of each model, and how many segments of media that are shown there are."""
    sample: list[ScoredSegment] = []
    total = 0
    for model in sorted({ref.name for ref in list_models(store)}):
        ref = find_model(store, model)
        for batch_id in sorted(store.batches(ref.table)):
            rows = read_table(store, ref.table, batch_ids=[batch_id]).to_pylist()
            rows = [row for row in rows if row["media_id"] in shown]
            total += len(rows)
            sample += [_segment(row, names) for row in rows[: _MAX_SCORES - len(sample)]]
    return tuple(sorted(sample, key=lambda score: (score.name, score.start_us))), total


def _segment(row: Row, names: dict[str, str]) -> ScoredSegment:
    return ScoredSegment(
        media_id=row["media_id"],
        name=names.get(row["media_id"]) or row["media_id"],
        start_us=row["start_us"],
        end_us=row["end_us"],
        task=row["task"],
        prediction=row["prediction"],
        probability=max(row["probabilities"]) if row["probabilities"] else None,
        abstained=row["abstained"],
        present=tuple(row["present"] or ()),
        contributions=tuple(row["contributions"] or ()),
    )


def _failures(store: Store, names: dict[str, str]) -> tuple[FailureRow, ...]:
    rows = read_table(store, "failures").sort_by("failed_at").to_pylist()
    return tuple(
        FailureRow(
            stage=row["stage"],
            uri=row["uri"] or names.get(row["media_id"], row["media_id"] or "-"),
            error=row["error"],
            message=row["message"],
            attempts=row["attempts"],
            failed_at=row["failed_at"],
        )
        for row in rows
        if row["closed_at"] is None
    )
