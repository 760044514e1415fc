"""Encoders of vectors; a sequence is averaged over its steps first, ids over their embeddings."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from torch import Tensor, nn

from features.fusion.encoded import Encoded
from features.fusion.encoders.base import StepEncoder

if TYPE_CHECKING:
    from features.fusion.configs import EncoderConfig


class LinearEncoder(StepEncoder):
    """One linear layer: [batch, width] to [batch, size].

    Args:
        config: Size and dropout, which is of the inputs.
        width: Numbers in a vector.
    """

    def __init__(self, config: EncoderConfig, width: int) -> None:
        super().__init__(config, width)
        self.layers = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(self.step_width, config.size))

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Encoded:
        """See `Encoder.forward`."""
        return Encoded(self.layers(self.vector_of(values, lengths)))


class MlpEncoder(StepEncoder):
    """Layers, each with layer normalisation, GELU and dropout: [batch, width] to [batch, size].

    With one layer, its units are the result; `hidden` units come before it where they are asked for.

    Args:
        config: Size, hidden size, layers, dropout.
        width: Numbers in a vector.

    Reference:
        Ba et al. (2016), arXiv:1607.06450; Srivastava et al. (2014), JMLR 15; of ids: Iyyer et al. (2015),
        doi:10.3115/v1/P15-1162.
    """

    def __init__(self, config: EncoderConfig, width: int) -> None:
        super().__init__(config, width)
        hidden = [config.hidden or config.size] * (config.layers if config.hidden else config.layers - 1)
        widths = [self.step_width, *hidden, config.size]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.GELU(), nn.Dropout(config.dropout)]
        self.layers = nn.Sequential(*layers)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Encoded:
        """See `Encoder.forward`."""
        return Encoded(self.layers(self.vector_of(values, lengths)))
