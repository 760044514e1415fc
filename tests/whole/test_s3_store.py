"""The real commands on a store in a bucket: they say and leave what they do on a disk, and do nothing twice."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pyarrow.dataset as ds
import pytest

from features.schema import BATCH_ID
from features.store import Store, read_table
from features.store.models import list_models, model_folder
from features.store.storage import is_url, place_of
from tests.whole.places import bucket
from tests.whole.rivals import rows_by_content
from tests.whole.site import MODEL, assert_alike, content_of, make_site, orphans, tables_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.whole.site import Site

pytestmark = pytest.mark.slow

RUN = ("--runner", "in-process", "--workers", "1")
CONSENT = '[[rules]]\nsource = "*/clip_001.mp4"\nrefuse = ["training", "publish"]\n'
EXTRACTOR = "sizes"
_MASKED = re.compile(r"\d{8}T\d{6}-[0-9a-f]+|\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?|[\d.]+ (s|B|kB|MB)\b|-{2,}")
"""Names of batches, times, durations, sizes, and lines as wide as their columns."""


@pytest.fixture(scope="module")
def archive() -> Iterator[str]:
    with bucket() as root:
        yield root


def stages(site: Site) -> list[tuple[str | Path, ...]]:
    """What a nightly run does, command by command."""
    return [
        ("ingest", site.clips, *RUN),
        ("extract", EXTRACTOR, *RUN),
        ("label", "mood", site.folder / "labels.csv"),
        ("train", site.folder / "moods.toml"),
        ("score", MODEL, *RUN),
        ("report",),
    ]


def upkeep(out: Path) -> list[tuple[str | Path, ...]]:
    return [
        ("models",),
        ("consent", "--apply"),
        ("export", f"features/{EXTRACTOR}@1", "--out", out),
        ("forget", "--media", "clip_002.mp4", "--yes"),
        ("failures",),
        ("status",),
        ("maintain", "--retention-hours", "0", "--yes"),
        ("verify",),
    ]


def night(site: Site, home: Path) -> tuple[list[str | Path], dict[str, str]]:
    """All stages at once, and an environment in which Prefect keeps to itself."""
    given = ("--recipe", site.folder / "moods.toml", "--labels", site.folder / "labels.csv", "--extractors", EXTRACTOR)
    environment = {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    return ["nightly", site.clips, *given, *RUN], environment


def look_after(site: Site, root: str, folder: Path) -> list[str]:
    """What each command says, in turn, without what differs between any two runs."""
    (place_of(root) / "consent.toml").write_text(CONSENT, encoding="utf-8")
    said = []
    for command in upkeep(folder / "out"):
        told = site.run(root, *command).replace(root, "STORE").replace(str(folder), "FOLDER")
        said.append(" ".join(_MASKED.sub("_", told).split()))
    return said


def on_disk(site: Site, folder: Path) -> list[str]:
    for command in stages(site):
        site.run(folder / "store", *command)
    return look_after(site, str(folder / "store"), folder)


def in_bucket(site: Site, root: str, folder: Path) -> list[str]:
    folder.mkdir()
    command, environment = night(site, folder / "prefect")
    assert "done in " in site.run(root, *command, **environment)
    assert (place_of(root) / "report.html").is_file()
    return look_after(site, root, folder)


def test_a_bucket_and_a_disk_end_with_the_same_rows(archive: str, tmp_path: Path) -> None:
    """A night in the bucket, its stages one by one on the disk; then all else that is done to a store."""
    site, folders, root = make_site(tmp_path / "site", 9), (tmp_path / "disk", tmp_path / "bucket"), f"{archive}/store"
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.submit(on_disk, site, folders[0]), pool.submit(in_bucket, site, root, folders[1])
    assert other.result() == one.result()
    disk, store = Store.open(folders[0] / "store"), Store.open(root)
    assert_same_stores(disk, store)
    exported = [ds.dataset(folder / "out" / "data").to_table().drop_columns([BATCH_ID]) for folder in folders]
    assert exported[0].num_rows > 0
    assert exported[0].equals(exported[1])
    before = {table: store.load(table).version() for table in store.tables()}
    for command in stages(site):
        if command[0] not in ("train", "report", "label"):
            site.run(root, *command)
    assert {table: store.load(table).version() for table in store.tables()} == before


def assert_same_stores(disk: Store, store: Store) -> None:
    assert is_url(store.root)
    assert store.tables() == disk.tables()
    assert_alike(store, content_of(disk, tables_of(disk)))
    for table in ("labels/mood", "splits/default"):
        assert rows_by_content(store, table) == rows_by_content(disk, table)
    assert read_table(store, "tombstones").num_rows == read_table(disk, "tombstones").num_rows > 0
    assert list_models(store) == list_models(disk)
    for ref in list_models(store):
        one, other = (model_folder(each, ref) / "weights.safetensors" for each in (disk, store))
        assert one.read_bytes() == other.read_bytes()
    assert orphans(store) == []
