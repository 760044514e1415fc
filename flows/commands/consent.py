"""`triptych consent`: what a consent file makes of which media, and applying it to those that are there."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any

from features.privacy.consent import PURPOSES, refused_purposes
from features.privacy.consent_policy import CONSENT_FILE, CONSENT_VARIABLE, find_policy
from features.privacy.consent_review import judge, review
from features.store import Store, read_table
from flows.cli import EXIT_DONE
from flows.consenting import forget, oddities, told
from flows.console import out, out_json, table
from flows.finding import find_media
from flows.stages import new_run_id
from pipelines.consented import apply_consent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from features.privacy.consent_policy import ConsentPolicy
    from features.privacy.consent_review import Judged
    from flows.cli import Call

    Row = dict[str, Any]

_SHOWN = 20
_WORDS = {True: "granted", False: "refused", None: "not stated"}


def run(call: Call) -> int:
    """Show what applies to which media; with `--apply` write it."""
    store = Store.open(call.store)
    found = find_policy(store.path, call.arguments.consent)
    if found is None:
        return _as_stored(call, store)
    policy, path = found
    if call.arguments.media:
        return _of_media(call, store, policy)
    if call.arguments.apply:
        changed = apply_consent(store, policy, new_run_id())
        if call.arguments.json:
            out_json({**_head(store, path), "applied": True, "changes": [_change(one) for one in changed.changes]})
        else:
            out(told(store, policy, path, changed))
        return EXIT_DONE
    return _show(call, store, policy, path)


def _show(call: Call, store: Store, policy: ConsentPolicy, path: Path) -> int:
    groups: Counter[tuple[str, str, str]] = Counter()
    found = review(_counted(judge(store, policy), groups), policy)
    rows = [(*group, count) for group, count in sorted(groups.items())]
    notes = oddities(policy, found)
    if call.arguments.json:
        groups_told = [dict(zip(("consent", "by_file", "because", "media"), row, strict=True)) for row in rows]
        changes = [_change(one) for one in found.changes]
        out_json({**_head(store, path), "applied": False, "groups": groups_told, "changes": changes, "notes": notes})
        return EXIT_DONE
    out(f"consent file: {path}")
    out(table(("consent now", "by the file", "because of", "media"), rows))
    for one in found.changes[:_SHOWN]:
        out(f"{one.name}  {one.media_id}: {one.before} → {one.after}, {'; '.join(one.verdicts.because)}")
    if len(found.changes) > _SHOWN:
        out(f"and {len(found.changes) - _SHOWN} more")
    named = f" --consent {shlex.quote(call.arguments.consent)}" if call.arguments.consent else ""
    out("\n".join([*(f"note: {note}" for note in notes), *_advice(store, found.changes, named)]))
    return EXIT_DONE


def _counted(judged: Iterable[Judged], groups: Counter[tuple[str, str, str]]) -> Iterator[Judged]:
    for one in judged:
        groups[one.before, one.after, "; ".join(one.verdicts.because)] += 1
        yield one


def _advice(store: Store, changes: tuple[Judged, ...], named: str) -> Iterator[str]:
    if not changes:
        yield "nothing to change"
        return
    apply = f"triptych --store {shlex.quote(store.root)} consent{named} --apply"
    yield f"{len(changes)} media to change: {apply}, or the next nightly run"
    if any(change.withdrawn and change.is_decoded for change in changes):
        yield f"what is withdrawn is not read any more, but its content stays until it is erased: {forget(store)}"
    if any(change.lifted and not change.is_decoded for change in changes):
        yield "media that were refused for all purposes as they came in are decoded by the next ingest or nightly"


def _of_media(call: Call, store: Store, policy: ConsentPolicy) -> int:
    media_id = find_media(store, call.arguments.media)["media_id"]
    one = next(judged for judged in judge(store, policy) if judged.media_id == media_id)
    refused = refused_purposes(one.before)
    rows = [(v.purpose, v.purpose not in refused, _WORDS[v.word], v.because) for v in one.verdicts.verdicts]
    if call.arguments.json:
        keys = ("purpose", "allowed_now", "by_file", "because")
        out_json({"media_id": media_id, "name": one.name, "purposes": [dict(zip(keys, r, strict=True)) for r in rows]})
        return EXIT_DONE
    out(f"{one.name}  {media_id}, subjects: {', '.join(one.subject_ids) or 'none'}")
    out(table(("purpose", "allowed now", "by the file", "because of"), rows))
    return EXIT_DONE


def _as_stored(call: Call, store: Store) -> int:
    """Without a file: what media say."""
    texts = Counter(read_table(store, "media", columns=["consent"])["consent"].to_pylist())
    rows = [(text or "unstated", count) for text, count in sorted(texts.items(), key=str)]
    if call.arguments.json:
        groups = [{"consent": text, "media": count} for text, count in rows]
        out_json({"store": store.root, "consent_file": None, "groups": groups})
        return EXIT_DONE
    out(table(("consent", "media"), rows))
    out(
        f"there is no consent file: write {store.path / CONSENT_FILE}, or name one with --consent or "
        f"{CONSENT_VARIABLE}; purposes are {', '.join(PURPOSES)}"
    )
    return EXIT_DONE


def _head(store: Store, path: Path) -> Row:
    return {"store": store.root, "consent_file": str(path)}


def _change(one: Judged) -> Row:
    told_of = {"media_id": one.media_id, "name": one.name, "batch_id": one.batch_id, "is_decoded": one.is_decoded}
    return {**told_of, "before": one.before, "after": one.after, "because": list(one.verdicts.because)}
