"""`colours`: how much of a picture has which colour."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from features.extractors.base import Extractor
from features.extractors.device import limit_threads, pick_device
from features.extractors.rows import feature_rows, span_of
from features.extractors.shared import pictures
from features.extractors.weights import check_weights, package_folder
from features.identity import Span
from features.records import FeatureRow, MediaRows
from features.spec import FeatureSpec


class Thumbnail(NamedTuple):
    """An item: where it lies, and what the model wants, float32, shape [32, 32, 3]."""

    start_us: int
    end_us: int
    pixels: np.ndarray


class ColoursModel:
    """The colours that are told apart, on a device.

    Args:
        path: A CSV file of one RGB colour a line, below its header.
        device: Name that torch takes.
    """

    def __init__(self, path: Path, device: str) -> None:
        import torch

        colours = np.loadtxt(path, np.float32, delimiter=",", skiprows=1)
        self.colours = torch.from_numpy(colours).to(device)  # [6, 3]

    def __call__(self, thumbnails: np.ndarray) -> np.ndarray:
        """Share of each colour, float32, shape [n, 6], of pictures, float32, shape [n, 32, 32, 3]."""
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(thumbnails).to(self.colours.device).flatten(1, 2)  # [n, 1024, 3]
            nearest = torch.cdist(pixels, self.colours).argmin(dim=2)  # [n, 1024]
            shares = torch.nn.functional.one_hot(nearest, len(self.colours)).float().mean(dim=1)
        return shares.cpu().numpy()


class Colours(Extractor):
    """Share of a picture's pixels whose nearest colour is black, white, red, green, blue, yellow.

    Source: the file `colours.csv` of the package `triptych-example` 0.1.0.
    Shape: [6], shares that sum to 1.
    Rate: one row a sampled frame.
    Licence of the weights: CC0-1.0.
    """

    runs_on_gpu = True  # where there is one; the model is then called by `model(...)` alone, for processes share it
    spec = FeatureSpec(
        name="colours",
        version=1,
        modality="video",
        inputs="frames",
        shape=(6,),
        rate="one a frame",
        units="share of pixels",
        source="triptych-example 0.1.0",
        licence="CC0-1.0",
        weights_fingerprint="9266da0ec2289c42",
    )

    def load(self, device: str) -> ColoursModel:
        """Once a worker process; weights other than those of the fingerprint are refused."""
        path = package_folder("triptych_example", "triptych-example") / "colours.csv"
        check_weights(self.spec, [path], "triptych-example")
        model = ColoursModel(path, pick_device(device))
        limit_threads()
        return model

    def prepare(self, rows: MediaRows) -> Iterator[Thumbnail]:
        """A media's items in order of time, made lazily."""
        import cv2

        for frame, picture in pictures(rows):
            small = cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA)
            yield Thumbnail(frame.valid_start_us, frame.valid_end_us, small.astype(np.float32))

    def __call__(self, model: ColoursModel, items: Sequence[Thumbnail]) -> list[np.ndarray]:
        """One output an item, for items of several media."""
        return list(model(np.stack([item.pixels for item in items])))

    def slim(self, item: Thumbnail) -> Span:
        """What `finish` needs once the model has seen an item: its place."""
        return span_of(item)

    def finish(self, rows: MediaRows, items: Sequence[Span], outputs: Sequence[np.ndarray]) -> list[FeatureRow]:
        """One media's rows."""
        return feature_rows(items, outputs)
