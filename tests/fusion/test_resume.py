from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from features.errors import ModelError
from features.fusion.configs import TrainingConfig
from features.fusion.optim import build_optimiser
from features.fusion.resume import (
    TrainingState,
    forget_state,
    load_newest,
    load_state,
    load_training,
    previous_of,
    save_state,
    save_training,
)
from features.fusion.state_tensors import (
    joined,
    optimiser_tensors,
    part_of,
    random_tensors,
    restore_optimiser,
    restore_random,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


def _tensors(value: float = 1.0) -> dict[str, Tensor]:
    return {
        "weights": torch.full((3, 4), value),
        "step": torch.tensor(value),
        "random": torch.arange(7, dtype=torch.uint8),
        "exact": torch.tensor([1 / 3], dtype=torch.float64),
        "half": torch.tensor([1.5, -2], dtype=torch.bfloat16),
        "none": torch.zeros(0, 5),
        "mask": torch.tensor([True, False]),
    }


def _equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    same = [name in other and torch.equal(one[name], other[name]) for name in one]
    return len(one) == len(other) and all(same) and all(one[name].dtype == other[name].dtype for name in one)


def _state(identity: str = "mood/seed 0") -> TrainingState:
    return TrainingState(
        identity=identity,
        num_epochs=2,
        num_steps=14,
        best_epoch=1,
        history=((0, 0.1, float("inf")), (1, 1 / 3, 2.5)),
        model={"encoders.audio.weight": torch.ones(2, 2)},
        best={"encoders.audio.weight": torch.zeros(2, 2)},
        optimiser={"0.exp_avg": torch.ones(2, 2), "0.step": torch.tensor(14.0)},
        random=random_tensors(),
    )


@pytest.mark.slow
def test_killed_at_every_epoch_and_at_any_moment_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    """Last weights, best weights and losses of each epoch; see `tests.fusion.resumable`."""
    subprocess.run([sys.executable, "-m", "tests.fusion.resumable", tmp_path], cwd=ROOT, check=True)
    whole, resumed, at_any_moment = (
        load_state(tmp_path / f"{name}.safetensors").tensors for name in ("whole", "resumed", "at-any-moment-resumed")
    )
    assert _equal(whole, resumed)
    assert _equal(whole, at_any_moment)
    assert len(whole["history"]) == 10


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "run" / "fused-0.safetensors"
    save_state(path, _tensors(), '{"epoch": 3}')
    found = load_newest(path)
    assert found is not None
    assert (found.path, found.meta, found.problem) == (path, '{"epoch": 3}', "")
    assert _equal(_tensors(), found.tensors)


def test_safetensors_itself_reads_it(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    save_state(tmp_path / "a", _tensors())
    assert _equal(_tensors(), load_file(tmp_path / "a"))


def test_there_is_none_yet(tmp_path: Path) -> None:
    assert load_newest(tmp_path / "a") is None
    assert load_training(tmp_path / "a", "mood") is None
    with pytest.raises(ModelError, match=r"checkpoint '.*/a' is damaged \(No such file or directory\)"):
        load_state(tmp_path / "a")


def test_the_last_two_are_kept_and_then_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for value in (1, 2, 3):
        save_state(path, _tensors(value))
    assert sorted(tmp_path.iterdir()) == [path, previous_of(path)]
    assert load_state(previous_of(path)).tensors["step"] == 2
    forget_state(path)
    forget_state(path)
    assert list(tmp_path.iterdir()) == []


def test_tensors_that_share_memory(tmp_path: Path) -> None:
    weight = torch.rand(4, 4)
    save_state(tmp_path / "a", {"one": weight, "tied": weight, "part": weight.T[1:]})
    assert torch.equal(load_state(tmp_path / "a").tensors["part"], weight.T[1:])


@pytest.mark.parametrize("kept", [0, 3, 8, 60, 0.5, -1])
def test_of_a_checkpoint_cut_short_the_one_before_it_is_used(kept: float, tmp_path: Path) -> None:
    """And what was wrong is told; where there is none before it, that is the error."""
    path = tmp_path / "a"
    save_state(path, _tensors(1))
    save_state(path, _tensors(2))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    found = load_newest(path)
    assert found is not None
    assert (found.path, float(found.tensors["step"])) == (previous_of(path), 1)
    assert found.problem.startswith(f"checkpoint {str(path)!r} is damaged (")
    previous_of(path).unlink()
    with pytest.raises(ModelError, match=r"checkpoint '.*/a' is damaged \(.*\); delete it to train anew"):
        load_newest(path)


def test_a_flipped_bit_anywhere_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_state(path, {"weights": torch.ones(3), "step": torch.tensor(1.0)}, '{"epoch": 3}')
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ModelError, match="is damaged"):
            load_state(path)


def test_killed_between_the_two_renamings(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_state(path, _tensors(1))
    path.rename(previous_of(path))
    (tmp_path / ".a.writing").write_bytes(b"half of a checkpoint")
    found = load_newest(path)
    assert found is not None
    assert found.problem == ""
    save_state(path, _tensors(2))
    assert sorted(tmp_path.iterdir()) == [path, previous_of(path)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        pytest.skip("no disk may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_on_a_full_disk_the_last_good_one_stays(small_disk: Path) -> None:
    path = small_disk / "a"
    save_state(path, _tensors(1))
    save_state(path, _tensors(2))
    with pytest.raises(ModelError) as caught:
        save_state(path, {"weights": torch.zeros(20_000)})
    assert str(caught.value) == (
        f"cannot write checkpoint {str(path)!r} (No space left on device); the last good one stays:"
        " free space or rights, then train again, which goes on from it"
    )
    assert sorted(small_disk.iterdir()) == [path, previous_of(path)]
    assert load_state(path).tensors["step"] == 2
    assert load_state(previous_of(path)).tensors["step"] == 1


def test_where_no_file_may_grow_the_last_good_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_state(path, _tensors(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with pytest.raises(ModelError, match=r"cannot write checkpoint '.*/a' \(File too large\); the last good one"):
            save_state(path, {"weights": torch.zeros(20_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [path]
    assert load_state(path).tensors["step"] == 1


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"cannot write checkpoint '.*/file/a' \(.*\); .* free space or rights"):
        save_state(tmp_path / "file" / "a", _tensors())


def test_the_state_of_a_training(tmp_path: Path) -> None:
    path, state = tmp_path / "a", _state()
    save_training(path, state)
    loaded = load_training(path, state.identity)
    assert loaded is not None
    found, problem = loaded
    assert problem == ""
    for part in ("model", "best", "optimiser", "random"):
        assert _equal(getattr(state, part), getattr(found, part))
    plain = {part: {} for part in ("model", "best", "optimiser", "random")}
    assert replace(found, **plain) == replace(state, **plain)


def test_a_checkpoint_of_another_training(tmp_path: Path) -> None:
    save_training(tmp_path / "a", _state())
    with pytest.raises(ModelError, match=r"'.*/a' is of another training \('mood/seed 0', not 'mood/seed 1'\)"):
        load_training(tmp_path / "a", "mood/seed 1")


def test_a_state_of_a_newer_triptych(tmp_path: Path) -> None:
    tensors, meta = _state().to_tensors()
    with pytest.raises(ModelError, match="has format 9, this Triptych reads up to 1; use the newer"):
        TrainingState.from_tensors(tensors, json.dumps({**json.loads(meta), "format_version": 9}))


@pytest.mark.parametrize("meta", ["", "[]", "{}", '{"format_version": 1, "history": []}'])
def test_what_is_no_state(meta: str) -> None:
    with pytest.raises(ModelError, match="is no state of a training"):
        TrainingState.from_tensors({}, meta)


def _built(width: int = 3) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Sequential(nn.Linear(width, 4), nn.Linear(4, 1))
    given = [(name, parameter, parameter.ndim > 1) for name, parameter in model.named_parameters()]
    return model, build_optimiser(given, TrainingConfig())


def _step(model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad()
    torch.autograd.backward(model(torch.ones(2, 3)).square().sum())
    optimiser.step()


def test_an_optimiser_goes_on(tmp_path: Path) -> None:
    """A step after what was taken of it equals the one it would have made."""
    one, other = _built(), _built()
    _step(*one)
    assert {name.partition(".")[2] for name in optimiser_tensors(one[1])} == {"step", "exp_avg", "exp_avg_sq"}
    save_state(tmp_path / "a", joined({"model": one[0].state_dict(), "optimiser": optimiser_tensors(one[1])}))
    found = load_state(tmp_path / "a").tensors
    other[0].load_state_dict(part_of(found, "model"))
    restore_optimiser(other[1], part_of(found, "optimiser"))
    for built in (one, other):
        _step(*built)
    assert _equal(one[0].state_dict(), other[0].state_dict())


def test_an_optimiser_that_has_not_stepped() -> None:
    one, other = _built(), _built()
    assert optimiser_tensors(one[1]) == {}
    restore_optimiser(other[1], {})
    _step(*other)


def test_an_optimiser_of_another_model() -> None:
    one, other = _built(), _built(width=5)
    _step(*one)
    with pytest.raises(ModelError, match=r"'0.exp_avg' of shape \[4, 3\], the model wants \[4, 5\]; it is of another"):
        restore_optimiser(other[1], optimiser_tensors(one[1]))


def test_generators_go_on() -> None:
    own = torch.Generator().manual_seed(3)
    with torch.random.fork_rng(devices=[]):
        state = random_tensors({"own": own})
        expected = torch.rand(3), torch.rand(3, generator=own)
        restore_random(state, {"own": own})
        assert torch.equal(torch.rand(3), expected[0])
        assert torch.equal(torch.rand(3, generator=own), expected[1])
