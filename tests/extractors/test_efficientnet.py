"""EfficientNet-Lite0: preprocessing and features against an independent path through torch."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional

from features.extractors.efficientnet import EfficientNetLite0, EfficientNetModel, preprocess
from features.extractors.engine import Extracted
from features.media.pictures import decode_jpeg
from features.records import FeatureRow
from tests.extractors.making import frames_of, media, picture, run


@pytest.fixture(scope="module")
def model() -> EfficientNetModel:
    return EfficientNetLite0().load("cpu")


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


def test_features_are_the_networks_before_its_classifier(model: EfficientNetModel) -> None:
    frames = frames_of([picture(1), picture(2, 480, 360)])
    found = _values(run(EfficientNetLite0(), [media(frames=frames)], model=model))
    batch = torch.cat([_reference_input(decode_jpeg(frame.jpeg)) for frame in frames])
    seen: list[torch.Tensor] = []
    hook = model.network._fc.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model.network(batch)
    hook.remove()
    assert found.shape == (2, 1280)
    np.testing.assert_allclose(found, seen[0].numpy(), atol=5e-3)
    assert found.min() >= 0
    assert found.max() <= 6


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_rows_do_not_depend_on_the_batch(model: EfficientNetModel, batch_size: int) -> None:
    medias = [media(str(index), frames=frames_of([picture(index)] * index), has="video") for index in range(4)]
    found = run(EfficientNetLite0(), medias, model=model, batch_size=batch_size)
    reference = run(EfficientNetLite0(), medias, model=model, batch_size=2)
    assert [result.status for result in found] == ["empty", "ok", "ok", "ok"]
    np.testing.assert_allclose(_values(found), _values(reference), atol=1e-5)


def test_a_row_covers_what_its_frame_stands_for(model: EfficientNetModel) -> None:
    (frame,) = frames_of([picture(3)])
    frame = dataclasses.replace(frame, t_us=700_000, valid_start_us=250_000, valid_end_us=1_250_000)
    (result,) = run(EfficientNetLite0(), [media(frames=(frame,))], model=model)
    assert [(row.start_us, row.end_us) for row in result.rows] == [(250_000, 1_250_000)]


def test_one_bad_jpeg_costs_itself(model: EfficientNetModel) -> None:
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
