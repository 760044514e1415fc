"""`triptych verify [TABLE…] [--quick] [--repair]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from features.store import Store
from features.store.verify import verify_store
from flows.cli import EXIT_DONE, EXIT_FAILED
from flows.console import out, out_json, progress, size_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.store.verify import Finding, Verified
    from flows.cli import Call


def run(call: Call) -> int:
    """Look at every file and batch, and mend what is wrong where that is asked for."""
    store = Store.open(call.store)
    verified = _verify(call, store)
    repaired: list[str] = []
    if call.arguments.repair and verified.findings:
        from flows.repair import repair

        for finding in verified.findings:
            out(line_of(finding)) if not call.arguments.json else None
        repaired = list(repair(store, verified.findings, call.config, call.beam_args))
        verified = _verify(call, store)
    if call.arguments.json:
        out_json(_to_json(store, verified, repaired))
    else:
        _print(store, verified, repaired)
    return EXIT_FAILED if verified.findings else EXIT_DONE


def _verify(call: Call, store: Store) -> Verified:
    tables = call.arguments.tables
    total = sum(store.files(table).num_rows for table in store.tables() if table in tables or not tables)
    with progress(f"verify {', '.join(tables) or 'all tables'}: {total} files", total) as tell:
        return verify_store(store, tables, quick=call.arguments.quick, on_progress=tell)


def line_of(finding: Finding) -> str:
    """A finding in one line."""
    place = finding.path or f"batch {finding.batch_id}"
    return f"{finding.table}  {place}: {finding.what}; mend it: {finding.remedy}"


def _print(store: Store, verified: Verified, repaired: Sequence[str]) -> None:
    for line in repaired:
        out(line)
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
