"""Copies one ahead: the next is made meanwhile, within the room there is, and what fails costs itself."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from features.errors import FetchError, LimitExceeded
from features.sources.ahead import CopiesAhead
from features.sources.remote import look
from features.sources.spool import Fetching
from features.store.plan import Source
from tests.sources.server import Site, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES = ("/a.mp4", "/b.mp4", "/c.mp4")


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(Site({name: os.urandom(400_000) for name in NAMES})) as served:
        yield served


def sources_of(site: Site) -> list[Source]:
    looks = [(f"{site.url}{name}", look(f"{site.url}{name}", allow_private=True)) for name in NAMES]
    return [Source(url, seen.size_bytes, seen.mtime_us, etag=seen.tag or None) for url, seen in looks]


def copies(sources: list[Source], scratch: Path, most_bytes: int = 1 << 30) -> CopiesAhead:
    return CopiesAhead(sources, Fetching(most_bytes, True, str(scratch)))


def becomes(is_so: Callable[[], bool]) -> bool:
    until = time.monotonic() + 20
    while not is_so() and time.monotonic() < until:
        time.sleep(0.01)
    return is_so()


def num_files(scratch: Path) -> int:
    return len(list(scratch.rglob("*.mp4")))


def test_the_next_is_copied_while_one_is_open(site: Site, tmp_path: Path) -> None:
    sources, found = sources_of(site), []
    with copies(sources, tmp_path) as ahead:
        for source, opened in ahead:
            with opened as local:
                expected = 1 if source is sources[-1] else 2
                assert becomes(lambda: num_files(tmp_path) == expected)  # noqa: B023 - called at once
                found.append(Path(local.uri).read_bytes())
            assert not Path(local.uri).exists()
    assert found == [site.files[name] for name in NAMES]
    assert not list(tmp_path.glob("*"))


def test_two_together_take_no_more_than_they_may(site: Site, tmp_path: Path) -> None:
    with copies(sources_of(site), tmp_path, most_bytes=700_000) as ahead:
        for _, opened in ahead:
            with opened:
                time.sleep(0.05)
                assert num_files(tmp_path) == 1


def test_what_had_no_room_beside_another_is_copied_alone(site: Site, tmp_path: Path) -> None:
    """The size that is planned is not all: text files lie beside it."""
    sources = sources_of(site)
    for name in ("/b.srt", "/b.en.srt"):
        site.files[name] = b"x" * 150_000
    sources[1] = sources[1]._replace(sidecars=(f"{site.url}/b.srt", f"{site.url}/b.en.srt"))
    with copies(sources, tmp_path, most_bytes=1_000_000) as ahead:
        for source, opened in ahead:
            with opened as local:
                assert all(Path(path).stat().st_size == 150_000 for path in local.sidecars)
                assert len(local.sidecars) == len(source.sidecars)


def test_one_that_cannot_be_copied_costs_itself(site: Site, tmp_path: Path) -> None:
    sources = sources_of(site)
    site.statuses["/b.mp4"] = 404
    told = []
    with copies(sources, tmp_path) as ahead:
        for source, opened in ahead:
            try:
                with opened as local:
                    told.append(Path(local.uri).stat().st_size == source.size_bytes)
            except FetchError as error:
                told.append("b.mp4" in str(error))
    assert told == [True, True, True]
    assert not list(tmp_path.glob("*"))


def test_one_that_is_too_large_says_so(site: Site, tmp_path: Path) -> None:
    with copies(sources_of(site), tmp_path, most_bytes=1000) as ahead:
        for _, opened in ahead:
            with pytest.raises(LimitExceeded, match="--scratch-megabytes"), opened:
                pass


def test_what_nobody_wants_any_more_is_given_up(site: Site, tmp_path: Path) -> None:
    with copies(sources_of(site), tmp_path) as ahead:
        _, opened = next(iter(ahead))
        with opened:
            assert becomes(lambda: num_files(tmp_path) == 2)
    assert not list(tmp_path.glob("*"))


def test_local_sources_are_themselves(tmp_path: Path) -> None:
    source = Source(str(tmp_path / "a.mp4"), 1, 1)
    with copies([source, source], tmp_path) as ahead:
        for given, opened in ahead:
            with opened as local:
                assert local is given
