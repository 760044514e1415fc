"""Two runs at once on one store: no row is lost, none comes twice, the same bytes end as one media.

One of the two may have a slow disk. No disk here can be slowed by the kernel, so the process itself is: a
`sitecustomize` on its path lets every fsync and every rename wait. Parquet files are synced and renamed as they are
finished, so its commits come late, when the other's are there.

Leases keep two runs from the same batches, so most rounds go without: a file stands where their folder should be, and
both runs do everything at the same time.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from features.store import Store, read_table
from features.store.verify import verify_store
from tests.whole.site import EXTRACTORS, assert_unique, tables_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.whole.site import Reference, Site

_SLOW = """
import os, pathlib, time
def slowed(call):
    def wait(*args, **kwargs):
        time.sleep(0.15)
        return call(*args, **kwargs)
    return wait
os.fsync = slowed(os.fsync)
pathlib.Path.rename = slowed(pathlib.Path.rename)
"""
_BY_CONTENT = ("frames", "audio", "transcripts", "features/sizes@1", "features/brittle@1", "coverage/sizes@1")
_OF_THE_BATCH = ("batch_id", "ingested_at")


class Runs(NamedTuple):
    """Two scripts: a night, and a backfill of the same clips and of copies under other names."""

    site: Site
    store: Path
    copies: Path
    wave_batches: int

    def commands(self) -> tuple[list[str], list[str]]:
        options = ("--runner", "in-process", "--batch-sources", "5", "--wave-batches", f"{self.wave_batches}")
        sources = ([self.site.clips], [self.copies, self.site.clips])
        first, second = (self.site.command(self.store, "ingest", *given, *options) for given in sources)
        return first, second

    def extraction(self) -> list[str]:
        options = ("--runner", "in-process", "--wave-batches", f"{self.wave_batches}")
        return self.site.command(self.store, "extract", *EXTRACTORS, *options)


def at_once(site: Site, commands: tuple[list[str], list[str]], slow: dict[str, str]) -> None:
    """Run two commands at the same time, the second perhaps on a slow disk; both must end well."""
    environments = (site.environment(), site.environment() | slow)
    processes = [
        subprocess.Popen(
            command, cwd=site.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for command, environment in zip(commands, environments, strict=True)
    ]
    for process in processes:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
        assert "Traceback" not in said, said


def run_rivals(reference: Reference, folder: Path, *, slow: bool, leases: bool, wave_batches: int = 4) -> None:
    """Ingest by two runs at once, then extract by two at once, and look at what came of it.

    Args:
        reference: The clips, and what a night in peace makes of them.
        folder: For the store and the copies of clips; does not exist.
        slow: The second run has a slow disk.
        leases: Runs may tell each other what they are at.
        wave_batches: Batches a wave.

    Raises:
        AssertionError: A run failed, or a row is missing, there twice, or another's.
    """
    site = reference.site
    runs = Runs(site, folder / "store", folder / "copies", wave_batches)
    runs.copies.mkdir(parents=True)
    for path in sorted(site.clips.glob("clip_0[01]?.*")):
        shutil.copyfile(path, runs.copies / f"copy_of_{path.name}")
    (folder / "slow").mkdir()
    (folder / "slow" / "sitecustomize.py").write_text(_SLOW)
    slowed = {"PYTHONPATH": f"{folder / 'slow'}:{site.environment()['PYTHONPATH']}"} if slow else {}
    if not leases:
        Store.create(runs.store)
        (runs.store / "leases").write_text("in the way")
    at_once(site, runs.commands(), slowed)
    at_once(site, (runs.extraction(), runs.extraction()), slowed)
    store, clean = Store.open(runs.store), Store.open(reference.ingested.with_name("clean"))
    for table in tables_of(store):
        assert_unique(store, table)
    for table in _BY_CONTENT:
        assert rows_by_content(store, table) == rows_by_content(clean, table), table
    assert_each_source_has_an_outcome(store, clean, runs)
    assert verify_store(store).findings == ()


def rows_by_content(store: Store, table: str) -> Counter[str]:
    """Rows, whatever batch they came into."""
    rows = read_table(store, table).to_pylist()
    return Counter(repr({name: value for name, value in row.items() if name not in _OF_THE_BATCH}) for row in rows)


def assert_each_source_has_an_outcome(store: Store, clean: Store, runs: Runs) -> None:
    """Each file was planned once; of equal ones one is `done`, whichever came first."""
    videos = [*runs.site.clips.glob("*.mp4"), *runs.copies.glob("*.mp4")]
    results = read_table(store, "source_results").to_pylist()
    assert sorted(row["uri"] for row in results) == sorted(map(str, videos))
    done = Counter(row["media_id"] for row in results if row["status"] == "done")
    assert done == Counter(read_table(clean, "media", columns=["media_id"])["media_id"].to_pylist())
    assert set(done) == set(read_table(store, "media", columns=["media_id"])["media_id"].to_pylist())
    torn = [row for row in results if row["status"] == "failed"]
    letters = [row for row in read_table(store, "failures").to_pylist() if row["stage"] == "ingest"]
    assert sorted(row["uri"] for row in torn) == sorted(row["uri"] for row in letters)
