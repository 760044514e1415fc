"""Encoders of sequences and of ids: recurrent, Transformer, and convolutions along time."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from features.fusion.encoded import Encoded
from features.fusion.encoders.base import Encoder, masked_mean, steps_mask

if TYPE_CHECKING:
    from features.fusion.configs import EncoderConfig

PAD_ID = 0
"""Id of padding, as `features.extractors.tokens` writes it."""

_LONGEST_WAVE = 10_000.0


class SequenceEncoder(Encoder):
    """Steps [batch, num_steps, width], or ids [batch, num_ids] that are looked up first, to [batch, size].

    Args:
        config: Embedding and vocabulary, for ids.
        width: Numbers in a step; of ids, how many there are.
    """

    def __init__(self, config: EncoderConfig, width: int) -> None:
        embedded = config.embedding > 0
        super().__init__(config.size, width if config.standardise and not embedded else 0)
        self.embedding = nn.Embedding(config.vocabulary, config.embedding, PAD_ID) if embedded else None
        self.step_width = config.embedding if embedded else width

    def steps_of(self, values: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Steps, float [batch, num_steps, step_width], and which of them are there, bool [batch, num_steps]."""
        if self.embedding is None:
            mask = steps_mask(values, lengths)
            return torch.where(mask[..., None], self.standardised(values), 0), mask
        ids = values.long()
        return self.embedding(ids), ids != PAD_ID


class RecurrentEncoder(SequenceEncoder):
    """An LSTM or GRU; the state after the last step that is there, of both ways where it reads both.

    Args:
        config: Kind, size, layers, bidirectional, dropout (between layers and of the result).
        width: Numbers in a step.

    Reference:
        Hochreiter & Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735; Cho et al. (2014), arXiv:1406.1078.
    """

    def __init__(self, config: EncoderConfig, width: int) -> None:
        super().__init__(config, width)
        kind = nn.LSTM if config.kind == "lstm" else nn.GRU
        between = config.dropout if config.layers > 1 else 0.0
        ways = 2 if config.bidirectional else 1
        self.network = kind(
            self.step_width, config.size, config.layers, batch_first=True, dropout=between, bidirectional=ways == 2
        )
        self.joined = nn.Linear(2 * config.size, config.size) if ways == 2 else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Encoded:
        """See `Encoder.forward`; without any step it gives zeros."""
        steps, mask = self.steps_of(values, lengths)
        counts = mask.sum(dim=1)
        packed = pack_padded_sequence(steps, counts.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
        output, state = self.network(packed)
        hidden = state[0] if isinstance(state, tuple) else state
        last = torch.cat([hidden[-2], hidden[-1]], dim=1) if self.network.bidirectional else hidden[-1]
        padded, _ = pad_packed_sequence(output, batch_first=True, total_length=steps.shape[1])
        there = (counts > 0)[:, None]
        vector = torch.where(there, self.dropout(self.joined(last)), 0)
        return Encoded(vector, torch.where(mask[..., None], self.joined(padded), 0), mask)


class TransformerEncoder(SequenceEncoder):
    """Self-attention over the steps, normalised before each block; the mean of what comes of the steps.

    Args:
        config: Size, layers, heads, dropout.
        width: Numbers in a step.

    Reference:
        Vaswani et al. (2017), arXiv:1706.03762; Xiong et al. (2020), arXiv:2002.04745 (the order of normalisation).
    """

    def __init__(self, config: EncoderConfig, width: int) -> None:
        super().__init__(config, width)
        self.project = nn.Linear(self.step_width, config.size)
        block = nn.TransformerEncoderLayer(
            config.size, config.heads, 2 * config.size, config.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.network = nn.TransformerEncoder(
            block, config.layers, nn.LayerNorm(config.size), enable_nested_tensor=False
        )

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Encoded:
        """See `Encoder.forward`; without any step it gives zeros."""
        steps, mask = self.steps_of(values, lengths)
        places = waves(steps.shape[1], self.size).to(steps)
        seen = mask | ~mask.any(dim=1, keepdim=True)  # attention over nothing is not a number
        found = self.network(self.project(steps) + places, src_key_padding_mask=~seen)
        found = torch.where(mask[..., None], found, 0)
        return Encoded(masked_mean(found, mask), found, mask)


class TemporalCnnEncoder(SequenceEncoder):
    """Convolutions along time, each with GELU; the largest over the steps that are there, then a linear layer.

    Args:
        config: Size, filters, kernel, layers, dropout.
        width: Numbers in a step.

    Reference:
        Kim (2014), arXiv:1408.5882.
    """

    def __init__(self, config: EncoderConfig, width: int) -> None:
        super().__init__(config, width)
        widths = [self.step_width, *[config.filters] * config.layers]
        pairs = pairwise(widths)
        self.convolutions = nn.ModuleList(nn.Conv1d(a, b, config.kernel, padding="same") for a, b in pairs)
        self.dropout = nn.Dropout(config.dropout)
        self.last = nn.Linear(config.filters, config.size)

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Encoded:
        """See `Encoder.forward`; without any step it gives zeros."""
        steps, mask = self.steps_of(values, lengths)
        for convolution in self.convolutions:
            found = nn.functional.gelu(convolution(steps.transpose(1, 2)).transpose(1, 2))
            steps = torch.where(mask[..., None], found, 0)  # what stands beyond the end must not come in
        largest = torch.where(mask[..., None], steps, -math.inf).amax(dim=1)
        largest = torch.where(mask.any(dim=1)[:, None], largest, 0)
        there = mask.any(dim=1)[:, None]
        vector = torch.where(there, self.last(self.dropout(largest)), 0)
        return Encoded(vector, torch.where(mask[..., None], self.last(steps), 0), mask)


def waves(num_steps: int, size: int) -> Tensor:
    """Sine and cosine of each place, of waves from 2 pi to 10,000 * 2 pi long: [num_steps, size].

    Reference:
        Vaswani et al. (2017), arXiv:1706.03762, section 3.5.
    """
    places = torch.arange(num_steps)[:, None]
    rates = torch.exp(torch.arange(0, size, 2) * (-math.log(_LONGEST_WAVE) / size))
    result = torch.zeros(num_steps, size)
    result[:, 0::2] = torch.sin(places * rates)
    result[:, 1::2] = torch.cos(places * rates)[:, : size // 2]
    return result
