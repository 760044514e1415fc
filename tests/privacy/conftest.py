"""A store that the real jobs filled: twelve clips and a copy of one, a model that learned from them, a report."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from features.store import Store
from features.store.labels import load_labels
from features.store.models import ModelRef
from flows import stages
from flows.report.collect import collect
from flows.report.render import write_report
from flows.training import train_recipe
from pipelines import score
from pipelines.options import ScoreConfig
from pipelines.runners import pipeline_options
from tests.pipelines.clips import make_clip
from tests.pipelines.running import config, extract_here, ingest_here

if TYPE_CHECKING:
    from pathlib import Path

NUM_CLIPS = 12
RECIPE = """
name = "moods"
labels = "mood"
segmentation = "labels:mood"
score_segmentation = "whole"

[task]
name = "mood"
classes = ["low", "high"]

[[features]]
name = "mfcc@1"
modality = "audio"

[encoders.audio]
kind = "linear"
size = 4

[fusion]
kind = "concat"

[training]
epochs = 2
seeds = [0]
"""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `videos` and `store`; not to be written to."""
    folder = tmp_path_factory.mktemp("made")
    videos = folder / "videos"
    videos.mkdir()
    for number in range(NUM_CLIPS):
        make_clip(videos / f"person_{number:02}.mp4", grey=20 * number, hertz=200 + 50 * number)
    shutil.copyfile(videos / "person_03.mp4", videos / "zz_copy.mp4")
    lines = [f"person_{number:02}.mp4,{('low', 'high')[number % 2]}" for number in range(NUM_CLIPS)]
    (videos / "labels.csv").write_text("\n".join(["uri,class", *lines]) + "\n")
    (folder / "moods.toml").write_text(RECIPE)
    store, _ = ingest_here(folder / "store", config([videos], batch_sources=5))
    extract_here(store, "mfcc")
    load_labels(store, "mood", videos / "labels.csv", run_id="labels")
    train_recipe(store, str(folder / "moods.toml"), "train")
    for wave in stages.plan_score(ScoreConfig(runner="in-process"), store, ModelRef("moods", 1), "score"):
        score.run(ScoreConfig(runner="in-process"), wave, pipeline_options(ScoreConfig(runner="in-process")))
    write_report(collect(store), store.path / "report.html")
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Store:
    """A copy of the store, to be written to."""
    shutil.copytree(made / "store", tmp_path / "store")
    return Store.open(tmp_path / "store")


@pytest.fixture
def videos(made: Path) -> Path:
    return made / "videos"
