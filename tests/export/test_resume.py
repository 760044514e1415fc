"""Killed at any point, an export goes on, and ends in the very files of one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from features.errors import ConfigError, StoreError
from features.export.folder import JOURNAL, OutFolder
from features.export.options import ExportOptions
from features.export.run import export
from features.privacy.erasure import erase, plan_erasure
from features.spec import FeatureSpec
from features.store import Store, commit_files
from tests.export.conftest import put_batch
from tests.export.test_tables import expected
from tests.store.making import SECOND, media, put, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORMATS = ("parquet", "csv", "numpy", "webdataset", "datasets")
ROOT = Path(__file__).resolve().parents[2]


class Killed(BaseException):
    """Nobody catches it."""


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def options(out: Path, form: str, **more: Any) -> ExportOptions:
    return ExportOptions(**{"names": ("looks",), "out": str(out), "format": form, "split": "even", **more})


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Dies before the step that is named: of all that reach the disk, in turn."""
    left = {"steps": 1 << 30}

    def before(name: str) -> None:
        real = getattr(OutFolder, name)

        def step(self: OutFolder, *args: Any, **more: Any) -> Any:
            left["steps"] -= 1
            if left["steps"] < 0:
                raise Killed
            return real(self, *args, **more)

        monkeypatch.setattr(OutFolder, name, step)

    for name in ("publish", "append_text", "sync", "remove", "make_data"):
        before(name)
    return left


