"""A plan in words and as JSON, and a plan against what its run did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from features.planning.records import read_record
from flows.console import size_text, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from features.planning.figures import Plan, StageFigures
    from features.planning.prices import Money
    from features.planning.records import RunRecord
    from features.store import Store

    Row = dict[str, Any]

_HOUR, _MINUTE = 3600.0, 60.0
_SHOWN = 5


def duration_text(seconds: float) -> str:
    """A length of time in a unit that reads well."""
    if seconds >= _HOUR:
        return f"{seconds / _HOUR:,.1f} h"
    return f"{seconds / _MINUTE:.1f} min" if seconds >= _MINUTE else f"{seconds:.1f} s"


def plan_lines(plan: Plan, problems: Sequence[str], money: Money | None) -> Iterator[str]:
    """A plan, for people."""
    yield from _source_lines(plan, problems)
    yield ""
    rows = [
        (one.table, size_text(int(one.written_bytes)), size_text(int(one.read_bytes)), one.origin)
        for one in plan.tables
        if one.written_bytes or one.read_bytes
    ]
    if not rows:
        yield "nothing to do"
        return
    yield table(("table", "written", "read", "from"), rows)
    yield ""
    stages = [(one.stage, f"{one.cpu_hours:.3f}", duration_text(one.wall_seconds), one.origin) for one in plan.stages]
    yield table(("stage", "CPU hours", "time", "from"), stages)
    yield ""
    workers = f"{plan.num_workers} worker{'s' if plan.num_workers > 1 else ''}"
    cpu = f"{plan.cpu_seconds / _HOUR:.3f} CPU hours"
    yield f"time: {duration_text(plan.wall_seconds)} with {workers}, {cpu}; training is not counted"
    yield disk_line(plan)
    if money is not None:
        once = f"{money.once:.2f} {money.currency} once ({money.cpu:.2f} CPU, {money.reading:.2f} reading)"
        yield f"money: {once}, {money.a_month:.2f} {money.currency} a month for what it leaves"


def _source_lines(plan: Plan, problems: Sequence[str]) -> Iterator[str]:
    sources = plan.sources
    parts = [f"{sources.new} new of {sources.listed} listed"]
    parts += [f"{sources.waiting} planned before and not done"] if sources.waiting else []
    parts += [f"{sources.refused} refused"] if sources.refused else []
    parts += [f"{sources.copies} probable copies"] if sources.copies else []
    parts += [f"{sources.broken:.0f} cannot be read"] if sources.broken >= 0.5 else []
    yield f"sources: {', '.join(parts)}; {size_text(int(sources.size_bytes))}, {sources.sampled} looked into"
    for problem in problems[:_SHOWN]:
        yield f"  {problem}"
    if len(problems) > _SHOWN:
        yield f"  and {len(problems) - _SHOWN} more"
    margin = f" (± {duration_text(plan.margin_seconds)})" if plan.margin_seconds else ""
    tracks = f"{duration_text(plan.video_seconds)} with video, {duration_text(plan.audio_seconds)} with sound"
    yield f"media: {plan.media:,.0f} new, {duration_text(plan.media_seconds)}{margin}: {tracks}"
    if plan.backlog_seconds:
        yield f"media that are in, and that extractors or models still owe: {duration_text(plan.backlog_seconds)}"


def disk_line(plan: Plan) -> str:
    """What is needed against what is free."""
    needed = size_text(int(plan.written_bytes))
    if plan.disk_free_bytes is None:
        return f"disk: {needed} needed"
    free = size_text(int(plan.disk_free_bytes))
    if plan.written_bytes > plan.disk_free_bytes:
        return f"disk: {needed} needed, ONLY {free} free: make room, or plan fewer sources with --limit"
    return f"disk: {needed} needed, {free} free"


def plan_json(plan: Plan, problems: Sequence[str], money: Money | None) -> Row:
    """A plan, for programs."""
    totals = {"cpu_seconds": plan.cpu_seconds, "wall_seconds": plan.wall_seconds, "written_bytes": plan.written_bytes}
    paid = None if money is None else {**money._asdict(), "once": money.once}
    return {**plan.to_json(), **totals, "problems": list(problems), "money": paid}


def compared(record: RunRecord) -> list[tuple[str, float, float, str]]:
    """What was planned, what happened, and the unit, a row a figure; of stages that the run has done."""
    plan = record.plan
    if plan is None:
        return []
    rows = []
    for stage in record.stages:
        if stage.stage == "ingest":
            rows += [("media", plan.media, stage.work.num_media, "media")]
            rows += [("media time", plan.media_seconds, stage.work.media_seconds, "seconds")]
            rows += [("bytes read of sources", plan.sources.size_bytes, stage.work.size_bytes, "bytes")]
        of_stage = [one for one in plan.stages if one.stage.partition(" ")[0] == stage.stage.partition(" ")[0]]
        if stage.stage.startswith("score "):
            of_stage = [one for one in plan.stages if one.stage == stage.stage]
        rows += [(f"{stage.stage}: CPU", _sum_cpu(of_stage), stage.cpu_seconds, "seconds")]
        rows += [(f"{stage.stage}: time", _sum_wall(of_stage), stage.wall_seconds, "seconds")]
        planned = {one.table: one.written_bytes for one in plan.tables}
        written = [one for one in stage.written if one.table in planned]
        rows += [(f"{one.table}: bytes", planned[one.table], one.written_bytes, "bytes") for one in written]
    return rows


def compared_table(record: RunRecord) -> str:
    """The plan against what happened, for people."""
    rows = [
        (what, _amount(planned, unit), _amount(happened, unit), f"{happened / planned:.2f}" if planned else "-")
        for what, planned, happened, unit in compared(record)
    ]
    return table(("", "planned", "happened", "ratio"), rows)


def planned_line(store: Store, run_id: str) -> str:
    """A run's plan against what happened, in a line; nothing where it was not planned."""
    record = read_record(store, run_id)
    if record is None:
        return ""
    parts = [
        f"{what} {_amount(planned, unit)} → {_amount(happened, unit)}"
        for what, planned, happened, unit in compared(record)
        if unit in ("seconds", "media")
    ]
    return f"planned → happened: {'; '.join(parts)} (triptych plan --last)" if parts else ""


def _sum_cpu(stages: Sequence[StageFigures]) -> float:
    return sum(stage.cpu_seconds for stage in stages)


def _sum_wall(stages: Sequence[StageFigures]) -> float:
    return sum(stage.wall_seconds for stage in stages)


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        return size_text(int(value))
    return duration_text(value) if unit == "seconds" else f"{value:,.0f}"
