"""`hub_image` against the models called directly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from transformers import (
    AutoImageProcessor,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    ConvNextConfig,
    ConvNextModel,
    Dinov2Config,
    Dinov2Model,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTModel,
)

from features.errors import ExtractionError
from features.extractors.hub_image import HubImage
from tests.extractors import tiny_models as tiny
from tests.extractors.making import frames_of, media, picture, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from features.records import MediaRows


def archive() -> list[MediaRows]:
    return [
        media(str(number), frames=frames_of(picture(10 * number + index, 60, 80) for index in range(7)))
        for number in range(3)
    ]


def rows_of(folder: Path, batch_size: int = 32) -> np.ndarray:
    extractor = HubImage(str(folder))
    return tiny.values(run(extractor, archive(), model=extractor.load("cpu"), batch_size=batch_size))


def pixels_of(folder: Path) -> torch.Tensor:
    """The pictures by the reference's preprocessing."""
    from features.media.pictures import decode_jpeg

    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    decoded = [decode_jpeg(frame.jpeg) for rows in archive() for frame in rows.frames]
    return torch.as_tensor(np.stack(processor(images=decoded, return_tensors="np")["pixel_values"]))


def dinov2(folder: Path) -> Path:
    model = Dinov2Model(Dinov2Config(**tiny.TRANSFORMER, image_size=32, patch_size=8))
    return tiny.save(model, folder, tiny.clip_processor())


def siglip(folder: Path) -> Path:
    model = SiglipVisionModel(SiglipVisionConfig(**tiny.TRANSFORMER, image_size=32, patch_size=8))
    return tiny.save(model, folder, SiglipImageProcessorPil(size={"height": 32, "width": 32}))


def clip_vision(folder: Path) -> Path:
    config = CLIPVisionConfig(**tiny.TRANSFORMER, image_size=32, patch_size=8, projection_dim=24)
    return tiny.save(CLIPVisionModelWithProjection(config), folder, tiny.clip_processor())


def convnext(folder: Path) -> Path:
    model = ConvNextModel(ConvNextConfig(hidden_sizes=[8, 8, 16, 40], depths=[1, 1, 1, 1]))
    return tiny.save(model, folder, tiny.clip_processor())


@pytest.mark.parametrize(
    ("make", "load", "output", "width"),
    [
        (tiny.vit, ViTModel, "pooler_output", 32),
        (dinov2, Dinov2Model, "pooler_output", 32),
        (siglip, SiglipVisionModel, "pooler_output", 32),
        (clip_vision, CLIPVisionModelWithProjection, "image_embeds", 24),
        (convnext, ConvNextModel, "pooler_output", 40),
    ],
)
def test_rows_are_the_models_own(
    tmp_path: Path, make: Callable[[Path], Path], load: type, output: str, width: int
) -> None:
    folder = make(tmp_path / "model")
    reference = tiny.quietly(load.from_pretrained, folder).eval()  # type: ignore[attr-defined]
    with torch.inference_mode():
        expected = getattr(reference(pixel_values=pixels_of(folder)), output).flatten(1).numpy()
    found = rows_of(folder)
    assert found.shape == (21, width)
    assert HubImage(str(folder)).spec.shape == (width,)
    assert np.ptp(found, axis=0).max() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_of_two_towers_it_is_the_image_embedding(tmp_path: Path) -> None:
    folder = tiny.clip(tmp_path / "model")
    reference = tiny.quietly(CLIPModel.from_pretrained, folder).eval()
    with torch.inference_mode():
        expected = reference.get_image_features(pixel_values=pixels_of(folder)).pooler_output.numpy()
    np.testing.assert_allclose(rows_of(folder), expected, atol=1e-5)


def test_without_trained_pooler_it_is_the_first_token(tmp_path: Path) -> None:
    folder = tiny.vit(tmp_path / "model", add_pooling_layer=False)
    reference = tiny.quietly(ViTModel.from_pretrained, folder, add_pooling_layer=False).eval()
    with torch.inference_mode():
        expected = reference(pixel_values=pixels_of(folder)).last_hidden_state[:, 0].numpy()
    np.testing.assert_allclose(rows_of(folder), expected, atol=1e-5)


def test_rows_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    folder = tiny.clip(tmp_path / "model")
    reference = rows_of(folder, 3)
    for batch_size in (1, 7, 64):
        np.testing.assert_allclose(rows_of(folder, batch_size), reference, atol=1e-5)


def test_preprocessing_is_as_the_file_says(tmp_path: Path) -> None:
    folder = tiny.vit(tmp_path / "model")
    plain = rows_of(folder)
    tiny.edit_json(folder / "preprocessor_config.json", image_mean=[0.2, 0.3, 0.4])
    changed = rows_of(folder)
    assert np.abs(changed - plain).max() > 0.01


def test_a_model_that_is_none_of_pictures_is_refused(tmp_path: Path) -> None:
    extractor = HubImage(str(tiny.bert(tmp_path / "words")))
    with pytest.raises(ExtractionError, match=r"cannot load .*words"):
        extractor.load("cpu")


def test_the_spec_says_what_it_is(tmp_path: Path) -> None:
    spec = HubImage(str(tiny.vit(tmp_path / "ViT-tiny.16"))).spec
    assert (spec.name, spec.modality, spec.inputs, spec.licence) == (
        "hub_image_vit_tiny_16",
        "video",
        "frames",
        "apache-2.0",
    )
    assert spec.maker == f"hub_image:{tmp_path / 'ViT-tiny.16'}"
    assert str(tmp_path) not in spec.source