@pytest.mark.parametrize("form", FORMATS)
def test_killed_at_every_step(
    made_store: Store, tmp_path: Path, form: str, killing: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made_store
    monkeypatch.setattr(ExportOptions, "shard_bytes", 30_000 if form == "webdataset" else 500)  # several parts
    more = {"columns": ("media_id", "start_us", "values"), "batch": ("b1", "b2")}
    export(store, options(tmp_path / "whole", form, **more))
    right = content_of(tmp_path / "whole")
    for step in range(1000):
        out = tmp_path / str(step)
        killing["steps"] = step
        try:
            export(store, options(out, form, **more))
        except Killed:
            killing["steps"] = 1 << 30
            export(store, options(out, form, **more))
            assert content_of(out) == right
        else:
            break
    assert step > 4


def wait_for(is_so: Callable[[], bool], command: subprocess.Popen[Any]) -> None:
    """Wait while a command runs."""
    while not is_so():
        assert command.poll() is None
        time.sleep(0.001)


def words(store: Store, out: Path, form: str) -> list[str]:
    """The command line."""
    what = ["export", "wide", "--out", str(out), "--format", form, "--shard-mb", "1"]
    return [sys.executable, "-m", "flows.cli", "--store", store.root, *what]


@contextmanager
def blocked(store: Store, batch_id: str) -> Iterator[None]:
    """Whoever opens the file of a batch waits for ever."""
    (path,) = (store.table_path("features/wide@1") / f"batch_id={batch_id}").iterdir()
    aside = path.with_name("aside")
    path.rename(aside)
    os.mkfifo(path)
    try:
        yield
    finally:
        aside.replace(path)


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """40 batches of an eighth of a megabyte of vectors each."""
    store = Store.create(tmp_path_factory.mktemp("larger") / "store")
    spec = FeatureSpec("wide", 1, "video", "frames", shape=(128,))
    random = np.random.default_rng(0)
    for number in range(40):
        batch_id, media_id = f"b{number:02}", f"m{number:02}"
        values = random.normal(size=(256, 128)).astype(np.float32)
        rows = [
            {"media_id": media_id, "start_us": i * SECOND, "end_us": (i + 1) * SECOND, "values": v}
            for i, v in enumerate(values)
        ]
        commit_files(store, spec.table, [write(store, spec.table, batch_id, rows)], stage="extract:wide", spec=spec)
        put(store, "media", batch_id, [media(media_id)])
    return store


@pytest.mark.parametrize("form", FORMATS)
def test_the_command_is_killed_half_way(larger: Store, tmp_path: Path, form: str) -> None:
    given = {"names": ("wide",), "shard_mb": 1, "split": ""}
    export(larger, options(tmp_path / "whole", form, **given))
    out = tmp_path / "out"
    with blocked(larger, "b30"):
        command = subprocess.Popen(words(larger, out, form), cwd=ROOT, stderr=subprocess.DEVNULL)
        wait_for(lambda: (out / JOURNAL).is_file() and (out / JOURNAL).stat().st_size > 0, command)
        command.kill()
        assert command.wait() == -signal.SIGKILL
    assert json.loads((out / "export.json").read_text())["status"] == "in progress"
    assert not [path for path in (out / "data").iterdir() if not path.name.startswith(".")]
    exported = export(larger, options(out, form, **given))
    assert 0 < exported.num_resumed < 30
    assert content_of(out) == content_of(tmp_path / "whole")


def test_interrupted_from_the_keyboard_says_how_to_go_on(larger: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = subprocess.Popen(words(larger, out, "webdataset"), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    wait_for((out / "export.json").is_file, command)
    command.send_signal(signal.SIGINT)
    _, said = command.communicate()
    assert command.returncode == 130
    assert "the same command goes on from there" in said
    subprocess.run(words(larger, out, "webdataset"), cwd=ROOT, check=True, capture_output=True)
    assert json.loads((out / "export.json").read_text())["status"] == "done"


def interrupted(store: Store, out: Path, killing: dict[str, int], step: int = 4, **more: Any) -> ExportOptions:
    """An export that was killed once it had begun."""
    given = options(out, "parquet", **more)
    killing["steps"] = step
    with pytest.raises(Killed):
        export(store, given)
    killing["steps"] = 1 << 30
    return given


def test_what_is_committed_meanwhile_does_not_show(store: Store, tmp_path: Path, killing: dict[str, int]) -> None:
    for place, more in enumerate(({}, {"segmentation": "utterances"})):
        out = tmp_path / f"out{place}"
        export(store, options(tmp_path / f"whole{place}", "parquet", **more))
        given = interrupted(store, out, killing, **more)
        put_batch(store, f"c{place}", [f"{place}"])
        heard = {"media_id": "a", "start_us": 0, "end_us": 9, "text": "so", "source": "asr:x"}
        put(store, f"transcripts/x@{place}", "b1", [heard])
        export(store, given)
        assert content_of(out) == content_of(tmp_path / f"whole{place}")


def test_the_same_command_again_does_nothing(store: Store, tmp_path: Path) -> None:
    given = options(tmp_path / "out", "parquet")
    first = export(store, given)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    put_batch(store, "c1", ["x"])
    again = export(store, given)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    assert again.manifest == first.manifest
    assert (again.was_done, first.was_done) == (True, False)
    assert set(again.newer) == {"features/looks@1", "media", "splits/even"}


def test_a_file_that_has_gone_is_made_again(store: Store, tmp_path: Path) -> None:
    given = options(tmp_path / "out", "parquet")
    export(store, given)
    before = content_of(tmp_path / "out")
    (tmp_path / "out" / "data" / "part-00000.parquet").unlink()
    put_batch(store, "c1", ["x"])
    export(store, given)
    assert content_of(tmp_path / "out") == before


def test_another_export_is_refused_or_replaced(store: Store, tmp_path: Path, killing: dict[str, int]) -> None:
    given = interrupted(store, tmp_path / "out", killing)
    for more in ({"format": "csv"}, {"names": ("sounds",)}, {"limit": 3}, {"shard_mb": 7}):
        with pytest.raises(ConfigError, match=r"holds another export .*--overwrite"):
            export(store, replace(given, **more))
    (tmp_path / "out" / "data" / "notes.txt").write_text("mine")
    export(store, options(tmp_path / "out", "csv", overwrite=True))
    assert set(content_of(tmp_path / "out")) == {"export.json", "data/part-00000.csv", "data/notes.txt"}
    other = Store.create(tmp_path / "other")
    put_batch(other, "b1", ["a"])
    with pytest.raises(ConfigError, match="of another store"):
        export(other, options(tmp_path / "out", "csv"))


def test_one_process_at_a_time(store: Store, tmp_path: Path) -> None:
    with OutFolder(tmp_path / "out"), pytest.raises(ConfigError, match="another export is writing"):
        export(store, options(tmp_path / "out", "parquet"))


def test_who_refuses_or_is_forgotten_meanwhile_ends_it(store: Store, tmp_path: Path, killing: dict[str, int]) -> None:
    given = interrupted(store, tmp_path / "out", killing)
    whole = options(tmp_path / "whole", "parquet")
    export(store, whole)
    rows = [media("a", duration_us=12 * SECOND), media("b", duration_us=12 * SECOND, consent="refused:publish")]
    put(store, "media", "b1", rows, generation=2)
    with pytest.raises(StoreError, match=r"forgotten or their use refused, .* begin anew with --overwrite"):
        export(store, given)
    export(store, options(tmp_path / "out", "parquet", overwrite=True))
    data = pq.read_table(tmp_path / "out" / "data")
    assert set(data["media_id"].to_pylist()) == set("acef")
    erase(store, plan_erasure(store, frozenset("c")), "forgetting")
    again = export(store, whole)
    assert (again.was_done, again.has_forgotten) == (True, True)
    given = interrupted(store, tmp_path / "later", killing)
    exported = export(store, given)
    assert set(pq.read_table(tmp_path / "later" / "data")["media_id"].to_pylist()) == set("aef")
    assert exported.manifest.left_out == {"refused": 2, "forgotten": 0}
    interrupted(store, tmp_path / "last", killing)
    erase(store, plan_erasure(store, frozenset("f")), "forgetting")
    with pytest.raises(StoreError, match=r"cannot go on: .* begin anew with --overwrite"):
        export(store, options(tmp_path / "last", "parquet"))


def test_shards_are_bounded_and_their_size_changes_no_row(larger: Store, tmp_path: Path) -> None:
    export(larger, options(tmp_path / "1", "webdataset", names=("wide",), shard_mb=1, split=""))
    sizes = [path.stat().st_size for path in (tmp_path / "1" / "data").glob("*.tar")]
    assert max(sizes) <= 1 << 20
    assert len(sizes) > 5
    right = expected(larger, "features/wide@1")
    for megabytes in (1, 3, 1000):
        out = tmp_path / f"p{megabytes}"
        export(larger, options(out, "parquet", names=("wide",), shard_mb=megabytes, split=""))
        assert pq.read_table(out / "data").equals(right)
