"""Leases: one holder at a time, gone with its holder, and never in the way of a store that may not be written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from features.store import Store
from features.store.leases import Leases, dead_leases, live_leases
from pipelines.leasing import leased
from pipelines.waves import Wave
from tests.store.rivals import race, take_lease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOLD = """
import sys, time
from features.store import Store
from features.store.leases import Leases
with Leases(Store.open(sys.argv[1]), "other") as leases:
    assert leases.take(sys.argv[2:]) is None
    print("taken", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold(store: Store) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts another process that holds leases, until its input is closed."""
    started: list[subprocess.Popen[str]] = []

    def start(*names: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, store.root, *names]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "taken\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def end(child: subprocess.Popen[str]) -> None:
    """Let the process give its leases back."""
    child.communicate(timeout=30)
    assert child.returncode == 0


def files_of(store: Store) -> list[str]:
    return sorted(path.name for path in (store.path / "leases").glob("*"))


def elsewhere(store: Store, name: str) -> Path:
    """A lease of a run on another machine."""
    path = store.path / "leases" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    holder = {"run_id": "far", "host": "elsewhere", "pid": 1, "started": 0.0, "lasts_seconds": 60.0}
    path.write_text(json.dumps(holder))
    return path


def test_a_lease_is_held_by_one_and_given_back(store: Store) -> None:
    with Leases(store, "one") as one, Leases(store, "two") as two:
        assert one.take(["a"]) is None
        assert [(lease.name, lease.holder.run_id) for lease in live_leases(store)] == [("a", "one")]
        blocked = two.take(["b", "a"])
        assert blocked is not None
        assert (blocked.name, blocked.holder.run_id, blocked.holder.pid) == ("a", "one", os.getpid())
        assert two.stands(blocked)
        assert files_of(store) == ["a.json"], "all or none"
        one.release()
        assert not two.stands(blocked)
        assert two.take(["a"]) is None
    assert files_of(store) == []


def test_what_is_held_is_given_back_when_the_work_fails(store: Store) -> None:
    def work() -> None:
        with Leases(store, "one") as leases:
            leases.take(["a"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert files_of(store) == []


def test_rivals_get_a_lease_once(store: Store) -> None:
    for number in range(2):
        taken = race(take_lease, [(store.root, f"lease{number}")] * 4)
        assert sorted(taken) == [False, False, False, True]


def test_rivals_take_a_dead_lease_over_once(store: Store) -> None:
    for number in range(2):
        path = elsewhere(store, f"lease{number}")
        os.utime(path, (0, 0))
        taken = race(take_lease, [(store.root, f"lease{number}")] * 4)
        assert sum(taken) >= 1
        assert [name for name in files_of(store) if name.count(".") > 1] == [], "nothing is left aside"


def test_the_lease_of_a_killed_process_is_free_at_once(
    store: Store, hold: Callable[..., subprocess.Popen[str]]
) -> None:
    child = hold("a")
    with Leases(store, "one") as leases:
        assert leases.take(["a"]) is not None
        os.kill(child.pid, signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now: its parent has not waited for it
        assert [path.name for path in dead_leases(store)] == ["a.json"]
        assert leases.take(["a"]) is None


def test_a_process_number_that_came_again_holds_nothing(store: Store) -> None:
    with Leases(store, "one") as leases:
        assert leases.take(["a"]) is None
        path = store.path / "leases" / "a.json"
        holder = json.loads(path.read_text())
        path.write_text(json.dumps({**holder, "started": holder["started"] - 1000}))
        with Leases(store, "two") as two:
            assert two.take(["a"]) is None


def test_a_lease_of_another_machine_lapses_when_it_is_not_touched(store: Store) -> None:
    path = elsewhere(store, "a")
    with Leases(store, "one") as leases:
        assert leases.take(["a"]) is not None
        os.utime(path, (time.time() - 61,) * 2)
        assert leases.take(["a"]) is None
        assert json.loads(path.read_text())["run_id"] == "one"


def test_a_lease_is_kept_alive_and_a_lapsed_one_is_not_given_back(store: Store) -> None:
    with Leases(store, "one", lasts_seconds=0.4) as leases:
        leases.take(["a", "b"])
        path = store.path / "leases" / "a.json"
        os.utime(path, (0, 0))
        while path.stat().st_mtime == 0:
            time.sleep(0.01)
        elsewhere(store, "b")
    assert files_of(store) == ["b.json"]


def test_a_damaged_lease_is_free(store: Store) -> None:
    elsewhere(store, "a").write_text("{")
    with Leases(store, "one") as leases:
        assert leases.take(["a"]) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_store_that_may_not_be_written_goes_without(store: Store) -> None:
    store.path.chmod(0o555)
    try:
        with Leases(store, "one") as leases:
            assert leases.take(["a"]) is None
    finally:
        store.path.chmod(0o755)
    assert files_of(store) == []


def test_where_no_leases_can_be_made_work_goes_on(store: Store) -> None:
    (store.path / "leases").write_text("in the way")
    with Leases(store, "one") as leases:
        assert leases.take(["a"]) is None
    assert [wave.batch_ids for wave in leased(store, "run", Work(store, ["b1"]).plan, on_wait=print)] == [("b1",)]


class Work:
    """Batches to do, planned two a wave."""

    def __init__(self, store: Store, batch_ids: list[str]) -> None:
        self._store = store
        self.pending = batch_ids

    def plan(self) -> Iterator[Wave]:
        pending = list(self.pending)
        for start in range(0, len(pending), 2):
            yield Wave(self._store.root, "ingest", tuple(pending[start : start + 2]), "run")

    def do(self, wave: Wave) -> None:
        self.pending = [batch_id for batch_id in self.pending if batch_id not in wave.batch_ids]


def test_all_work_is_done_wave_by_wave(store: Store) -> None:
    work, done = Work(store, ["b1", "b2", "b3"]), []
    for wave in leased(store, "run", work.plan, on_wait=print):
        assert files_of(store) == [f"ingest.{batch_id}.json" for batch_id in wave.batch_ids]
        done.append(wave.batch_ids)
        work.do(wave)
    assert done == [("b1", "b2"), ("b3",)]
    assert files_of(store) == []


def test_what_stays_pending_is_done_once(store: Store) -> None:
    work = Work(store, ["b1", "b2", "b3"])
    waves = leased(store, "run", work.plan, on_wait=print)
    assert [wave.batch_ids for wave in waves] == [("b1", "b2"), ("b3",)]


def test_a_run_that_ends_early_gives_its_leases_back(store: Store) -> None:
    waves = leased(store, "run", Work(store, ["b1"]).plan, on_wait=print)
    next(waves)
    waves.close()
    assert files_of(store) == []


def test_what_another_holds_is_left_to_it_and_done_if_it_does_not(
    store: Store, hold: Callable[..., subprocess.Popen[str]]
) -> None:
    child, work, told, done = hold("ingest.b1", "ingest.b3"), Work(store, ["b1", "b2", "b3"]), [], []

    def wait(text: str) -> None:
        told.append(text)
        end(child)

    for wave in leased(store, "run", work.plan, on_wait=wait, poll_seconds=0.01):
        done.append(wave.batch_ids)
        work.do(wave)
    assert done == [("b2",), ("b1", "b3")]
    (text,) = told
    assert text.startswith("waiting for run other on ")
    assert text.endswith(": 2 batches")


def test_what_another_has_done_meanwhile_is_not_done_again(
    store: Store, hold: Callable[..., subprocess.Popen[str]]
) -> None:
    child, work, done = hold("ingest.b1"), Work(store, ["b1", "b2"]), []

    def wait(text: str) -> None:
        del text
        work.pending = []
        end(child)

    for wave in leased(store, "run", work.plan, on_wait=wait, poll_seconds=0.01):
        done.append(wave.batch_ids)
        work.do(wave)
    assert done == [("b2",)]


def test_a_target_is_leased_by_itself(store: Store, hold: Callable[..., subprocess.Popen[str]]) -> None:
    hold("extract-mfcc.b1")
    mfcc = Wave(store.root, "extract", ("b1",), "run", ("mfcc",))
    minilm = Wave(store.root, "extract", ("b1",), "run", ("minilm",))
    waves = leased(store, "run", lambda: [mfcc, minilm], on_wait=print)
    assert next(waves) == minilm
    waves.close()


def test_two_runs_share_the_work(store: Store) -> None:
    """Each batch is done, by one of them."""
    work, done, lock = Work(store, [f"b{number:02}" for number in range(20)]), [], threading.Lock()

    def run(name: str) -> None:
        for wave in leased(store, name, work.plan, on_wait=lambda _: None, poll_seconds=0.01):
            with lock:
                done.extend(wave.batch_ids)
                work.do(wave)

    runs = [threading.Thread(target=run, args=(name,)) for name in ("one", "two")]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join()
    assert work.pending == []
    assert set(done) == {f"b{number:02}" for number in range(20)}
    assert files_of(store) == []
