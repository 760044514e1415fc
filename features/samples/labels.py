"""Labels of manifests: each other column is a task → rows of `labels/<task>`, once their media are in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from features.identity import fingerprint
from features.store.labels import identity_of
from features.store.lineage import Lineage, code_version
from features.store.named_media import MediaFinder
from features.store.upsert import upsert

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from features.samples.cells import LabelValue
    from features.samples.manifest import ManifestRow
    from features.store.store import Store

    Row = dict[str, Any]

_SHOWN = 5


class Stated(NamedTuple):
    """A label as somebody states it; `where` is the row or the folder that does."""

    where: str
    uri: str
    task: str
    value: LabelValue


class StatedLabels(NamedTuple):
    """What stated labels came to: labels that stand, rows changed, why others were left out, and contradictions."""

    num_labels: int = 0
    num_changed: int = 0
    left_out: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()

    def text(self) -> str:
        """All of it in a line."""
        out = (*self.conflicts, *self.left_out)
        some = [*out[:_SHOWN], *(["…"] if len(out) > _SHOWN else [])]
        more = f", {len(out)} left out ({'; '.join(some)})" if some else ""
        return f"{self.num_labels} labels, {self.num_changed} rows written{more}"


def state_labels(
    store: Store, path: Path, stated: Sequence[Stated], *, run_id: str, only_classes: bool = False
) -> StatedLabels:
    """Write labels of whole media into `labels/<task>`; a second time, nothing is written.

    Labels of media that did not come in are left out. Where one media - its bytes may lie in several places - is
    given several values of a task, none of them is written, and what the store says stays.

    Args:
        store: The store.
        path: The manifest or folder that states them, for messages.
        stated: The labels.
        run_id: For lineage.
        only_classes: Every label is a class, also one that looks like a number.

    Raises:
        StoreError: A table cannot be read or written.
    """
    finder, left_out = MediaFinder(store, path), []
    numbers = frozenset[str]() if only_classes else numbered_tasks(stated)
    by_task: dict[str, dict[tuple[object, ...], list[tuple[Stated, Row]]]] = {}
    for number, one in enumerate(stated, start=1):
        media = finder.find({"uri": one.uri}, number)
        if isinstance(media, str):
            left_out.append(media)
        elif media["duration_us"]:
            row = _label(one, media, numbers)
            by_task.setdefault(one.task, {}).setdefault(identity_of(row), []).append((one, row))
    conflicts: list[str] = []
    num_labels = num_changed = 0
    for task, found in sorted(by_task.items()):
        conflicts += [_conflict(path, said) for said in found.values() if _values(said) > 1]
        rows = [said[-1][1] for said in found.values() if _values(said) == 1]
        if rows:
            lineage = Lineage(run_id, "label", code_version(), fingerprint=fingerprint([list(one) for one in stated]))
            num_changed += upsert(store, f"labels/{task}", rows, key=identity_of, lineage=lineage).num_changed
        num_labels += len(rows)
    return StatedLabels(num_labels, num_changed, tuple(dict.fromkeys(left_out)), tuple(conflicts))


def stated_in(rows: Iterable[ManifestRow]) -> list[Stated]:
    """The labels of a manifest's rows."""
    return [Stated(f"row {row.number}", row.uri, task, value) for row in rows for task, value in row.labels]


def _label(one: Stated, media: Mapping[str, Any], numbers: frozenset[str]) -> Row:
    is_number = one.task in numbers
    return {
        "media_id": media["media_id"],
        "start_us": 0,
        "end_us": media["duration_us"],
        "task": one.task,
        "class": None if is_number else str(one.value).lower() if isinstance(one.value, bool) else str(one.value),
        "number": float(one.value) if is_number else None,
        "weight": 1.0,
        "annotator": None,
    }


def _values(said: Sequence[tuple[Stated, Row]]) -> int:
    return len({(row["class"], row["number"]) for _, row in said})


def _conflict(path: Path, said: Sequence[tuple[Stated, Row]]) -> str:
    (first, row), *others = said
    other = next(one for one, its in others if (its["class"], its["number"]) != (row["class"], row["number"]))
    return (
        f"{first.where} ({first.uri!r}) and {other.where} ({other.uri!r}) of {str(path)!r} name the same media, "
        f"{row['media_id']}, and say {first.task} {first.value!r} and {other.value!r}; take one out"
    )


def numbered_tasks(stated: Iterable[Stated]) -> frozenset[str]:
    """Tasks whose labels are numbers: all of them are, and one has a decimal point. Whole numbers are classes."""
    found: dict[str, tuple[bool, bool]] = {}
    for one in stated:
        are_all, has_point = found.get(one.task, (True, False))
        found[one.task] = (are_all and _is_number(one.value), has_point or _has_point(one.value))
    return frozenset(task for task, (are_all, has_point) in found.items() if are_all and has_point)


def _is_number(value: LabelValue) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(float(value))
    except ValueError:
        return False


def _has_point(value: LabelValue) -> bool:
    return isinstance(value, float) or (isinstance(value, str) and "." in value)
