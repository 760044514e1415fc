"""`triptych plan SOURCE…`: what a run would do, before it is run; `--last`: a plan against what its run did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import ConfigError
from features.planning.prices import cost_of, read_prices
from features.planning.records import keep_plan, newest_records
from features.store import Store
from features.store.storage import root_of
from flows import stages
from flows.cli import EXIT_DONE
from flows.console import out, out_json, progress
from flows.planned import compared, compared_table, plan_json, plan_lines
from pipelines.planning import make_plan, plan_key

if TYPE_CHECKING:
    from features.planning.figures import Plan
    from features.planning.prices import Money
    from flows.cli import Call


def run(call: Call) -> int:
    """List, sample, cost, and tell; nothing in the store changes."""
    if call.arguments.last:
        return _last(call)
    if call.arguments.sample < 0:
        message = f"--sample must be at least 0, not {call.arguments.sample}; 0 looks into all sources"
        raise ConfigError(message)
    prices = read_prices(Path(call.arguments.prices)) if call.arguments.prices else None
    levels = stages.wanted_extractors(call.config, Store(root_of(call.store)))
    makers = [maker for level in levels for maker in level]
    with progress("looking into a sample of the sources", 0) as tell:
        plan, problems = make_plan(
            call.config,
            call.store,
            makers,
            num_sampled=call.arguments.sample,
            on_progress=lambda done, _: tell(done),
        )
    keep_plan(plan_key(call.config, call.store), plan)
    money = None
    if prices is not None:
        hours = plan.cpu_seconds / 3600
        money = cost_of(prices, cpu_hours=hours, read_bytes=plan.sources.size_bytes, kept_bytes=plan.written_bytes)
    _tell(call, plan, problems, money)
    return EXIT_DONE


def _tell(call: Call, plan: Plan, problems: tuple[str, ...], money: Money | None) -> None:
    if call.arguments.json:
        out_json({"store": call.store, **plan_json(plan, problems, money)})
    else:
        out("\n".join(plan_lines(plan, problems, money)))


def _last(call: Call) -> int:
    """The newest run that a plan was made for."""
    store = Store.open(call.store)
    record = next((record for record in newest_records(store) if record.plan is not None), None)
    if record is None or record.plan is None:
        message = (
            f"no run of {store.root!r} was planned; plan one, and run it with the same sources and options: "
            "triptych plan SOURCE, then triptych nightly SOURCE"
        )
        raise ConfigError(message)
    if call.arguments.json:
        keys = ("what", "planned", "happened", "unit")
        rows = [dict(zip(keys, row, strict=True)) for row in compared(record)]
        out_json({"store": store.root, "run_id": record.run_id, "planned_at": record.plan.created_at, "figures": rows})
        return EXIT_DONE
    out(f"run {record.run_id} ({record.command}), planned at {record.plan.created_at}")
    out(compared_table(record))
    return EXIT_DONE
