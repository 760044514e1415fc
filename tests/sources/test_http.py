"""Web servers as sources: what comes is whole or an error that names the URL, whatever the server does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from features.errors import ConfigError, FetchError, LimitExceeded, MediaError
from features.sources.addresses import PrivateAddressError, is_public, pool_manager
from features.sources.http import AUTHORIZATION
from features.sources.remote import look
from features.sources.scratch import PREFIX, scratch_folder, sweep_scratch
from features.sources.spool import Fetching, local_copy
from features.sources.urls import check_url, name_of
from features.store.plan import Source
from pipelines.sources import list_sources
from tests.sources.server import Site, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = os.urandom(700_000)


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(Site({"/a.mp4": CONTENT, "/empty.mp4": b""})) as served:
        yield served


def _source(url: str) -> Source:
    seen = look(url, allow_private=True)
    return Source(url, seen.size_bytes, seen.mtime_us, etag=seen.tag or None)


def _copy(source: Source, scratch: Path, most_bytes: int = 1 << 30) -> bytes:
    with local_copy(source, Fetching(most_bytes, True, str(scratch))) as local:
        found = Path(local.uri).read_bytes()
    assert not list(scratch.glob("*"))
    return found


def test_a_copy_has_the_bytes_and_is_gone_afterwards(site: Site, tmp_path: Path) -> None:
    source = _source(f"{site.url}/a.mp4")
    assert source[1:3] == (len(CONTENT), 1_600_000_000_000_000)
    assert _copy(source, tmp_path) == CONTENT
    assert _copy(_source(f"{site.url}/empty.mp4"), tmp_path) == b""


def test_a_copy_is_gone_when_its_use_fails(site: Site, tmp_path: Path) -> None:
    fetching = Fetching(1 << 30, True, str(tmp_path))
    with pytest.raises(ZeroDivisionError), local_copy(_source(f"{site.url}/a.mp4"), fetching):
        raise ZeroDivisionError
    assert not list(tmp_path.glob("*"))


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("tagged", [True, False])
def test_what_was_cut_off_goes_on_where_it_stopped(site: Site, tmp_path: Path, ranges: bool, tagged: bool) -> None:
    site.tagged = tagged
    site.cut["/a.mp4"] = [300_000, 200_001]
    source = _source(f"{site.url}/a.mp4")
    site.ranges = ranges
    assert _copy(source, tmp_path) == CONTENT
    if ranges:
        wanted = [seen[1] for seen in site.seen]
        assert [one for one in wanted if one != "bytes=0-0"] == ["bytes=0-", "bytes=300000-", "bytes=500001-"]


def test_fewer_bytes_than_stated_are_an_error(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.sources.spool._FIRST_WAIT_SECONDS", 0)
    site.stated["/a.mp4"] = len(CONTENT) + 5
    with pytest.raises(FetchError, match=r"a\.mp4.*700000 of 700005 bytes|a\.mp4.*changed"):
        _copy(_source(f"{site.url}/a.mp4"), tmp_path)


def test_more_bytes_than_stated_are_an_error(site: Site, tmp_path: Path) -> None:
    source = _source(f"{site.url}/a.mp4")
    site.files["/a.mp4"] = CONTENT + b"more"
    with pytest.raises(MediaError, match=r"a\.mp4.*changed"):
        _copy(source, tmp_path)


@pytest.mark.parametrize(("status", "words"), [(404, "check the URL"), (403, AUTHORIZATION), (500, "run again later")])
def test_a_refusal_names_url_and_remedy(site: Site, monkeypatch: pytest.MonkeyPatch, status: int, words: str) -> None:
    monkeypatch.setattr("features.sources.http._FIRST_WAIT_SECONDS", 0)
    site.statuses["/no.mp4"] = status
    with pytest.raises(FetchError, match=rf"no\.mp4.*HTTP {status}.*{words}"):
        look(f"{site.url}/no.mp4", allow_private=True)


def test_a_changed_file_is_refused(site: Site, tmp_path: Path) -> None:
    source = _source(f"{site.url}/a.mp4")
    site.tag = '"other"'
    with pytest.raises(MediaError, match="changed since it was planned"):
        _copy(source, tmp_path)


def test_more_than_the_scratch_may_take_is_refused(site: Site, tmp_path: Path) -> None:
    with pytest.raises(LimitExceeded, match=r"a\.mp4.*--scratch-megabytes"):
        _copy(_source(f"{site.url}/a.mp4"), tmp_path, most_bytes=1000)


def test_private_addresses_are_refused_named_or_redirected_to(site: Site) -> None:
    with pytest.raises(PrivateAddressError, match=r"127\.0\.0\.1.*--allow-private-addresses"):
        look(f"{site.url}/a.mp4")
    assert site.seen == []
    with pytest.raises(ConfigError, match="--allow-private-addresses"):
        next(list_sources([f"{site.url}/a.mp4"]))


def test_redirects_are_followed_a_few_times(site: Site, tmp_path: Path) -> None:
    site.redirects |= {"/r.mp4": "/a.mp4", "/loop.mp4": "/loop.mp4"}
    assert _copy(_source(f"{site.url}/r.mp4"), tmp_path) == CONTENT
    with pytest.raises(FetchError, match=r"loop\.mp4.*redirects"):
        look(f"{site.url}/loop.mp4", allow_private=True)


def test_credentials_go_to_their_host_only(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(Site({"/b.mp4": b"b"})) as other:
        site.redirects["/r.mp4"] = f"{other.url}/b.mp4"
        monkeypatch.setenv(AUTHORIZATION, f"{site.url.partition('://')[2]} Bearer secret")
        look(f"{site.url}/r.mp4", allow_private=True)
        look(f"{other.url}/b.mp4", allow_private=True)
        assert [seen[2] for seen in site.seen] == ["Bearer secret"]
        assert [seen[2] for seen in other.seen] == [None, None]


@pytest.mark.parametrize(
    "url",
    [
        "https://me:secret@host/a.mp4",
        "https://h/a.mp4?X-Amz-Signature=secret",
        "ftp://host/secret",
        "s3://k:secret@b/a",
    ],
)
def test_urls_with_credentials_are_refused_and_not_echoed(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_url(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        *((private, False) for private in ("127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "0.0.0.0")),
        *((private, False) for private in ("::1", "fe80::1%eth0", "fc00::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1")),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_names_of_copies_are_names() -> None:
    assert name_of("https://h/x/a%2Fb%00.en.srt?q=1") == "a_b_.en.srt"
    assert name_of("s3://b/..") == name_of("https://h/") == "source"
    assert len(name_of("s3://b/" + "ä" * 500 + ".mp4").encode()) <= 200


def test_a_dead_process_scratch_is_swept(tmp_path: Path) -> None:
    (tmp_path / f"{PREFIX}dead").mkdir()
    (tmp_path / f"{PREFIX}dead" / ".lock").touch()
    (tmp_path / f"{PREFIX}new").mkdir()
    with scratch_folder(str(tmp_path)) as mine:
        assert sweep_scratch(tmp_path) == 0
        assert {path.name for path in tmp_path.iterdir()} == {mine.name, f"{PREFIX}new"}


def test_subtitles_named_with_a_video_are_its_sidecars(site: Site) -> None:
    site.files["/a.en.srt"] = b"1"
    site.dated = False
    (source,) = list_sources([f"{site.url}/a.mp4", f"{site.url}/a.en.srt"], allow_private=True)
    assert source.sidecars == (f"{site.url}/a.en.srt",)
    assert source.mtime_us == 0
    assert source.etag


def test_a_server_that_goes_silent_is_given_up(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.sources.addresses._STALL_SECONDS", 0.1)
    monkeypatch.setattr("features.sources.spool._FIRST_WAIT_SECONDS", 0)
    pool_manager.cache_clear()
    site.silent_after["/a.mp4"] = 1000
    with pytest.raises(FetchError, match=r"a\.mp4.*timed out.*of 700000 bytes"):
        _copy(_source(f"{site.url}/a.mp4"), tmp_path)
    pool_manager.cache_clear()


def test_a_url_that_cannot_be_listed_costs_itself(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    sources = list_sources([f"{site.url}/gone.mp4", f"{site.url}/a.mp4"], allow_private=True)
    assert [source.uri for source in sources] == [f"{site.url}/a.mp4"]
    assert "gone.mp4" in caplog.text
