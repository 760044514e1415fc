"""A small batch from a bucket over a bad line: each request fails once, and from each on the server is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest

from features.errors import ConfigError
from features.store import Store
from pipelines.options import RetryConfig
from tests.pipelines.retrying import again
from tests.pipelines.running import config, ingest_here, rows_of
from tests.store.s3_proxy import Fault, Proxy

if TYPE_CHECKING:
    from pathlib import Path

    Rows = dict[str, list[dict[str, Any]]]

SOURCE = "s3://bucket/one/"
FAULTS: tuple[Fault, ...] = get_args(Fault)


@pytest.fixture
def proxy(s3: Any, s3_server: str, archive: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Before a bucket with a clip and its subtitles; waits between tries are short."""
    import s3fs

    monkeypatch.setattr("features.sources.spool._FIRST_WAIT_SECONDS", 0)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 2)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name in ("a.mp4", "a.en.srt"):
        s3.put(str(archive / name), f"bucket/one/{name}")
    with Proxy(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        s3fs.S3FileSystem.clear_instance_cache()
        yield proxy


def night(root: Path) -> Rows | str:
    """What a night leaves, or what it said where it could not even list."""
    try:
        store, _ = ingest_here(root, config([SOURCE]))
    except ConfigError as error:
        return str(error)
    return rows_of(store)


def check(found: Rows | str, truth: Rows, root: Path) -> str:
    """The right rows, or a failure that names the source; then the next night, or `retry`, brings the right rows."""
    if isinstance(found, str):
        assert SOURCE in found
        assert "run again" in found
        assert night(root) == truth
        return "not listed"
    if found == truth:
        return "done"
    (letter,) = found["failures"]
    assert letter["uri"] == f"{SOURCE}a.mp4"
    assert "run again" in letter["message"]
    again(Store.open(str(root)), RetryConfig(runner="in-process"))
    assert rows_of(Store.open(str(root)))["frames"] == truth["frames"]
    return "dead letter"


@pytest.mark.slow
def test_each_request_fails_in_turn(proxy: Proxy, tmp_path: Path) -> None:
    truth = night(tmp_path / "truth")
    assert not isinstance(truth, str)
    assert truth["transcripts"]
    for number in range(len(proxy.requests)):
        proxy.requests.clear()
        proxy.fault, proxy.is_faulty = FAULTS[number % len(FAULTS)], lambda place, number=number: place == number
        found = night(tmp_path / str(number))
        proxy.is_faulty = lambda _: False
        check(found, truth, tmp_path / str(number))


@pytest.mark.slow
def test_the_server_is_gone_from_each_request_on(proxy: Proxy, tmp_path: Path) -> None:
    truth, told = night(tmp_path / "truth"), []
    assert not isinstance(truth, str)
    for number in range(len(proxy.requests)):
        proxy.requests.clear()
        proxy.fault, proxy.is_faulty = ("error", "refuse")[number % 2], lambda place, number=number: place >= number
        found = night(tmp_path / str(number))
        proxy.is_faulty = lambda _: False
        told.append(check(found, truth, tmp_path / str(number)))
    assert told[0] == "not listed"
    assert set(told) == {"not listed", "dead letter"}
