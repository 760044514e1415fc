"""Chaos: a night is killed at random moments until it is done; the tables must equal an uninterrupted night's.

`make chaos` kills its way through 50 nights, then lets two runs loose on one store, 8 times. A night's kills follow
from its seed: what is killed, and when - a while after the start, or after so many more files in the store, for then
all moments are as likely on a slow machine as on a fast one. `python -m tests.whole.chaos --rounds 1 --seed 7` repeats
one night. With `--bucket` the stores lie in a bucket of a local S3 server; then no two runs are let loose on one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from features.store import Store
from features.store.storage import is_url
from features.store.verify import verify_store
from tests.pipelines.running import processes_below, still_alive
from tests.whole.places import bucket, copy_store, is_store, num_files
from tests.whole.rivals import run_rivals
from tests.whole.site import STAGES, assert_alike, assert_whole, make_reference, orphans

if TYPE_CHECKING:
    from tests.whole.site import Reference

TARGETS = {
    "in-process": ("all", "all", "driver", "leader"),
    "multi": ("all", "driver", "leader", "worker", "worker"),
}
"""What a kill takes, by runner: the driver with all below it; the driver alone, whose wave must end itself; a wave's
leading process; one Beam worker. The last two are the driver's to survive."""

_SHORTEST_SECONDS = 0.3
_BY_FILES = 0.75
"""Share of kills whose moment is told by the files in the store, not by the clock; the first always is."""

_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 300


class Plan(NamedTuple):
    """A night to be killed."""

    seed: int
    runner: str = "in-process"
    wave_batches: int = 8
    stages: tuple[str, ...] = STAGES  # without ingest: it starts from what a clean ingest left
    most_kills: int = 25

    @classmethod
    def drawn(cls, seed: int) -> Plan:
        """What a seed says: one night in three on many processes, waves small or large."""
        dice = random.Random(-seed)
        runner = dice.choice(["in-process", "in-process", "multi"])
        return cls(seed, runner, dice.choice([4, 8] if runner == "multi" else [2, 4, 8]))


class Kill(NamedTuple):
    """One kill: what it took, after how many seconds of the attempt, and what the run had said last."""

    target: str
    seconds: float
    stage: str


class Round(NamedTuple):
    """How one night went."""

    plan: Plan
    kills: tuple[Kill, ...]
    num_starts: int
    num_orphans: int
    seconds: float

    def __str__(self) -> str:
        kills = "; ".join(f"{kill.target} at {kill.seconds:.1f} s ({kill.stage})" for kill in self.kills)
        plan = self.plan
        return (
            f"seed {plan.seed} ({plan.runner}, waves of {plan.wave_batches}): {len(self.kills)} kills, "
            f"{self.num_starts} starts, {self.num_orphans} orphans swept, {self.seconds:.0f} s: {kills or 'none'}"
        )


