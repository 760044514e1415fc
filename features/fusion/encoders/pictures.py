"""Encoders of raw inputs: pictures [64, 64, 3] and mel patches [128, 128], by convolutions over the plane."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from features.errors import ConfigError
from features.fusion.encoded import Encoded
from features.fusion.encoders.base import Encoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.fusion.configs import EncoderConfig


class PlaneCnnEncoder(Encoder):
    """Layers of filters, pooling by two and ReLU, then a linear layer over all that is left: [batch, size].

    Args:
        config: Size, filters, kernel (odd), layers, dropout (before the linear layer).
        shape: [height, width, channels], or [bands, frames] of one channel; values in [0, 1].

    Raises:
        ConfigError: So many layers leave nothing of the plane.

    Reference:
        LeCun et al. (1998), doi:10.1109/5.726791.
    """

    def __init__(self, config: EncoderConfig, shape: Sequence[int]) -> None:
        super().__init__(config.size)
        height, width, channels = (*shape, 1)[:3]
        most = min(height, width).bit_length() - 1
        if config.layers > most:
            message = f"a cnn of {config.layers} layers, each of which halves the plane, leaves nothing of"
            message += f" {height} x {width}; write layers = {most} or fewer"
            raise ConfigError(message)
        widths = [channels, *[config.filters] * config.layers]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            # ReLU of the largest is the largest of ReLU, on a quarter of the numbers
            layers += [nn.Conv2d(before, after, config.kernel, padding="same"), nn.MaxPool2d(2), nn.ReLU()]
        left = math.prod(side >> config.layers for side in (height, width)) * config.filters
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(config.dropout), nn.Linear(left, config.size))
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):  # so laid out, pooling is more than twice as fast
                layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Encoded:
        """See `Encoder.forward`.

        Raises:
            ConfigError: A sequence came that has the shape of a patch.
        """
        if lengths is not None:
            shape = list(values.shape[1:])
            message = f"a sequence of shape {shape} cannot be told from a raw input of the same shape; take another"
            message += f" max_len than {shape[0]} for it, or another encoder than cnn"
            raise ConfigError(message)
        planes = values.permute(0, 3, 1, 2) if values.ndim == 4 else values[:, None]
        return Encoded(self.layers(planes.contiguous(memory_format=torch.channels_last)))
