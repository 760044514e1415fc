"""Large remote files are looked into by parts: as a local one, or, where that does not come off, by a copy."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from features.errors import FetchError
from features.media.options import DecodeOptions
from features.planning.probes import probe_all
from features.sources.look import Look
from features.sources.ranged import BLOCK_BYTES, RemoteFile
from features.sources.remote import look
from features.sources.spool import Fetching
from features.store.plan import Source
from tests.sources.server import Site, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from features.planning.probing import Probed

NUM_BYTES = 24 << 20


@pytest.fixture
def large(archive: Path, tmp_path: Path) -> Path:
    """A clip that is large by what comes after its pictures."""
    path = tmp_path / "large.mp4"
    padding = NUM_BYTES.to_bytes(4, "big") + b"free" + bytes(NUM_BYTES - 8)
    path.write_bytes((archive / "a.mp4").read_bytes() + padding)
    return path


@pytest.fixture
def site(large: Path) -> Iterator[Site]:
    with serve(Site({"/large.mp4": large.read_bytes()})) as served:
        yield served


def probe(source: Source, scratch: Path) -> Probed:
    (probed,) = probe_all([source], DecodeOptions(), fetching=Fetching(1 << 30, True, str(scratch)))
    return replace(probed, uri="")


def source_of(url: str) -> Source:
    seen = look(url, allow_private=True)
    return Source(url, seen.size_bytes, seen.mtime_us, etag=seen.tag or None)


def test_it_is_seen_as_a_local_one_and_not_copied(large: Path, site: Site, tmp_path: Path) -> None:
    local = probe(Source(str(large), large.stat().st_size, 0), tmp_path / "none")
    assert local.duration_us
    assert local.picture_bytes
    assert probe(source_of(f"{site.url}/large.mp4"), tmp_path / "scratch") == local
    assert not (tmp_path / "scratch").exists()


def test_of_a_bucket_as_well(large: Path, s3: Any, tmp_path: Path) -> None:
    s3.put(str(large), "bucket/large.mp4")
    local = probe(Source(str(large), large.stat().st_size, 0), tmp_path / "none")
    assert probe(source_of("s3://bucket/large.mp4"), tmp_path / "scratch") == local
    assert not (tmp_path / "scratch").exists()


def test_where_there_are_no_ranges_it_is_copied(large: Path, site: Site, tmp_path: Path) -> None:
    source = source_of(f"{site.url}/large.mp4")
    site.ranges = False
    local = probe(Source(str(large), large.stat().st_size, 0), tmp_path / "none")
    assert probe(source, tmp_path / "scratch") == local
    assert (tmp_path / "scratch").exists()


def test_a_file_reads_and_seeks_as_any_other() -> None:
    content = os.urandom(3 * BLOCK_BYTES + 77)
    with serve(Site({"/a": content})) as site:
        seen = look(f"{site.url}/a", allow_private=True)
        with RemoteFile(f"{site.url}/a", seen, most_bytes=len(content), allow_private=True) as file:
            assert file.read() == content
            assert file.seek(-50, io.SEEK_END) == len(content) - 50
            assert file.read(1000) == content[-50:]
            assert (file.seek(5), file.seek(BLOCK_BYTES - 7, io.SEEK_CUR)) == (5, BLOCK_BYTES - 2)
            assert io.BufferedReader(file).read(4) == content[BLOCK_BYTES - 2 : BLOCK_BYTES + 2]
            assert file.num_fetched_bytes <= len(content) + BLOCK_BYTES
            file.seek(len(content) + 5)
            assert file.read(1) == b""


@pytest.mark.parametrize(
    ("seen", "most_bytes", "said"),
    [
        (Look(5 * BLOCK_BYTES, 0, ""), 3 * BLOCK_BYTES, "takes more than 3 MB; copy it"),
        (Look(5 * BLOCK_BYTES, 0, ""), 1 << 30, "from byte 4194304 on|broke off|changed"),
        (Look(4 * BLOCK_BYTES, 0, '"other"'), 1 << 30, "changed since it was planned"),
    ],
)
def test_what_cannot_be_had_is_told(seen: Look, most_bytes: int, said: str) -> None:
    with serve(Site({"/a": bytes(4 * BLOCK_BYTES)})) as site:
        file = RemoteFile(f"{site.url}/a", seen, most_bytes=most_bytes, allow_private=True)
        with pytest.raises(FetchError, match=said):
            file.read()
