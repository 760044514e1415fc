"""Object stores as sources: what is found, and what is said of a bucket that does not answer as it should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from features.errors import ConfigError, FetchError, MediaError
from features.sources.listing import list_remote
from features.sources.objects import telling
from features.sources.remote import look
from features.sources.spool import Fetching, local_copy
from pipelines.sources import list_sources


def test_folders_are_searched_and_keys_are_kept_as_they_are(s3: Any) -> None:
    for key in ("v/b.MKV", "v/in/a%20b ü#?.mp4", "v/.hidden/c.mp4", "v/notes.pdf", "w/d.mp4", "v/b.en.srt", "v/in/"):
        s3.pipe(f"bucket/{key}", b"x")
    sources = list(list_sources(["s3://bucket/v"]))
    assert [source.uri for source in sources] == ["s3://bucket/v/b.MKV", "s3://bucket/v/in/a%20b ü#?.mp4"]
    assert sources[0].sidecars == ("s3://bucket/v/b.en.srt",)
    assert sources == list(list_sources(["s3://bucket/v/", "s3://bucket/v/b.MKV"]))
    assert all(source.size_bytes == 1 and source.mtime_us and source.etag for source in sources)
    with local_copy(sources[1]) as local:
        assert Path(local.uri).read_bytes() == b"x"


def test_refused_by_a_glob(s3: Any) -> None:
    s3.pipe("bucket/v/a.mp4", b"x")
    s3.pipe("bucket/w/a.mp4", b"x")
    sources = list_sources(["s3://bucket/"], refuse=["s3://bucket/v/*"])
    assert [source.consent for source in sources] == ["refused", "unstated"]


def test_large_objects_come_in_blocks(s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("features.sources.objects._BLOCK_BYTES", 1000)
    content = bytes(range(256)) * 20
    s3.pipe("bucket/a.mp4", content)
    (source,) = list_sources(["s3://bucket/a.mp4"])
    with local_copy(source, Fetching(scratch=str(tmp_path))) as local:
        assert Path(local.uri).read_bytes() == content
    s3.pipe("bucket/a.mp4", content[::-1])
    with pytest.raises(MediaError, match="changed since it was planned"), local_copy(source):
        pass


@pytest.mark.parametrize("url", ["s3://bucket/none.mp4", "s3://nobucket/a.mp4", "s3://bucket/none/*.mp4"])
def test_what_is_not_there_is_named(s3: Any, url: str) -> None:
    del s3
    with pytest.raises(ConfigError, match=url.replace("*", r"\*")):
        list_sources([url])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError("Access Denied"), "AWS_ACCESS_KEY_ID"),
        (RuntimeError("Unable to locate credentials"), "AWS_ACCESS_KEY_ID"),
        (PermissionError("RequestTimeTooSkewed: The difference between the request time"), "clock"),
        (OSError("Could not connect"), "AWS_ENDPOINT_URL"),
    ],
)
def test_remedies(error: Exception, words: str) -> None:
    with pytest.raises(FetchError, match=words), telling("s3://bucket/a.mp4"):
        raise error


def test_an_end_point_that_is_down(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(type(s3), "retries", 1)
    type(s3).clear_instance_cache()
    with pytest.raises(FetchError, match=r"s3://bucket/a\.mp4.*AWS_ENDPOINT_URL"):
        look("s3://bucket/a.mp4")


def test_subfolders_side_by_side_are_the_whole_folder(s3: Any) -> None:
    """Names of which one begins with another, in folders within folders, and beside them."""
    keys = {f"top/{name}" for name in ("a.mp4", "a/b.mp4", "a/b/c.mp4", "ab/d.mp4", "ab.mp4", "z/e f.mp4", "z/.f.mp4")}
    for key in [*sorted(keys), "topper/g.mp4"]:
        s3.pipe_file(f"bucket/{key}", b"x")
    wanted = sorted(f"s3://bucket/{key}" for key in keys if "/." not in key)
    assert [one.url for one in list_remote("s3://bucket/top/")] == wanted
    assert list_remote("s3://bucket/none/") == ()
