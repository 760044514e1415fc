"""Encoders of sequences and of ids: recurrent, Transformer, and convolutions along time."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from features.fusion.encoded import Encoded
from features.fusion.encoders.attention import SelfAttention
from features.fusion.encoders.base import StepEncoder, masked_mean

if TYPE_CHECKING:
    from features.fusion.configs import EncoderConfig


class RecurrentEncoder(StepEncoder):
    """An LSTM or GRU; the state after the last step that is there, of both ways where it reads both.

    Args:
        config: Kind, size, layers, bidirectional, dropout (between layers, and of the state).
        width: Numbers in a step.

    Reference:
        Hochreiter & Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735; Cho et al. (2014), arXiv:1406.1078.
    """

    def __init__(self, config: EncoderConfig, width: int) -> None:
        super().__init__(config, width)
        kind = nn.LSTM if config.kind == "lstm" else nn.GRU
        between = config.dropout if config.layers > 1 else 0.0
        both = config.bidirectional
        self.network = kind(
            self.step_width, config.size, config.layers, batch_first=True, dropout=between, bidirectional=both
        )
        self.joined = nn.Linear(2 * config.size, config.size) if both else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Encoded:
        """See `Encoder.forward`; without any step it gives zeros."""
        steps, mask = self.steps_of(values, lengths)
        counts = mask.sum(dim=1)
        packed = pack_padded_sequence(steps, counts.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
        output, state = self.network(packed)
        hidden = state[0] if isinstance(state, tuple) else state
        last = torch.cat([hidden[-2], hidden[-1]], dim=1) if self.network.bidirectional else hidden[-1]
        vector = torch.where((counts > 0)[:, None], self.joined(self.dropout(last)), 0)
        padded, _ = pad_packed_sequence(output, batch_first=True, total_length=steps.shape[1])
        return Encoded(vector, torch.where(mask[..., None], self.joined(padded), 0), mask)


class TransformerEncoder(StepEncoder):
    """Self-attention over the steps, told apart by sinusoidal positions; the mean of what comes of them.

    Args:
        config: Size, layers, heads, dropout.
        width: Numbers in a step.

    Reference:
        Vaswani et al. (2017), arXiv:1706.03762.
    """

    def __init__(self, config: EncoderConfig, width: int) -> None:
        super().__init__(config, width)
        self.project = nn.Linear(self.step_width, config.size)
        self.network = SelfAttention(config.size, config.heads, config.layers, config.dropout)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Encoded:
        """See `Encoder.forward`; without any step it gives zeros."""
        steps, mask = self.steps_of(values, lengths)
        found = self.network(self.project(steps), mask)
        return Encoded(masked_mean(found, mask), found, mask)


class TemporalCnnEncoder(StepEncoder):
    """Convolutions along time, each with GELU; the largest over the steps that are there, then a linear layer.

    Args:
        config: Size, filters, kernel (odd), layers, dropout (before the linear layer).
        width: Numbers in a step.

    Reference:
        Kim (2014), arXiv:1408.5882.
    """

    def __init__(self, config: EncoderConfig, width: int) -> None:
        super().__init__(config, width)
        widths = [self.step_width, *[config.filters] * config.layers]
        self.convolutions = nn.ModuleList(nn.Conv1d(a, b, config.kernel, padding="same") for a, b in pairwise(widths))
        self.dropout = nn.Dropout(config.dropout)
        self.last = nn.Linear(config.filters, config.size)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Encoded:
        """See `Encoder.forward`; without any step it gives zeros."""
        steps, mask = self.steps_of(values, lengths)
        for convolution in self.convolutions:
            found = nn.functional.gelu(convolution(steps.transpose(1, 2)).transpose(1, 2))
            steps = torch.where(mask[..., None], found, 0)  # what stands beyond the end must not come in
        there = mask.any(dim=1)[:, None]
        largest = torch.where(mask[..., None], steps, -math.inf).amax(dim=1)
        vector = self.last(self.dropout(torch.where(there, largest, 0)))
        return Encoded(torch.where(there, vector, 0), torch.where(mask[..., None], self.last(steps), 0), mask)
