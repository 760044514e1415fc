"""Epochs of several processes are told as they end, whatever becomes of the processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from features.errors import ModelError
from features.fusion.distributed import run_processes
from features.fusion.telling import heard
from features.fusion.training import TrainingRun, train
from tests.fusion import telling

if TYPE_CHECKING:
    from pathlib import Path

    from features.fusion.loop import Epoch
    from tests.fusion.conftest import Archive


def test_an_epoch_is_told_before_the_next_begins(tmp_path: Path) -> None:
    told: list[tuple[int, float, float]] = []

    def hear(epoch: int, train_loss: float, dev_loss: float) -> None:
        told.append((epoch, train_loss, dev_loss))
        (tmp_path / str(epoch)).touch()  # the process waits for it

    with heard(hear) as writer:
        run_processes(telling.tell_and_wait, 2, writer, str(tmp_path))
    assert told == [(0, float("inf"), -0.5), (1, 1.0, -0.5), (2, 0.5, -0.5)]


def test_what_the_listener_raises_comes_when_the_processes_have_ended() -> None:
    def refuse(epoch: int, train_loss: float, dev_loss: float) -> None:
        del train_loss, dev_loss
        message = f"epoch {epoch}"
        raise ValueError(message)

    with pytest.raises(ValueError, match="epoch 0"), heard(refuse) as writer:
        run_processes(telling.tell_much, 2, writer)


def test_a_process_that_fails_ends_the_listening() -> None:
    told: list[int] = []
    with (
        pytest.raises(ModelError, match="enough"),
        heard(lambda epoch, train_loss, dev_loss: told.append(epoch)) as writer,
    ):
        run_processes(telling.tell_and_fail, 2, writer)
    assert set(told) <= {0, 1}


def test_nothing_is_told_where_nothing_ran() -> None:
    with heard(lambda *_: pytest.fail("told")):
        pass


def test_training_in_two_processes_tells_every_epoch_once_in_order(archive: Archive) -> None:
    told: list[tuple[str, int, Epoch]] = []
    run = TrainingRun(num_processes=2, on_epoch=lambda name, seed, epoch: told.append((name, seed, epoch)))
    (member,) = train(archive.recipe, archive.examples(), seeds=[3], name="fused", run=run).members
    assert told == [("fused", 3, epoch) for epoch in member.history]
    assert len(told) > 1
