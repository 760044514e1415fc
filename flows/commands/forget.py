"""`triptych forget`: erase media, or all media of a subject, from a store, after it has said what it will do."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from features.errors import ConfigError
from features.privacy.erasure import Erased, ErasurePlan, complete_erasure, erase, plan_erasure
from features.privacy.learned import models_that_learned
from features.store import Store, read_table
from features.store.tombstones import read_tombstones
from flows.cli import EXIT_DONE
from flows.console import out, out_json, say, table
from flows.finding import find_media
from flows.stages import new_run_id

if TYPE_CHECKING:
    from features.privacy.learned import Learned
    from flows.cli import Call

_SHOWN = 20


def run(call: Call) -> int:
    """Say what will go, ask, and erase it; or complete what an earlier run began."""
    store, run_id = Store.open(call.store), new_run_id()
    media_ids = _wanted(call, store, run_id)
    if not media_ids:
        return EXIT_DONE
    plan = plan_erasure(store, media_ids)
    learned = models_that_learned(store, media_ids, [media.batch_id for media in plan.media])
    as_json = call.arguments.json
    if not as_json:
        out("\n".join(_plan_lines(store, plan, learned)))
    if call.arguments.dry_run:
        if as_json:
            out_json({"store": store.root, "dry_run": True, **_plan_json(plan, learned)})
        return EXIT_DONE
    _ask(call, plan)
    erased = erase(store, plan, run_id)
    report = _remake(store, erased)
    if as_json:
        done = {"rows_erased": erased.rows, "files_deleted": erased.num_files, "waiting": erased.waiting}
        out_json({"store": store.root, "dry_run": False, **_plan_json(plan, learned), **done, "report": report})
    else:
        out("\n".join(_done_lines(store, erased)))
    return EXIT_DONE


def _wanted(call: Call, store: Store, run_id: str) -> frozenset[str]:
    """The media that are named; none where all there was to do was begun before, and is done now."""
    arguments = call.arguments
    if bool(arguments.media) == bool(arguments.subject):
        message = "name what to forget by --media MEDIA or by --subject SUBJECT, not by both: triptych forget --media M"
        raise ConfigError(message)
    try:
        if arguments.subject:
            return _of_subject(store, arguments.subject)
        return frozenset(find_media(store, text)["media_id"] for text in arguments.media)
    except ConfigError:
        if arguments.dry_run or not _complete(call, store, run_id):
            raise
        return frozenset()


def _of_subject(store: Store, subject: str) -> frozenset[str]:
    rows = read_table(store, "media", columns=["media_id", "subject_ids"]).to_pylist()
    found = frozenset(row["media_id"] for row in rows if subject in (row["subject_ids"] or ()))
    if not found:
        message = f"no media of {store.root!r} has subject {subject!r} in its subject_ids; list them by: triptych sql"
        raise ConfigError(message)
    return found


def _complete(call: Call, store: Store, run_id: str) -> bool:
    """Complete earlier erasures; False where that is not what was asked for."""
    tombstones = read_tombstones(store)
    if tombstones is None:
        return False
    erased = complete_erasure(store, run_id)
    report = _remake(store, erased)
    known = bool(call.arguments.media) and tombstones.media_ids.issuperset(call.arguments.media)
    if not (known or erased.rows or erased.num_files):
        return False
    if call.arguments.json:
        done = {"rows_erased": erased.rows, "files_deleted": erased.num_files, "waiting": erased.waiting}
        out_json({"store": store.root, "dry_run": False, "media": [], **done, "report": report})
    else:
        out("completed what was to be forgotten before; no media of these names is left")
        out("\n".join(_done_lines(store, erased)))
    return True


def _ask(call: Call, plan: ErasurePlan) -> None:
    if call.arguments.yes:
        return
    if not sys.stdin.isatty():
        message = (
            f"nothing was forgotten: this erases {len(plan.media)} media for good; add --yes where nobody can be asked"
        )
        raise ConfigError(message)
    say(f"Erase {len(plan.media)} media for good? Type yes:")
    if sys.stdin.readline().strip() != "yes":
        message = "nothing was forgotten: the answer was not yes"
        raise ConfigError(message)


def _remake(store: Store, erased: Erased) -> str | None:
    """Write the store's report anew where it was deleted; it showed names and pictures."""
    if not erased.report:
        return None
    from features.privacy.erasure import REPORT
    from flows.report.collect import collect
    from flows.report.render import write_report

    path = store.path / REPORT
    write_report(collect(store), path)
    return str(path)


def _plan_lines(store: Store, plan: ErasurePlan, learned: tuple[Learned, ...]) -> list[str]:
    shown = [f"  {media.name}  {media.media_id}" for media in plan.media[:_SHOWN]]
    more = [f"  and {len(plan.media) - _SHOWN} more"] if len(plan.media) > _SHOWN else []
    lines = [f"to forget: {len(plan.media)} media", *shown, *more, ""]
    lines += [table(("table", "rows"), sorted(plan.rows.items())), ""]
    lines += [f"batches written anew: {', '.join(plan.batches)}"]
    for model, scores in learned:
        lines.append(f"learned from them: model {model.key}" + (f", which made {scores}" if scores else ""))
        lines.append(f"  it stays; train again: triptych --store {shlex.quote(store.root)} train {model.name}")
    lines.append("the source files, and reports and exports elsewhere, stay: they are yours to delete")
    return lines


def _done_lines(store: Store, erased: Erased) -> list[str]:
    lines = [f"forgotten: {sum(erased.rows.values())} rows erased, {erased.num_files} files deleted"]
    if erased.waiting:
        lines.append(
            f"{len(erased.waiting)} files of a run that goes on may hold rows still; when it is done: "
            f"triptych --store {shlex.quote(store.root)} forget, as before, or maintain"
        )
    return lines


def _plan_json(plan: ErasurePlan, learned: tuple[Learned, ...]) -> dict[str, object]:
    return {
        "media": [media._asdict() for media in plan.media],
        "rows": dict(plan.rows),
        "batches": plan.batches,
        "models": [model.key for model, _ in learned],
        "scores": [scores for _, scores in learned if scores],
    }
