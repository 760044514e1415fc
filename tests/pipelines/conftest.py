"""The clips, and a store that one clean run of ingest left."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from features.store import Store
from tests.pipelines.clips import Clips, make_clips
from tests.pipelines.running import config, ingest_here

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return make_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory, clips: Clips) -> Store:
    """One clean run in this process, three batches of two; not to be written to."""
    store, _ = ingest_here(tmp_path_factory.mktemp("clean") / "store", config([clips.folder], batch_sources=2))
    return store


@pytest.fixture
def ingested(clean: Store, tmp_path: Path) -> Store:
    """A copy of the clean store, to be written to."""
    shutil.copytree(clean.path, tmp_path / "store")
    return Store.open(tmp_path / "store")


@pytest.fixture
def copied(clips: Clips, tmp_path: Path) -> Callable[..., Clips]:
    """Copies of some clips (all by default) in a folder of the test's own."""

    def copy(*names: str) -> Clips:
        folder = tmp_path / "videos"
        folder.mkdir(exist_ok=True)
        chosen = names or clips.names
        for path in sorted(clips.folder.iterdir()):
            if path.name in chosen or path.with_suffix(".mp4").name in chosen:
                shutil.copy2(path, folder / path.name)
        return Clips(folder, tuple(chosen))

    return copy
