"""A disk that is full, or may not be written any more, in the middle of a night: one clear line, and nothing half-done.

Root mounts a small disk of its own (tmpfs) and fills it, or makes it read-only. Others limit the size of the files
that the run may write, and take the right to write from the store's folders.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from features.store import Store
from features.store.verify import verify_store
from tests.pipelines.running import processes_below, wait_for
from tests.whole.site import assert_alike, assert_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.whole.site import Reference

pytestmark = pytest.mark.slow

MARKS = {"ingest": "media", "extract": "coverage/brittle@1"}
_DISK_MEGABYTES = 32
_PAGE_BYTES = 4096
_LARGEST_FILE_BYTES = 2048


class Disk:
    """A folder that can be made full or read-only."""

    def __init__(self, folder: Path, *, mounted: bool) -> None:
        self.folder = folder
        self.store = folder / "store"
        self._mounted = mounted
        self._ballast = folder / "ballast"

    def fail(self, how: str, run: subprocess.Popen[str]) -> None:
        """Let it be `full` or `read-only` from now on for a run."""
        if how == "full":
            self._fill(run)
        elif self._mounted:
            wait_for(lambda: not self._remount("ro"), seconds=60)  # busy while any file is open for writing
        else:
            self._set_rights(0o555)

    def recover(self, how: str) -> None:
        """Let it be written again."""
        if how == "full":
            self._ballast.unlink(missing_ok=True)
        elif self._mounted:
            assert self._remount("rw") == 0
        else:
            self._set_rights(0o755)

    def _fill(self, run: subprocess.Popen[str]) -> None:
        if self._mounted:
            with self._ballast.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(_PAGE_BYTES))
                except OSError:
                    return
        for process in processes_below(run.pid):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (_LARGEST_FILE_BYTES, _LARGEST_FILE_BYTES))

    def _remount(self, rights: str) -> int:
        command = ["mount", "-o", f"remount,{rights}", str(self.folder)]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode

    def _set_rights(self, mode: int) -> None:
        for parent, _, _ in os.walk(self.store):
            Path(parent).chmod(mode)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small disk of its own, where one may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MEGABYTES}m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
    if os.geteuid() == 0 and not mounted:
        pytest.skip("root may write anywhere, and may not mount a disk here")
    try:
        yield Disk(folder, mounted=mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(("how", "stage"), [("full", "ingest"), ("full", "extract"), ("read-only", "ingest")])
def test_a_disk_that_fails_in_the_middle_of_a_night(how: str, stage: str, disk: Disk, reference: Reference) -> None:
    """After the stage's first wave; what was committed before is kept, and the next run completes it."""
    clean, site = reference.after([stage]), reference.site
    if stage == "extract":
        shutil.copytree(reference.ingested, disk.store)
    run = subprocess.Popen(
        site.night(disk.store, wave_batches=4, stages=[stage]),
        cwd=site.folder,
        env=site.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    first_wave = disk.store / MARKS[stage] / "_delta_log" / f"{1:020}.json"
    wait_for(first_wave.is_file, seconds=300)
    disk.fail(how, run)
    _, said = run.communicate(timeout=300)
    assert run.returncode == 3, said
    assert_one_clear_line(said, disk.folder)
    assert_whole(Store.open(disk.store), clean.content)
    site.run(disk.store, "status")
    disk.recover(how)
    again = subprocess.run(
        site.night(disk.store, stages=[stage]),
        cwd=site.folder,
        env=site.environment(),
        capture_output=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert_alike(Store.open(disk.store), clean.content)
    assert verify_store(Store.open(disk.store)).findings == ()


def assert_one_clear_line(said: str, place: Path) -> None:
    """Beside the lines of progress, one that says what, where, why, and what to do."""
    lines = [line for line in said.splitlines() if ", wave " not in line]
    assert len(lines) == 1, said
    what, why, remedy = r"cannot [^()]*", r"\([A-Z][\w\- ]+\)", r".*(space|rights).* run again"
    assert re.fullmatch(rf"triptych: {what} {why}; {remedy}", lines[0]), said
    assert str(place) in lines[0]


def test_a_disk_without_any_room_is_told_before_anything_is_done(
    disk: Disk, reference: Reference, tmp_path: Path
) -> None:
    """Where scratch files find no room, no wave runs; where the store finds none, none is made."""
    site, elsewhere = reference.site, tmp_path / "elsewhere"
    if not disk.folder.is_mount():
        pytest.skip("only a disk of its own can be filled before a run")
    (disk.folder / "file").write_bytes(bytes((_DISK_MEGABYTES << 20) - _PAGE_BYTES))
    said = site.run(elsewhere, "ingest", site.clips, "--runner", "in-process", status=3, TMPDIR=str(disk.folder))
    assert_one_clear_line(said, disk.folder)
    assert Store.open(elsewhere).batches("media") == frozenset()
    said = site.run(disk.store, "ingest", site.clips, status=3)
    assert_one_clear_line(said, disk.folder)
