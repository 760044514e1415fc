"""`triptych verify [TABLE…] [--quick] [--repair]`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from features.store import Store
from features.store.verify import verify_store
from flows.cli import EXIT_DONE, EXIT_FAILED
from flows.console import out, out_json, progress, size_text
from pipelines.supervise import run_wave

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.store.verify import Finding, Verified
    from flows.cli import Call

_ROUNDS = 3


def run(call: Call) -> int:
    """Look at every file and batch, and mend what is wrong where that is asked for."""
    store = Store.open(call.store)
    verified = _verify(call, store, quick=call.arguments.quick)
    repaired: list[str] = []
    if call.arguments.repair and verified.findings:
        verified = _repair(call, store, verified, repaired)
    if call.arguments.json:
        out_json(_to_json(store, verified, repaired))
    else:
        _print(store, verified)
    return EXIT_FAILED if verified.findings else EXIT_DONE


def _verify(call: Call, store: Store, *, quick: bool) -> Verified:
    tables = call.arguments.tables
    total = sum(store.files(table).num_rows for table in store.tables() if table in tables or not tables)
    with progress(f"verify {', '.join(tables) or 'all tables'}: {total} files", total) as tell:
        return verify_store(store, tables, quick=quick, on_progress=tell)


def _repair(call: Call, store: Store, verified: Verified, told: list[str]) -> Verified:
    """Mend, look again, and mend what comes to light by that: damage hides what it should agree with."""
    from flows.repair import Repair

    repair = Repair(store, call.config, partial(run_wave, beam_args=call.beam_args))
    tell = told.append if call.arguments.json else out
    for finding in verified.findings:
        tell(line_of(finding))
    for _ in range(_ROUNDS):
        for line in repair.mend(verified.findings):
            tell(line)
        again = _verify(call, store, quick=True)
        last, verified = verified, again._replace(findings=_with_unmended(store, verified, again))
        if not verified.findings or verified.findings == last.findings:
            break
    return verified


def _with_unmended(store: Store, before: Verified, now: Verified) -> tuple[Finding, ...]:
    """What a quick look finds, and what only a slow one would find of files that are still there."""
    found = {(finding.table, finding.path) for finding in now.findings}
    live = {(table, path) for table in store.tables() for path in store.files(table)["path"].to_pylist()}
    old = [f for f in before.findings if (f.table, f.path) in live - found]
    return tuple(sorted([*now.findings, *old], key=lambda f: (f.batch_id, f.table, f.path, f.kind)))


def line_of(finding: Finding) -> str:
    """A finding in one line."""
    place = finding.path or f"batch {finding.batch_id}"
    return f"{finding.table}  {place}: {finding.what}; mend it: {finding.remedy}"


def _print(store: Store, verified: Verified) -> None:
    for finding in verified.findings:
        out(line_of(finding))
    if verified.num_orphans:
        out(f"{verified.num_orphans} files that no log lists; they do no harm, maintain sweeps them")
    if verified.num_unchecked:
        out(f"{verified.num_unchecked} files state no checksum: their bytes cannot be checked")
    found = f"{len(verified.findings)} findings" if verified.findings else "nothing wrong"
    out(
        f"{store.root}: {verified.num_tables} tables, {verified.num_batches} batches, {verified.num_files} files, "
        f"{size_text(verified.size_bytes)} checked: {found}"
    )


def _to_json(store: Store, verified: Verified, repaired: Sequence[str]) -> dict[str, Any]:
    findings = [
        {name: getattr(finding, name) for name in ("table", "batch_id", "path", "kind", "what", "remedy")}
        for finding in verified.findings
    ]
    return {"store": store.root, **verified._asdict(), "findings": findings, "repaired": list(repaired)}
