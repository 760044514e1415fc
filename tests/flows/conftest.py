"""A small store with features and sources, and the command line called in this process."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from features.spec import FeatureSpec
from features.store import Store
from flows.cli import main
from tests.store.making import SECOND, media, put, result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NUM_MEDIA = 12
SPECS = (
    FeatureSpec("looks", 1, "video", "frames", shape=(4,)),
    FeatureSpec("sounds", 1, "audio", "audio", shape=(3,)),
)
RECIPE = """
name = "moods"
labels = "mood"
segmentation = "labels:mood"
score_segmentation = "whole"

[task]
name = "mood"
classes = ["low", "high"]

[[features]]
name = "looks@1"
modality = "video"

[[features]]
name = "sounds@1"
modality = "audio"

[encoders.video]
kind = "linear"
size = 4

[encoders.audio]
kind = "linear"
size = 4

[fusion]
kind = "concat"

[training]
epochs = 2
seeds = [0]

[splits]
name = "default"
train = 0.6
dev = 0.2
test = 0.2
seed = 0
"""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def triptych(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """The command line, in this process."""

    def run(*argv: object) -> Outcome:
        capsys.readouterr()
        try:
            status = main([str(word) for word in argv])
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        told = capsys.readouterr()
        return Outcome(status, told.out, told.err)

    return run


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """A folder of sources; what is in them does not matter here."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for index in range(NUM_MEDIA):
        (folder / f"m{index:02}.mp4").write_bytes(b"x")
    return folder


@pytest.fixture
def store(tmp_path: Path, videos: Path) -> Store:
    """Twelve media in two batches, with two features that say nothing, and a dead letter."""
    store = Store.create(tmp_path / "store")
    random = np.random.default_rng(0)
    for spec in SPECS:
        store.ensure(spec.table, spec)
    for batch_id, numbers in (("b1", range(6)), ("b2", range(6, NUM_MEDIA))):
        ids = [f"m{number:02}" for number in numbers]
        put(store, "source_results", batch_id, [result(name, str(videos / f"{name}.mp4")) for name in ids])
        for spec in SPECS:
            spans = {"start_us": 0, "end_us": 10 * SECOND}
            rows = [{"media_id": name, **spans, "values": random.normal(size=spec.shape).tolist()} for name in ids]
            put(store, spec.table, batch_id, rows)
            put(store, spec.coverage_table, batch_id, [{"media_id": n, "status": "ok", "num_rows": 1} for n in ids])
        put(store, "media", batch_id, [media(n, uri=str(videos / f"{n}.mp4"), has_video=True) for n in ids])
    letter = {"stage": "ingest", "uri": "/v/torn.mp4", "error": "DecodeError", "failed_at": datetime.now(UTC)}
    put(store, "failures", "b1", [{**letter, "message": "torn"}])
    return store


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "moods.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def write_labels(videos: Path) -> Callable[..., Path]:
    """A label file: a class a media, in turn."""

    def write(*classes: str) -> Path:
        lines = [f"m{index:02}.mp4,{classes[index % len(classes)]}" for index in range(NUM_MEDIA)]
        path = videos / "labels.csv"
        path.write_text("\n".join(["uri,class", *lines]) + "\n")
        return path

    return write


def content_of(folder: Path) -> dict[str, str]:
    """Every file and folder below, by name, with what it holds."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }
