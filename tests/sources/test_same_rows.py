"""The same archive as files, over HTTP and on S3 gives equal rows; so does a night with faults and the one after it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from features.errors import ConfigError
from features.media.options import DecodeOptions
from features.planning.probes import probe_all
from features.sources.spool import Fetching
from features.store import Store
from pipelines.options import RetryConfig
from pipelines.sources import list_sources
from tests.pipelines.retrying import again
from tests.pipelines.running import config, ingest_here, rows_of
from tests.sources.server import Site, serve

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def _rows(store: Store, root: str) -> dict[str, list[dict[str, Any]]]:
    """Rows with places relative to the root of the archive; what a message says of them, too."""

    def told(value: Any) -> Any:
        return value.replace(root, "") if isinstance(value, str) else value

    return {
        table: [{name: told(value) for name, value in row.items()} for row in rows]
        for table, rows in rows_of(store).items()
    }


def _night(root: Path, sources: Iterable[str], **more: Any) -> Store:
    store, _ = ingest_here(root, config(sources, allow_private_addresses=True, **more))
    return store


@pytest.fixture
def local(archive: Path, tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    return _rows(_night(tmp_path / "local", [str(archive)]), f"{archive}/")


def _paths(archive: Path) -> list[str]:
    return sorted(os.path.relpath(path, archive) for path in archive.rglob("*.*"))


def _site(archive: Path) -> Site:
    return Site({f"/{path}": (archive / path).read_bytes() for path in _paths(archive)})


def test_files_http_and_s3_give_equal_rows(
    archive: Path, local: dict[str, list[dict[str, Any]]], s3: Any, tmp_path: Path
) -> None:
    with serve(_site(archive)) as site:
        store = _night(tmp_path / "http", [f"{site.url}/{path}" for path in _paths(archive)])
        assert _rows(store, f"{site.url}/") == local
    s3.put(str(archive), "bucket/archive", recursive=True)
    assert _rows(_night(tmp_path / "s3", ["s3://bucket/archive/"]), "s3://bucket/archive/") == local
    found = _night(tmp_path / "glob", ["s3://bucket/archive/**/*.mp4", "s3://bucket/archive/a.mp4"])
    assert _rows(found, "s3://bucket/archive/") == local
    assert {row["status"] for row in local["source_results"]} == {"done", "failed"}
    assert [row["text"] for row in local["transcripts"]] == ["Hello there"]
    assert not _planned_again(found, tmp_path)


def _planned_again(store: Store, tmp_path: Path) -> bool:
    del store
    _, summaries = ingest_here(tmp_path / "glob", config(["s3://bucket/archive/"]))
    return bool(summaries)


def _rows_or_none(root: Path, urls: list[str], site: str) -> dict[str, list[dict[str, Any]]] | None:
    """What a night leaves; None of one that could not even list."""
    try:
        return _rows(_night(root, urls), f"{site}/")
    except ConfigError as error:
        told = str(error)
    assert site in told
    assert "run again" in told
    return None


@pytest.mark.slow
def test_a_fault_at_any_request_leaves_the_right_tables_or_a_clear_failure(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.sources.http._FIRST_WAIT_SECONDS", 0)
    monkeypatch.setattr("features.sources.spool._FIRST_WAIT_SECONDS", 0)
    with serve(_site(archive)) as site:
        urls = [f"{site.url}/a.mp4", f"{site.url}/a.en.srt"]
        truth = _rows(_night(tmp_path / "truth", urls), f"{site.url}/")
        for number in range(1, len(site.seen) + 1):
            site.seen.clear()
            site.faults = frozenset(range(number, number + 3))  # all tries of one request
            root = tmp_path / str(number)
            found = _rows_or_none(root, urls, site.url)
            site.faults = frozenset()
            if found is None:
                assert _rows(_night(root, urls), f"{site.url}/") == truth
            elif found != truth:
                (letter,) = found["failures"]
                assert letter["uri"] == "a.mp4"
                assert "run again" in letter["message"]
                store = Store.open(str(root))
                again(store, RetryConfig(runner="in-process", allow_private_addresses=True))
                assert _rows(store, f"{site.url}/")["frames"] == truth["frames"]


def test_plan_looks_into_remote_sources_as_into_local_ones(archive: Path, tmp_path: Path) -> None:
    names = ["a.mp4", "in/b.mp4", "in/c.mp4"]
    options = DecodeOptions()
    (tmp_path / "scratch").mkdir()
    with serve(_site(archive)) as site:
        fetching = Fetching(1 << 30, True, str(tmp_path / "scratch"))
        far = list(list_sources([f"{site.url}/{name}" for name in names], allow_private=True))
        there = probe_all(far, options, fetching=fetching)
        refused = probe_all(far[:1], options)
    here = probe_all(list(list_sources([str(archive)])), options)
    told = [replace(one, uri=one.uri.replace(site.url, "")) for one in there]
    assert [replace(one, error=one.error.replace(site.url, "")) for one in told] == [
        replace(one, uri=one.uri.replace(str(archive), ""), error=one.error.replace(str(archive), "")) for one in here
    ]
    assert "--allow-private-addresses" in refused[0].error
    assert not list((tmp_path / "scratch").iterdir())


def test_a_manifest_names_files_here_and_elsewhere(archive: Path, tmp_path: Path) -> None:
    rows = [
        ("video,text,media_name", "", ""),
        ("{0}/a.mp4", "Hello", "one"),
        ("{0}/gone.mp4", "Gone", "two"),
    ]
    with serve(_site(archive)) as site:
        stores = []
        for place, root in enumerate((str(archive), site.url)):
            manifest = tmp_path / f"{place}.csv"
            manifest.write_text("\n".join(",".join(row).rstrip(",").format(root) for row in rows), encoding="utf-8")
            stores.append(_rows(_night(tmp_path / str(place), [str(manifest)]), f"{root}/"))
    assert stores[0] == stores[1]
    assert [row["text"] for row in stores[1]["transcripts"]] == ["Hello"]
    assert [row["uri"] for row in stores[1]["media"]] == ["a.mp4"]
