from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor, nn

from features.errors import ConsentError, ModelError
from features.fusion.distributed import average_gradients, gather, run_processes, shard, sum_over_ranks
from tests.fusion import ranks
from tests.pipelines.running import wait_for

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_two_processes_equal_one() -> None:
    """After steps on uneven parts, one of them empty, some without a label; both processes have the same weights."""
    batches = _batches()
    (alone,) = run_processes(ranks.train_and_tell, 1, *batches)
    both = run_processes(ranks.train_and_tell, 2, *batches)
    trained = {name for name in alone if name.startswith(("mean.", "sum."))}
    for name in trained:
        assert torch.equal(both[0][name], both[1][name])
        assert torch.allclose(both[0][name], alone[name], rtol=0, atol=1e-6), name
    torch.manual_seed(0)
    untrained = ranks.Model().state_dict()
    moved = {
        name for name in trained if not torch.equal(alone[name], untrained.get(name.partition(".")[2], alone[name]))
    }
    layers = ("mean.trunk.0", "mean.heads.mood", "sum.trunk.0", "sum.heads.mood", "sum.heads.age")
    assert moved == {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    assert torch.all(alone["sum.log_variances"] != 0)
    for found in both:
        assert found["total"].item() == 1.5
        assert found["all"].tolist() == [[1, 10], [2, 10]]
        assert found["threads"].item() == max(1, torch.get_num_threads() // 2)


def _batches() -> tuple[Tensor, ...]:
    """Values, moods, ages and loss weights; of the second batch one task labels nothing, of the fifth the other."""
    generator = torch.Generator().manual_seed(0)
    count = sum(ranks.BATCHES)
    values = torch.randn(count, 4, generator=generator)
    mood = torch.randint(3, (count,), generator=generator)
    mood[[1, 4, 5, 6]] = -1
    mood[21:] = -1
    age = values[:, 0] * 2 - 1
    age[2], age[7:15] = float("nan"), float("nan")
    return values, mood, age, torch.rand(count, generator=generator) + 0.1


@pytest.mark.slow
def test_an_error_of_a_process_is_raised_here() -> None:
    with pytest.raises(ConsentError, match=r"^no consent for media 'abc'; ask for it$"):
        run_processes(ranks.refuse, 2)


@pytest.mark.slow
def test_an_error_that_nobody_foresaw_tells_where_it_was() -> None:
    with pytest.raises(ModelError, match=r"training process 0 of 2 \(from 0\) failed with IndexError: .*") as caught:
        run_processes(ranks.fail, 2)
    assert "in fail" in caught.value.__notes__[0]


@pytest.mark.slow
def test_a_killed_process_is_named() -> None:
    with pytest.raises(ModelError, match=r"process 0 of 2 \(from 0\) was ended by SIGKILL; if memory is short, take"):
        run_processes(ranks.be_killed, 2)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_behind(sent: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C reaches all of a terminal's processes; those that were started say nothing of it."""
    run = subprocess.Popen(
        [sys.executable, "-m", "tests.fusion.ranks", tmp_path],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    told = [tmp_path / f"{rank}.pid" for rank in (0, 1)]
    wait_for(lambda: all(path.exists() for path in told), seconds=120)
    if sent == signal.SIGINT:
        os.killpg(run.pid, sent)
    else:
        run.send_signal(sent)
    _, said = run.communicate(timeout=60)
    assert said.count("Traceback") == (1 if sent == signal.SIGINT else 0), said
    wait_for(lambda: not any(psutil.pid_exists(int(path.read_text())) for path in told), seconds=60)


def test_alone_nothing_is_exchanged() -> None:
    layer = nn.Linear(2, 1)
    layer.weight.grad = torch.ones(1, 2)
    average_gradients(layer, 0.0)
    assert torch.equal(layer.weight.grad, torch.ones(1, 2))
    assert layer.bias.grad is None
    assert sum_over_ranks(torch.tensor(3.0)) == 3
    assert [each.tolist() for each in gather(torch.tensor([1, 2]))] == [[1, 2]]


def test_an_error_of_the_only_process_is_raised_as_it_is() -> None:
    with pytest.raises(IndexError):
        run_processes(ranks.fail, 1)


@pytest.mark.parametrize("count", [0, 1, 5, 32])
@pytest.mark.parametrize("num_ranks", [1, 2, 3, 7])
def test_parts_are_the_batch_in_order(count: int, num_ranks: int) -> None:
    batch = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    parts = [shard(batch, rank, num_ranks) for rank in range(num_ranks)]
    assert torch.equal(torch.cat(parts), batch)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_of_a_group_stay_together(seed: int) -> None:
    random = np.random.default_rng(seed)
    groups = torch.from_numpy(np.repeat([4, 0, 3, 9, 1, 2], random.integers(1, 9, 6)))
    batch = torch.arange(len(groups)) * 10
    parts = [shard(batch, rank, 3, groups) for rank in range(3)]
    assert torch.equal(torch.cat(parts), batch)
    held = [set(groups[part // 10].tolist()) for part in parts]
    assert sum(map(len, held)) == 6


def test_groups_are_dealt_as_evenly_as_they_allow() -> None:
    groups = torch.tensor([1, 1, 1, 2, 3, 3])
    assert [shard(torch.arange(6), rank, 2, groups).tolist() for rank in (0, 1)] == [[0, 1, 2], [3, 4, 5]]
    assert [len(shard(torch.arange(6), rank, 2, torch.ones(6))) for rank in (0, 1)] in ([0, 6], [6, 0])
