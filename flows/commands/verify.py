"""`triptych verify [TABLE…] [--quick] [--repair]`."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING, Any

from features.privacy.erasure import complete_erasure, rows_of_forgotten
from features.schema import BATCH_ID
from features.store import Store
from features.store.verify import Finding, verify_store
from flows.cli import EXIT_DONE, EXIT_FAILED
from flows.console import out, out_json, progress, size_text
from pipelines.supervise import run_wave

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from features.store.verify import Verified
    from flows.cli import Call

_ROUNDS = 3
_FORGOTTEN = "forgotten"


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
        verified = verify_store(store, tables, quick=quick, on_progress=tell)
    return verified._replace(findings=_sorted([*verified.findings, *_forgotten(store, tables)]))


def _forgotten(store: Store, tables: Sequence[str]) -> Iterator[Finding]:
    """Rows of forgotten media that are there still: an erasure was broken off, or was done behind a run's back."""
    remedy = f"triptych --store {shlex.quote(store.root)} maintain"
    for table, path, live in rows_of_forgotten(store):
        if table in tables or not tables:
            relative = path.removeprefix(f"{table}/")
            batch_id = relative.partition("/")[0].removeprefix(f"{BATCH_ID}=")
            unlisted = "" if live else ", which no log lists,"
            what = f"the file{unlisted} has rows of media that are forgotten, or names one"
            yield Finding(table, batch_id, relative, _FORGOTTEN, what, remedy)


def _repair(call: Call, store: Store, verified: Verified, told: list[str]) -> Verified:
    """Mend, look again, and mend what comes to light by that: damage hides what it should agree with."""
    from flows.repair import Repair

    repair = Repair(store, call.config, partial(run_wave, beam_args=call.beam_args))
    tell = told.append if call.arguments.json else out
    for finding in verified.findings:
        tell(line_of(finding))
    for _ in range(_ROUNDS):
        if any(finding.kind == _FORGOTTEN for finding in verified.findings):
            tell(_complete_erasure(store))
        for line in repair.mend(finding for finding in verified.findings if finding.kind != _FORGOTTEN):
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
    return _sorted([*now.findings, *old])


def _complete_erasure(store: Store) -> str:
    """Erase what is left of forgotten media, as `maintain` does."""
    from flows.stages import new_run_id

    erased = complete_erasure(store, new_run_id())
    return f"completed what was to be forgotten: {sum(erased.rows.values())} rows, {erased.num_files} files"


def _sorted(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda f: (f.batch_id, f.table, f.path, f.kind)))


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
