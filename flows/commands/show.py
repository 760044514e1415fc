"""`triptych show MEDIA`: one media's timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from features.schema import BASE_TABLES, BATCH_ID, OPTIONAL_TABLES
from features.store import Store, read_table
from flows.cli import EXIT_DONE
from flows.console import out, out_json, table, time_text
from flows.finding import find_media

if TYPE_CHECKING:
    from flows.cli import Call

    Row = dict[str, Any]

_TEXT_WIDTH = 70
_FACTS = (
    *("media_id", "name", "uri", "container", "duration_us", "width", "height", "rotation", "frame_rate"),
    *("sample_rate_hz", "has_video", "has_audio", "has_text", "language", "consent", "superseded_by", BATCH_ID),
    *("black_share", "frozen_share", "blurred_share", "loudness_lufs", "clipped_share", "silence_share"),
)


def run(call: Call) -> int:
    """Print what the store knows of one media, in order of time."""
    store = Store.open(call.store)
    media = find_media(store, call.arguments.media)
    events = _events(store, media)
    coverage = _of_media(store, media, [name for name in store.tables() if name.startswith("coverage/")])
    if call.arguments.json:
        shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in media.items()}
        out_json({"media": shown, "coverage": coverage, "timeline": events})
        return EXIT_DONE
    out("\n".join(f"{name:<15} {_fact(media[name])}" for name in _FACTS if media[name] is not None))
    out("")
    out(table(("extractor", "found", "rows", "message"), [_coverage_line(row) for row in coverage]))
    out("")
    lines = [(time_text(e["start_us"]), time_text(e["end_us"]), e["table"], e["what"]) for e in events]
    out(table(("start", "end", "table", "what"), lines))
    return EXIT_DONE


def _fact(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _of_media(store: Store, media: Row, names: list[str]) -> list[Row]:
    found = []
    for name in names:
        rows = read_table(store, name, batch_ids=[media[BATCH_ID]], columns=_columns(store, name)).to_pylist()
        found += [{"table": name, **row} for row in rows if row["media_id"] == media["media_id"]]
    return found


def _columns(store: Store, name: str) -> list[str]:
    from features.schema import data_schema_of

    del store
    return [field.name for field in data_schema_of(name) if field.name not in ("jpeg", "flac", "values", "words")]


def _events(store: Store, media: Row) -> list[Row]:
    families = (*BASE_TABLES, *OPTIONAL_TABLES, "features/", "labels/", "scores/")
    names = [name for name in store.tables() if name.startswith(families)]
    events = [_event(row) for row in _of_media(store, media, names)]
    return sorted(events, key=lambda event: (event["start_us"], event["end_us"], event["table"]))


def _event(row: Row) -> Row:
    if row["table"] == "frames":
        start_us, end_us = row["t_us"], row["t_us"] + row["duration_us"]
    else:
        start_us, end_us = row["start_us"], row["end_us"]
    return {"start_us": start_us, "end_us": end_us, "table": row["table"], "what": _what(row)}


def _what(row: Row) -> str:
    if row["table"] == "frames":
        return f"picture {row['width']}x{row['height']}"
    if row["table"] == "audio":
        return f"sound, {row['sample_rate_hz']} Hz"
    if row["table"] == "shots@1":
        return f"shot, begins with a {row['begins']}" if row["begins"] != "start" else "shot, the first"
    if row["table"] == "motion@1":
        return f"motion {row['mean']:.3g} heights a second, camera {row['camera']:.3g}"
    if "text" in row:
        return f"[{row['source']}] {row['text']}"[:_TEXT_WIDTH]
    if "prediction" in row:
        return "abstained" if row["abstained"] else f"{row['task']}: {row['prediction']}"
    if "task" in row:
        return f"{row['task']}: {row['class'] if row['class'] is not None else row['number']}"
    return "vector"


def _coverage_line(row: Row) -> tuple[object, ...]:
    return row["table"].removeprefix("coverage/"), row["status"], row["num_rows"], row["message"]
