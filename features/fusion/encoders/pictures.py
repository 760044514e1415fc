"""Encoders of raw inputs: pictures [64, 64, 3] and mel patches [128, 128], by convolutions over the plane."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import Tensor, nn

from features.fusion.encoded import Encoded
from features.fusion.encoders.base import Encoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.fusion.configs import EncoderConfig


class PlaneCnnEncoder(Encoder):
    """Layers of filters, ReLU and pooling by two, then a linear layer over all that is left, ReLU and dropout.

    Args:
        config: Size, filters, kernel, layers, dropout.
        shape: [height, width, channels], or [bands, frames] of one channel; values in [0, 1].

    Reference:
        LeCun et al. (1998), doi:10.1109/5.726791.
    """

    def __init__(self, config: EncoderConfig, shape: Sequence[int]) -> None:
        super().__init__(config.size)
        height, width, channels = (*shape, 1)[:3]
        widths = [channels, *[config.filters] * config.layers]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, config.kernel, padding="same"), nn.ReLU(), nn.MaxPool2d(2)]
        left = math.prod(side >> config.layers for side in (height, width)) * config.filters
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(left, config.size), nn.ReLU())
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Encoded:
        """See `Encoder.forward`."""
        del lengths
        planes = values.permute(0, 3, 1, 2) if values.ndim == 4 else values[:, None]
        return Encoded(self.dropout(self.layers(planes)))
