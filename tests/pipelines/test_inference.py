"""RunInference's side: models by maker, one model a device for several processes, sizes of batches by device."""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from features.extractors import registry
from features.extractors.registry import get_extractor
from features.records import Frame, MediaRows
from features.spec import FeatureSpec
from pipelines.inference import BatchInput, ExtractorHandler
from pipelines.options import ExtractConfig
from tests.pipelines.extractors import Sizes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONFIG = ExtractConfig(runner="in-process", device="cpu")


class WhereModel:
    """Tells the process that it runs in."""

    def __call__(self, sizes: np.ndarray) -> np.ndarray:
        return np.array([[size, os.getpid()] for size in sizes], np.float32)


class Where(Sizes):
    """A model that would be on a GPU."""

    spec = FeatureSpec("where", 1, "video", "frames", shape=(2,))
    runs_on_gpu: ClassVar[bool] = True

    def load(self, device: str) -> WhereModel:  # type: ignore[override]
        assert device == "cpu"
        return WhereModel()

    def __call__(self, model: Any, items: Sequence[Any]) -> Sequence[Any]:
        return list(model(np.array([size for *_, size in items])))


def batch(*makers: str) -> BatchInput:
    frames = tuple(Frame(i, 1, i, i + 1, b"x" * (i + 1), 1, 1) for i in range(3))
    return BatchInput("batch", makers, (MediaRows("a", 3, True, False, False, frames=frames),), (("b", "refused"),))


def run(share: bool) -> list[list[float]]:
    handler = ExtractorHandler(["where"], CONFIG, share=share)
    ((output,),) = (told.by_maker for told in handler.run_inference([batch("where")], handler.load_model()))
    assert [found.status for found in output.found] == ["ok", "skipped"]
    return [list(row.values) for row in output.found[0].rows]


def in_child(pipe: Any, share: bool) -> None:
    registry._BUILT_IN["where"] = f"{__name__}:Where"
    pipe.send((os.getpid(), run(share)))
    pipe.recv()  # the one that hosts the model stays until the other is done


@pytest.fixture
def where(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(registry._BUILT_IN, "where", "tests.pipelines.test_inference:Where")
    registry._entries.cache_clear()
    yield
    registry._entries.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("share", [True, False])
def test_processes_share_the_model_of_a_device(share: bool) -> None:
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(2)]
    children = [context.Process(target=in_child, args=(theirs, share)) for _, theirs in pipes]
    found = []
    for child, (ours, _) in zip(children, pipes, strict=True):
        child.start()
        assert ours.poll(60)
        found.append(ours.recv())
    for child, (ours, _) in zip(children, pipes, strict=True):
        ours.send("done")
        child.join(30)
        assert child.exitcode == 0
    hosts = [{int(pid) for _, pid in rows} for _, rows in found]
    pids = [pid for pid, _ in found]
    assert hosts == ([{pids[0]}] * 2 if share else [{pid} for pid in pids])
    assert [[size for size, _ in rows] for _, rows in found] == [[1, 2, 3]] * 2


@pytest.mark.usefixtures("where")
def test_a_batch_goes_through_those_that_it_owes_only() -> None:
    handler = ExtractorHandler(["where", "efficientnet_lite0"], CONFIG, share=False)
    models = handler.load_model()
    assert list(models.by_maker) == ["where", "efficientnet_lite0"]
    ((output,),) = (told.by_maker for told in handler.run_inference([batch("where")], models))
    assert (output.batch_id, output.maker) == ("batch", "where")


@pytest.mark.usefixtures("where")
@pytest.mark.parametrize(
    ("given", "device", "size"), [(0, "cpu", 32), (0, "cuda:0", 256), (7, "cpu", 7), (7, "cuda:0", 7)]
)
def test_the_size_of_a_batch_is_given_or_the_devices(
    monkeypatch: pytest.MonkeyPatch, given: int, device: str, size: int
) -> None:
    monkeypatch.setattr("pipelines.inference.pick_device", lambda _: device)
    handler = ExtractorHandler(["where"], ExtractConfig(device=device, batch_size=given), share=False)
    loaded = handler._loaded("where", type("Models", (), {"by_maker": {"where": None}})())
    assert loaded.batch_size == size
    assert get_extractor("mfcc").runs_on_gpu is False
