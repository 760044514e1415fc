"""`hub_image:WHERE`: what a picture shows, by an image model of the `transformers` library."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from features.extractors.device import limit_threads, pick_device, to_device
from features.extractors.groups import in_groups
from features.extractors.hub import (
    PREPROCESSOR,
    HubModel,
    check_width,
    find_model,
    load_helper,
    load_network,
    to_torch_device,
)
from features.extractors.hub_cache import TAKES
from features.extractors.shared import pictures
from features.extractors.simple import RowAnItem
from features.spec import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from features.records import MediaRows

    Array = npt.NDArray[np.float32]
    Picture = npt.NDArray[np.uint8]

_PROJECTED = "VisionModelWithProjection"


class PictureItem(NamedTuple):
    """A picture as the network wants it: float32, shape [3, height, width], for the stretch its frame stands for."""

    start_us: int
    end_us: int
    pixels: Array


class ImageNetwork:
    """A network of pictures.

    Args:
        model: Where its weights lie.
        device: Name that torch takes.
    """

    def __init__(self, model: HubModel, device: str) -> None:
        import torch

        name = model.architecture if model.architecture.endswith(_PROJECTED) else "AutoModel"
        network, self._has_pooler = load_network(model, name)
        if _has_towers(model.config) and hasattr(network, "text_model"):
            del network.text_model  # half of the memory, and never asked for
        self.network = to_torch_device(network, device)
        self.device = torch.device(device)

    def __call__(self, pixels: Array) -> Array:
        """Pooled vectors, float32, shape [n, width], of pictures, float32, shape [n, 3, height, width]."""
        import torch

        with torch.inference_mode():
            pooled = self._pooled(to_device(pixels, self.device))
        return np.asarray(pooled.flatten(1).cpu().numpy(), np.float32)

    def _pooled(self, pixels: Any) -> Any:  # noqa: ANN401 - torch's tensors
        if _has_towers(self.network.config):
            return self.network.get_image_features(pixel_values=pixels).pooler_output
        output = self.network(pixel_values=pixels)
        if "image_embeds" in output:
            return output.image_embeds
        return output.pooler_output if self._has_pooler else output.last_hidden_state[:, 0]


class HubImage(RowAnItem):
    """Image embeddings of a model of transformers: CLIP, SigLIP, ViT, DeiT, DINOv2, Swin, ConvNeXT, ResNet.

    Source: the model named; its weights as safetensors, its preprocessing as its own `preprocessor_config.json` says,
        by transformers' Pillow implementation (torchvision is not needed and gives slightly other pictures).
    Shape: [width]: of two towers (CLIP, SigLIP) the image embedding in the space shared with text, not normalised;
        else the pooled output, or the first token where the weights hold no pooler.
    Rate: one row a sampled frame, over the stretch that the frame stands for.
    Licence of the weights: as the model's card states, else "unstated".

    Args:
        where: A local folder, or `owner/name` or `owner/name@revision` on the hub.

    Raises:
        ExtractionError: There is no such model, it is not whole, or it is no image model.

    Reference:
        Radford et al. (2021), arXiv:2103.00020; Dosovitskiy et al. (2021), arXiv:2010.11929; Oquab et al. (2023),
        arXiv:2304.07193; Zhai et al. (2023), arXiv:2303.15343.
    """

    takes: ClassVar[str] = TAKES
    runs_on_gpu = True

    def __init__(self, where: str) -> None:
        self._model = find_model(where, PREPROCESSOR)
        self.spec = FeatureSpec(
            name=f"hub_image_{self._model.located.slug}",
            version=1,
            modality="video",
            inputs="frames",
            shape=(_width(self._model.config),),
            rate="one a frame",
            units="component of an embedding",
            source=self._model.source,
            licence=self._model.licence,
            weights_fingerprint=self._model.fingerprint,
            parameters=(
                ("preprocessing", "the model's own, by Pillow"),
                ("pooling", "image embedding of two towers; else pooled output; else first token"),
                ("precision", "float32"),
            ),
            made_by=f"hub_image:{self._model.located.where}",
        )

    def load(self, device: str) -> ImageNetwork:
        """Load the network; the hub is not asked."""
        torch_device = pick_device(device)
        network = ImageNetwork(self._model, torch_device)
        limit_threads()
        grey = np.full((64, 64, 3), 127, np.uint8)
        check_width(network(self._preprocess(grey)[None]), self.spec.shape[0], self._model.folder)
        return network

    def prepare(self, rows: MediaRows) -> Iterator[PictureItem]:
        """Scale and normalise each frame as the model's own configuration says."""
        for frame, picture in pictures(rows):
            yield PictureItem(frame.valid_start_us, frame.valid_end_us, self._preprocess(picture))

    def __call__(self, model: ImageNetwork, items: Sequence[PictureItem]) -> Sequence[Array]:
        """A vector a picture."""
        return in_groups(
            items, lambda item: item.pixels.shape, lambda group: model(np.stack([item.pixels for item in group]))
        )

    def _preprocess(self, picture: Picture) -> Array:
        processor = _processor(self._model.folder, self._model.fingerprint)
        prepared = processor(images=picture, input_data_format="channels_last", return_tensors="np")
        return np.asarray(prepared["pixel_values"][0], np.float32)


@lru_cache(maxsize=4)
def _processor(folder: Path, fingerprint: str) -> Any:  # noqa: ANN401 - transformers has no types
    del fingerprint  # other files have another processor
    return load_helper(folder, "AutoImageProcessor", backend="pil")


def _has_towers(config: Any) -> bool:  # noqa: ANN401 - transformers has no types
    return hasattr(config, "vision_config")


def _width(config: Any) -> int:  # noqa: ANN401 - transformers has no types
    """Length of the vectors, as far as the configuration says; `load` compares it with the network's."""
    tower = config.vision_config if _has_towers(config) else config
    architecture = (config.architectures or [""])[0]
    if (_has_towers(config) or architecture.endswith(_PROJECTED)) and getattr(config, "projection_dim", None):
        return int(config.projection_dim)
    sizes = getattr(tower, "hidden_sizes", None)
    return int(sizes[-1] if sizes else getattr(tower, "hidden_size", 0))
