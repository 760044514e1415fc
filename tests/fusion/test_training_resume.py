"""`triptych train`, killed and run again, ends with the weights that it would have had; so it does in two processes."""

from __future__ import annotations

import io
import json
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import psutil
import pytest
from safetensors.torch import load_file

from features.fusion.resume import load_state, previous_of
from features.spec import FeatureSpec
from features.store import Store
from flows.cli import main
from tests.pipelines.running import wait_for
from tests.store.making import SECOND, media, put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NUM_MEDIA, NUM_EPOCHS = 60, 60
SPECS = (
    FeatureSpec("looks", 1, "video", "frames", shape=(40,)),
    FeatureSpec("sounds", 1, "audio", "audio", shape=(30,)),
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
size = 64
dropout = DROPOUT

[encoders.audio]
size = 64
dropout = DROPOUT

[augmentation]
noise = DROPOUT

[training]
epochs = EPOCHS
batch_size = 7
schedule = "cosine"
warmup_epochs = 3
clip_norm = 1.0
patience = 1000
modality_dropout = DROPOUT
seeds = [0, 1]
"""


class Site(NamedTuple):
    """A store to be copied, and recipes: `long` with much that is drawn, `plain` without."""

    store: Path
    long: Path
    plain: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    store, random = Store.create(folder / "store"), np.random.default_rng(0)
    ids = [f"m{number:02}" for number in range(NUM_MEDIA)]
    classes = {name: "high" if number % 2 else "low" for number, name in enumerate(ids)}
    spans = {"start_us": 0, "end_us": 10 * SECOND}
    for spec in SPECS:
        store.ensure(spec.table, spec)
        direction = random.normal(size=spec.shape)
        values = {n: random.normal(size=spec.shape) + direction * (0.3 if classes[n] == "high" else 0) for n in ids}
        put(store, spec.table, "b1", [{"media_id": n, **spans, "values": values[n].tolist()} for n in ids])
        put(store, spec.coverage_table, "b1", [{"media_id": n, "status": "ok", "num_rows": 1} for n in ids])
    put(store, "media", "b1", [media(n, has_video=True) for n in ids])
    labels = folder / "labels.csv"
    labels.write_text("\n".join(["media,class", *(f"{name},{held}" for name, held in classes.items())]) + "\n")
    assert _triptych(folder / "store", "label", "mood", labels).status == 0
    for name, dropout, epochs in (("long", "0.2", NUM_EPOCHS), ("plain", "0", 6)):
        (folder / f"{name}.toml").write_text(RECIPE.replace("DROPOUT", dropout).replace("EPOCHS", str(epochs)))
    return Site(folder / "store", folder / "long.toml", folder / "plain.toml")


class Outcome(NamedTuple):
    """How a command ended, and what it said last."""

    status: int
    out: str
    last_line: str


@pytest.fixture(scope="module")
def whole(site: Site, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The weights of a training that nothing interrupted."""
    return _trained(_copy(site.store, tmp_path_factory.mktemp("whole")), site.long)


@pytest.fixture(scope="module")
def killed(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which a training was killed while its second seed was trained."""
    store = _copy(site.store, tmp_path_factory.mktemp("killed"))
    with _started(store, "fused-1.safetensors", "train", site.long, "--ablate", "none") as run:
        run.kill()
    return store


@pytest.fixture
def store(site: Site, tmp_path: Path) -> Path:
    return _copy(site.store, tmp_path)


@pytest.fixture
def left(killed: Path, tmp_path: Path) -> Path:
    return _copy(killed, tmp_path)


def _copy(store: Path, folder: Path) -> Path:
    return Path(shutil.copytree(store, folder / "store"))


@contextmanager
def _started(store: Path, file: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    """A run in a process of its own that has written this file among its checkpoints."""
    run = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "--store", store, *map(str, words)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: [*store.glob(f"models/moods/.training-*/{file}")] or run.poll() is not None, seconds=300)
        assert run.poll() is None, run.communicate()
        yield run
    finally:
        run.kill()
        run.communicate()


def _triptych(store: Path, *words: object) -> Outcome:
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as said:
        status = main(["--store", str(store), *map(str, words)])
    return Outcome(status, out.getvalue(), said.getvalue().rstrip("\n").rpartition("\n")[2])


def _trained(store: Path, recipe: Path, *words: str) -> dict[str, Tensor]:
    """Weights of the model that a run registers; nothing else is left of it."""
    run = _triptych(store, "train", recipe, "--ablate", "none", "--json", *words)
    assert run.status == 0, run.last_line
    folder = Path(json.loads(run.out)["folder"])
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    return load_file(folder / "weights.safetensors")


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def _checkpoint(store: Path, seed: int) -> Path:
    return next(store.glob(f"models/moods/.training-*/fused-{seed}.safetensors"))


def _num_epochs(checkpoint: Path) -> int:
    return int(json.loads(load_state(checkpoint).meta)["num_epochs"])


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def test_a_killed_training_goes_on_to_the_same_weights(left: Path, whole: dict[str, Tensor], site: Site) -> None:
    """Also after it met a full disk, where the last good checkpoint stays."""
    path = _checkpoint(left, seed=1)
    num_epochs = _num_epochs(path)
    assert 0 < num_epochs < NUM_EPOCHS
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # of each file, as if the disk were full
    try:
        run = _triptych(left, "train", site.long, "--ablate", "none")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said = f"triptych: cannot write checkpoint {str(path)!r} (File too large); the last good one stays: free space"
    assert run.status == 3
    assert run.last_line.startswith(said)
    assert _num_epochs(path) == num_epochs
    assert _equal(_trained(left, site.long), whole)


def test_of_a_checkpoint_cut_short_the_one_before_it_is_used(left: Path, whole: dict[str, Tensor], site: Site) -> None:
    """The first seed's last epoch is damaged, its first is not: it is trained from there again."""
    path = _checkpoint(left, seed=0)
    assert _num_epochs(previous_of(path)) < _num_epochs(path) == NUM_EPOCHS
    _cut_short(path)
    assert _equal(_trained(left, site.long), whole)


def test_checkpoints_of_which_none_is_whole_are_named(left: Path, site: Site) -> None:
    path = _checkpoint(left, seed=0)
    for place in (path, previous_of(path)):
        _cut_short(place)
    run = _triptych(left, "train", site.long, "--ablate", "none")
    assert run.status == 3
    assert run.last_line.startswith(f"triptych: checkpoint {str(path)!r} is damaged (")
    assert f"; checkpoint {str(previous_of(path))!r} is damaged (" in run.last_line
    assert run.last_line.endswith("; delete it to train anew")


def test_two_processes_train_as_one(store: Path, site: Site, tmp_path: Path) -> None:
    alone = _trained(_copy(store, tmp_path / "alone"), site.plain)
    both = _trained(store, site.plain, "--processes", "2")
    assert both.keys() == alone.keys()
    for name, weights in alone.items():
        assert weights.allclose(both[name], rtol=0, atol=1e-5), name


def test_a_process_that_is_killed_ends_the_run(store: Path, site: Site) -> None:
    words = ("train", site.long, "--ablate", "none", "--processes", "2")
    with _started(store, "fused-0.safetensors", *words) as run:
        children = psutil.Process(run.pid).children(recursive=True)
        ranks = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        assert len(ranks) == 2
        ranks[1].kill()
        _, said = run.communicate(timeout=60)
    assert run.returncode == 3
    assert "triptych: training process 1 of 2 (from 0) was ended by SIGKILL; if memory is short" in said
    wait_for(lambda: not any(child.is_running() for child in children))
    assert _num_epochs(_checkpoint(store, seed=0)) > 0