class Night:
    """One round: a store, a scratch folder, and the runs on it."""

    def __init__(self, reference: Reference, folder: Path, plan: Plan, root: str = "") -> None:
        self._reference = reference.after(plan.stages)
        self._plan = plan
        self._store = root or str(folder / "store")
        self._scratch = folder / "scratch"
        self._said = folder / "said"
        self._scratch.mkdir(parents=True)
        if "ingest" not in plan.stages:
            copy_store(reference.ingested, self._store)
        self._random = random.Random(plan.seed)
        self._kills: list[Kill] = []

    def run(self) -> Round:
        """Start, kill, look, start again, until a run ends by itself; then compare, verify and sweep."""
        started, num_starts = time.monotonic(), 0
        done = False
        while not done:
            num_starts += 1
            done = self._attempt()
            self._look()
        num_orphans = self._finish()
        seconds = time.monotonic() - started
        return Round(self._plan, tuple(self._kills), num_starts, num_orphans, seconds)

    def _attempt(self) -> bool:
        """One start; True where it ended by itself and well. A kill that the driver survives is followed by more."""
        site, before = self._reference.site, len(self._kills)
        with self._said.open("wb") as said:
            process = subprocess.Popen(
                site.night(self._store, *self._plan[1:4]),
                start_new_session=True,
                cwd=site.folder,
                env=site.environment(TMPDIR=str(self._scratch)),
                stdout=said,
                stderr=said,
            )
        begun = time.monotonic()
        while len(self._kills) < self._plan.most_kills and self._wait(process):
            self._kill(process, time.monotonic() - begun)
        status = process.wait(timeout=_PATIENCE_SECONDS)
        if status != 0:
            assert len(self._kills) > before, f"{self}: it ended with {status} unhurt:\n{self._said.read_text()}"
        assert "Traceback" not in self._said.read_text(), f"{self}:\n{self._said.read_text()}"
        return status == 0

    def _wait(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait for the moment of the next kill; False where the run ends before."""
        more, until = 0, time.monotonic() + _SHORTEST_SECONDS + self._random.uniform(0, self._reference.seconds)
        if not self._kills or self._random.random() < _BY_FILES:
            left = max(10, round(0.8 * self._reference.num_files) - num_files(self._store))
            more, until = self._random.randrange(left), time.monotonic() + _PATIENCE_SECONDS
        goal, rest = num_files(self._store) + more, self._random.random()
        while process.poll() is None and time.monotonic() < until:
            if more and num_files(self._store) >= goal:
                more, until = 0, time.monotonic() + rest  # also between two files
            time.sleep(_POLL_SECONDS * (5 if is_url(self._store) else 1))
        return process.poll() is None

    def _kill(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        target = self._random.choice(TARGETS[self._plan.runner])
        family = processes_below(process.pid)
        victims = {
            "leader": _naming(family, "pipelines.wave_process"),
            "worker": _naming(family, "sdk_worker_main"),
            "all": family,
        }.get(target, [])
        if not victims:
            target, victims = "driver", [one for one in family if _group_of(one) == process.pid]
        if target in ("leader", "worker"):
            victims = [self._random.choice(victims)]
        self._kills.append(Kill(target, seconds, self._stage()))
        for victim in victims:  # parents first, so that they start no more
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()

    def _stage(self) -> str:
        lines = [line for line in self._said.read_text().splitlines() if ", wave " in line]
        return lines[-1].partition(" of ")[0].partition(":")[0] if lines else "planning"

    def _look(self) -> None:
        """What is visible is whole, at any moment: also while an orphaned wave is about to end."""
        if is_store(self._store):
            assert_whole(Store.open(self._store), self._reference.content)

    def _finish(self) -> int:
        """Compare with the clean night, verify, sweep; how many orphans were swept."""
        assert still_alive(_started_in(self._scratch), seconds=30) == [], f"{self}: processes are left"
        store, site = Store.open(self._store), self._reference.site
        assert_alike(store, self._reference.content)
        assert verify_store(store).findings == ()
        num_orphans = len(orphans(store))
        site.run(self._store, "maintain", "--retention-hours", "0", "--yes")
        assert orphans(store) == []
        site.run(self._store, "verify")
        assert_alike(store, self._reference.content)
        return num_orphans

    def __str__(self) -> str:
        return f"{self._plan}, {self._kills}"


def _naming(processes: list[psutil.Process], word: str) -> list[psutil.Process]:
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if any(word in part for part in process.cmdline()):
                found.append(process)
    return found


def _group_of(process: psutil.Process) -> int:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return -1


def _started_in(folder: Path) -> list[psutil.Process]:
    """Processes that were started with a path in a folder, whatever became of their parents."""
    return _naming(list(psutil.process_iter()), str(folder))


def run_round(reference: Reference, folder: Path, plan: Plan, root: str = "") -> Round:
    """One night, killed until it is done.

    Args:
        reference: What it must come to.
        folder: For its store; does not exist.
        plan: Seed of its kills, and how it runs.
        root: Where its store lies instead.

    Raises:
        AssertionError: A table differs from the clean night's, or something is left over.
    """
    return Night(reference, folder, plan, root).run()


def summary_of(rounds: list[Round]) -> str:
    """Figures of all rounds."""
    kills = [kill for one in rounds for kill in one.kills]
    targets = ", ".join(f"{count} {name}" for name, count in sorted(Counter(kill.target for kill in kills).items()))
    stages = ", ".join(
        f"{count} {name}" for name, count in sorted(Counter(kill.stage.partition(",")[0] for kill in kills).items())
    )
    return (
        f"{len(rounds)} nights, {sum(one.num_starts for one in rounds)} starts, {len(kills)} kills ({targets}; in "
        f"{stages}), {sum(one.num_orphans for one in rounds)} orphans: all tables equal the clean night's"
    )


def main() -> int:
    """Run rounds, print each, stop at the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1, help="of the first round; it counts up")
    parser.add_argument("--rivals", type=int, default=8, help="rounds of two runs at once on one store")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--parallel", type=int, default=2, help="rounds at a time, each on a store of its own")
    parser.add_argument("--bucket", action="store_true", help="stores in a bucket of a local S3 server")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="triptych-chaos-")))
        pool = stack.enter_context(ThreadPoolExecutor(given.parallel))
        reference = make_reference(folder, num_clips=given.clips)
        print(f"a clean night takes {reference.seconds:.1f} s", flush=True)
        seeds = range(given.seed, given.seed + given.rounds)
        bucket_root = stack.enter_context(bucket()) if given.bucket else ""

        def night(seed: int) -> Round:
            root = bucket_root and f"{bucket_root}/{seed}/store"
            return run_round(reference, folder / f"{seed}", Plan.drawn(seed), root)

        rounds = []
        for done in pool.map(night, seeds):
            rounds.append(done)
            print(done, flush=True)
        print(summary_of(rounds), flush=True)
        for number in range(0 if given.bucket else given.rivals):
            slow, leases = number % 2 == 1, number % 4 == 0
            run_rivals(reference, folder / f"rivals-{number}", slow=slow, leases=leases)
            print(f"two runs at once, slow disk: {slow}, leases: {leases}: each row once", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
