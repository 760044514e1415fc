"""`triptych train`, killed and run again, ends with the weights that it would have had; so it does in two processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import psutil
import pytest
from safetensors.torch import load_file

from features.fusion.resume import load_state, previous_of
from features.spec import FeatureSpec
from features.store import Store
from tests.pipelines.running import wait_for
from tests.store.making import SECOND, media, put

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NUM_MEDIA = 60
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
    assert (run := _triptych(folder / "store", "label", "mood", labels)).returncode == 0, run.stderr
    for name, dropout, epochs in (("long", "0.2", "150"), ("plain", "0", "6")):
        (folder / f"{name}.toml").write_text(RECIPE.replace("DROPOUT", dropout).replace("EPOCHS", epochs))
    return Site(folder / "store", folder / "long.toml", folder / "plain.toml")


@pytest.fixture(scope="module")
def whole(site: Site, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The weights of a training that nothing interrupted."""
    store = Path(shutil.copytree(site.store, tmp_path_factory.mktemp("whole") / "store"))
    return _trained(store, site.long)


@pytest.fixture
def store(site: Site, tmp_path: Path) -> Path:
    return Path(shutil.copytree(site.store, tmp_path / "store"))


@pytest.fixture(scope="module")
def killed(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which a training was killed between two epochs of its second seed."""
    store = Path(shutil.copytree(site.store, tmp_path_factory.mktemp("killed") / "store"))
    run = _start(store, "train", site.long, "--ablate", "none")
    wait_for(lambda: list(store.glob("models/moods/.training-*/fused-1.safetensors.previous")), seconds=300)
    run.kill()
    run.communicate()
    return store


@pytest.fixture
def left(killed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(killed, tmp_path / "left"))


def _start(store: Path, *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "--store", store, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _triptych(store: Path, *words: object) -> subprocess.CompletedProcess[str]:
    run = _start(store, *words)
    out, err = run.communicate(timeout=500)
    return subprocess.CompletedProcess(run.args, run.returncode, out, err)


def _trained(store: Path, recipe: Path, *words: str) -> dict[str, Tensor]:
    """Weights of the model that a run registers; nothing else is left of it."""
    run = _triptych(store, "train", recipe, "--ablate", "none", "--json", *words)
    assert run.returncode == 0, run.stderr
    folder = Path(json.loads(run.stdout)["folder"])
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    return load_file(folder / "weights.safetensors")


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


def _checkpoint(store: Path) -> Path:
    return next(store.glob("models/moods/.training-*/fused-1.safetensors"))


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("harm", [lambda _: None, _cut_short], ids=["killed", "killed, newest checkpoint cut short"])
def test_a_killed_training_goes_on_to_the_same_weights(
    harm: Callable[[Path], None], left: Path, whole: dict[str, Tensor], site: Site
) -> None:
    num_epochs = json.loads(load_state(previous_of(_checkpoint(left))).meta)["num_epochs"]
    assert 0 < num_epochs < 150
    harm(_checkpoint(left))
    assert _equal(_trained(left, site.long), whole)


def test_both_checkpoints_cut_short_are_named(left: Path, site: Site) -> None:
    path = _checkpoint(left)
    _cut_short(path)
    _cut_short(previous_of(path))
    run = _triptych(left, "train", site.long, "--ablate", "none")
    assert run.returncode == 3
    assert re.fullmatch(rf"triptych: checkpoint '{path}' is damaged .*; delete it to train anew\n", run.stderr)
    assert str(previous_of(path)) in run.stderr


def test_on_a_full_disk_the_last_good_checkpoint_stays(left: Path, whole: dict[str, Tensor], site: Site) -> None:
    run = _start(left, "train", site.long, "--ablate", "none")
    before = load_state(_checkpoint(left))
    psutil.Process(run.pid).rlimit(psutil.RLIMIT_FSIZE, (4096, 4096))  # the files that it may write
    _, said = run.communicate(timeout=300)
    assert run.returncode == 3, said
    path = _checkpoint(left)
    assert said.startswith(f"triptych: cannot write checkpoint {str(path)!r} (File too large); the last good one stays")
    assert said.count("\n") == 1
    assert load_state(path).meta == before.meta
    assert _equal(_trained(left, site.long), whole)


def test_two_processes_train_as_one(store: Path, site: Site, tmp_path: Path) -> None:
    alone = _trained(Path(shutil.copytree(store, tmp_path / "alone")), site.plain)
    both = _trained(store, site.plain, "--processes", "2")
    assert both.keys() == alone.keys()
    for name, weights in alone.items():
        assert weights.allclose(both[name], rtol=0, atol=1e-5), name


def test_a_process_that_is_killed_ends_the_run_which_then_goes_on(store: Path, site: Site) -> None:
    run = _start(store, "train", site.long, "--ablate", "none", "--processes", "2")
    wait_for(lambda: list(store.glob("models/moods/.training-*/fused-0.safetensors.previous")), seconds=300)
    ranks = [child for child in psutil.Process(run.pid).children() if "spawn_main" in " ".join(child.cmdline())]
    assert len(ranks) == 2
    ranks[1].kill()
    _, said = run.communicate(timeout=60)
    assert run.returncode == 3
    assert re.match(r"triptych: training process . of 2 \(from 0\) was ended by SIGKILL; .* train again\n$", said), said
    _trained(store, site.long)
