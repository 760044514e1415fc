"""A local S3 server, and an archive of a few clips."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.pipelines.clips import make_clip

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The end point of moto's server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """fsspec's file system over an empty bucket `bucket`, as the environment gives it."""
    import s3fs

    for name, value in _ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem(use_listings_cache=False)
    if system.exists("bucket"):
        system.rm("bucket", recursive=True)
    system.mkdir("bucket")
    yield system
    s3fs.S3FileSystem.clear_instance_cache()


_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips in two folders, one with subtitles beside it, and one that is cut short."""
    folder = tmp_path_factory.mktemp("archive")
    (folder / "in").mkdir()
    make_clip(folder / "a.mp4", grey=40, hertz=300)
    make_clip(folder / "in" / "b.mp4", grey=90, hertz=None)
    make_clip(folder / "in" / "c.mp4", grey=140, hertz=500, seconds=1)
    (folder / "in" / "c.mp4").write_bytes((folder / "in" / "c.mp4").read_bytes()[:2000])
    (folder / "a.en.srt").write_text("1\n00:00:00,500 --> 00:00:01,000\nHello there\n", encoding="utf-8")
    for place, path in enumerate(sorted(folder.rglob("*.*"))):
        os.utime(path, (1_600_000_000 + place, 1_600_000_000))
    return folder
