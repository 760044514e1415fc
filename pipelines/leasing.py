"""Two runs on one store: each takes the batches that no other is at work on, and waits for those that are left."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from features.identity import fingerprint
from features.store.leases import Leases

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Mapping

    from features.store import Store
    from features.store.leases import Lease
    from pipelines.waves import Wave

_POLL_SECONDS = 1.0
_LONGEST_NAME = 60


class _Choice(NamedTuple):
    """The first wave that has free batches, and what stands in the way of the batches before it."""

    wave: Wave | None
    busy: dict[str, Lease]


def leased(
    store: Store,
    run_id: str,
    plan: Callable[[], Iterable[Wave]],
    *,
    on_wait: Callable[[str], None],
    poll_seconds: float = _POLL_SECONDS,
) -> Generator[Wave, None, None]:
    """Waves that no other run is at work on, until nothing is left to do; close the generator when it is left early.

    It plans again before each wave, for a rival may have done what was planned. Batches that another run holds are
    left to it; when there are no others it waits for them, and does those that the other has not done in the end.

    Args:
        store: The store.
        run_id: This run.
        plan: What is to do, read from the logs.
        on_wait: Called with a line to show when it begins to wait, and when what it waits for changes.
        poll_seconds: How often it looks whether the others are done.

    Yields:
        A wave with only free batches; they are held until the next is asked for.
    """
    done: set[str] = set()
    told = ""
    with Leases(store, run_id) as leases:
        while True:
            choice = _choose(plan(), leases, done)
            if choice.wave is not None:
                yield choice.wave
                done.update(name for batch_id in choice.wave.batch_ids for name in lease_names(choice.wave, batch_id))
                leases.release()
                continue
            if not choice.busy:
                return
            text = _who(choice.busy)
            if text != told:
                on_wait(text)
                told = text
            while all(leases.stands(lease) for lease in choice.busy.values()):
                time.sleep(poll_seconds)


def _choose(waves: Iterable[Wave], leases: Leases, done: Collection[str]) -> _Choice:
    busy: dict[str, Lease] = {}
    for wave in waves:
        free = []
        for batch_id in wave.batch_ids:
            names = [name for name in lease_names(wave, batch_id) if name not in done]
            lease = leases.take(names) if names else None
            if lease is not None:
                busy[batch_id] = lease
            elif names:
                free.append(batch_id)
        if free:
            return _Choice(replace(wave, batch_ids=tuple(free)), busy)
    return _Choice(None, busy)


def lease_names(wave: Wave, batch_id: str) -> list[str]:
    """Names of the leases of a batch of a wave: one a target."""
    targets = [f"{wave.stage}-{_file_name(target)}" for target in wave.targets] or [wave.stage]
    return [f"{target}.{batch_id}" for target in targets]


def _file_name(target: str) -> str:
    """A target as part of a file's name: an extractor's may hold a path."""
    safe = re.sub(r"[^A-Za-z0-9_@.+-]", "_", target)
    return target if safe == target else f"{safe[-_LONGEST_NAME:]}-{fingerprint(target)}"


def _who(busy: Mapping[str, Lease]) -> str:
    runs = sorted({f"run {lease.holder.run_id} on {lease.holder.host}" for lease in busy.values()})
    return f"waiting for {', '.join(runs)}: {len(busy)} batches"
