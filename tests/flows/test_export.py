"""`triptych export`: what it says, what it refuses, and a disk that fills up under it."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from features.store import Store, read_table
from tests.store.making import SECOND, media, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.flows.conftest import Outcome

    Triptych = Callable[..., Outcome]

ROOT = Path(__file__).resolve().parents[2]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_says_what_it_did_and_that_it_is_done(triptych: Triptych, store: Store, tmp_path: Path) -> None:
    words = ("--store", store.root, "export", "looks", "--out", tmp_path / "out")
    first = triptych(*words)
    assert first.status == 0
    assert first.out.startswith("exported 12 rows of 2 batches as parquet: 1 file, ")
    assert first.err == "export looks as parquet: 2 batches\n"
    again = triptych(*words)
    assert again.out.startswith("nothing to do: this export is whole, 12 rows")
    put(store, "media", "b3", [media("new")])
    assert "newer since: media; --overwrite, or another folder" in triptych(*words).out
    summary = json.loads(triptych(*words, "--overwrite", "--json").out)
    assert (summary["rows"], summary["batches"], summary["was_done"]) == (12, 3, False)
    assert summary["left_out"] == {"refused": 0, "forgotten": 0}
    assert summary["as_of"]["features/looks@1"] == store.load("features/looks@1").version()
    assert pq.read_table(tmp_path / "out" / "data").equals(read_table(store, "features/looks@1"))


def test_media_are_named_as_people_name_them(triptych: Triptych, store: Store, tmp_path: Path) -> None:
    words = (
        "--store",
        store.root,
        "export",
        "sounds",
        "looks",
        "--segmentation",
        "window:5s",
        "--out",
        tmp_path / "out",
    )
    more = ("--media", "m03.mp4", "--media", "m07", "--columns", "name,start_us, looks", "--limit", "3")
    assert triptych(*words, *more, "--format", "csv").status == 0
    lines = (tmp_path / "out" / "data" / "part-00000.csv").read_text().splitlines()
    assert lines[0] == '"name","start_us","looks_0","looks_1","looks_2","looks_3"'
    assert [line.split(",")[:2] for line in lines[1:]] == [
        ['"m03.mp4"', "0"],
        ['"m03.mp4"', str(5 * SECOND)],
        ['"m07.mp4"', "0"],
    ]


def test_options_come_from_a_file_too(triptych: Triptych, store: Store, tmp_path: Path) -> None:
    config = tmp_path / "triptych.toml"
    config.write_text(f'store = "{store.root}"\n[export]\nnames = ["looks"]\nlimit = 5\nout = "{tmp_path / "out"}"\n')
    assert triptych("--config", config, "export").status == 0
    assert pq.read_table(tmp_path / "out" / "data").num_rows == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name what to export"),
        (("lokks",), "there is no table or feature 'lokks'; did you mean 'looks@1'?"),
        (("features/lokks@1",), "did you mean 'features/looks@1'?"),
        (("frames",), "has no table 'frames' yet; tables are coverage/looks@1"),
        (("failures",), "is not exported; look at it by: triptych sql 'from failures'"),
        (("looks", "sounds"), "put features side by side with --segmentation window:10s"),
        (("looks", "--pool", "max"), "--pool max is for segments"),
        (("looks", "--columns", "values,start"), "there is no column 'start'; did you mean 'start_us'?"),
        (("looks", "--columns", "values,values"), "is named 2 times"),
        (("looks", "--batch", "b7"), "batch 'b7' is not whole"),
        (("looks", "--media", "nobody"), "there is no media 'nobody'"),
        (("looks", "--split", "even"), "there are no splits 'even'; the store has none"),
        (("looks", "--shard-mb", "0"), "shard_mb is 0; give at least 1"),
        (("looks", "--limit", "-1"), "limit"),
        (("lokks", "--segmentation", "whole"), "there is no feature 'lokks'; did you mean 'looks'?"),
        (("media", "--segmentation", "whole"), "table 'media' is no feature"),
        (("looks", "--segmentation", "windows"), "there is no segmentation 'windows'"),
        (("looks", "--segmentation", "whole", "--labels", "mood"), "there is no label set 'mood'"),
        (("looks", "--segmentation", "whole", "--pool", "pad:x"), "write pad:N"),
        (("looks", "--segmentation", "whole", "--pool", "mox"), "cannot be pooled by 'mox'; did you mean 'max'?"),
        (("looks", "--segmentation", "whole", "--columns", "loks"), "no column 'loks'; did you mean 'looks'?"),
    ],
)
def test_wrong_words_are_told_and_nothing_is_made(
    triptych: Triptych, store: Store, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    outcome = triptych("--store", store.root, "export", *words, "--out", tmp_path / "out")
    assert outcome.status == 2
    assert said in outcome.err
    assert outcome.err.startswith("triptych: ")
    assert not (tmp_path / "out").exists()


def test_places_that_are_no_folder_of_an_export(triptych: Triptych, store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "mine" / "data").mkdir(parents=True)
    (tmp_path / "mine" / "data" / "thesis.csv").write_text("x")
    for out, said in (
        ("", "name a folder for the files: --out FOLDER"),
        ("s3://bucket/out", "'s3://bucket/out' is a URL, and exports are written to folders only"),
        (tmp_path / "file", "is a file; name a folder"),
        (store.path / "out", "lies in the store"),
        (tmp_path, "holds something that is no export (such as 'file')"),
        (tmp_path / "mine", "holds something that is no export (such as 'data')"),
    ):
        for more in ((), ("--overwrite",)):
            outcome = triptych("--store", store.root, "export", "looks", "--out", out, *more)
            assert outcome.status == 2
            assert said in outcome.err
    assert (tmp_path / "mine" / "data" / "thesis.csv").read_text() == "x"
    missing = triptych("--store", tmp_path / "none", "export", "looks", "--out", tmp_path / "out")
    assert (missing.status, "there is no store" in missing.err) == (3, True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        pytest.skip("no disk may be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def full_store(root: Path) -> Store:
    """Four megabytes of pictures in four batches."""
    store = Store.create(root)
    for batch_id in ("b1", "b2", "b3", "b4"):
        rows = [{"media_id": batch_id, "t_us": i * SECOND, "jpeg": os.urandom(100_000)} for i in range(10)]
        put(store, "frames", batch_id, rows)
        put(store, "media", batch_id, [media(batch_id)])
    return store


def words(store: Store, out: Path, form: str) -> list[str]:
    return ["--store", store.root, "export", "frames", "--out", str(out), "--format", form, "--shard-mb", "1"]


def run(store: Store, out: Path, form: str, **more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows.cli", *words(store, out, form)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **more)


def assert_one_clear_line(said: str, place: Path) -> None:
    """Beside the line of progress, one that says what, where, why, and what to do."""
    lines = [line for line in said.splitlines() if not line.startswith("export frames as ")]
    assert len(lines) == 1, said
    why = r"triptych: cannot write [^()]* \([A-Z][\w ]+\); free space or rights there, then run again"
    assert re.fullmatch(why, lines[0]), said
    assert str(place) in lines[0]


@pytest.mark.parametrize("form", ["parquet", "csv", "numpy", "webdataset", "datasets"])
def test_a_full_disk_is_told_and_the_export_goes_on_after_it(
    triptych: Triptych, tmp_path: Path, small_disk: Path, form: str
) -> None:
    store, out = full_store(tmp_path / "store"), small_disk / "out"
    failed = run(store, out, form)
    assert failed.returncode == 3, failed.stderr
    assert_one_clear_line(failed.stderr, out)
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert triptych(*words(store, out, form)).status == 0
    assert triptych(*words(store, tmp_path / "whole", form)).status == 0
    assert files_of(out) == files_of(tmp_path / "whole")


def test_a_file_that_may_not_grow_is_told(triptych: Triptych, tmp_path: Path) -> None:
    store, out = full_store(tmp_path / "store"), tmp_path / "out"
    limits = (500_000, 500_000)
    failed = run(store, out, "parquet", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits))
    assert failed.returncode == 3, failed.stderr
    assert_one_clear_line(failed.stderr, out)
    assert triptych(*words(store, out, "parquet")).status == 0
    assert pq.read_table(out / "data").equals(read_table(store, "frames"))
