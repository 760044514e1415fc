"""Context: what a segment sees of the other segments of its media, after fusion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from features.fusion.encoders.attention import SelfAttention

if TYPE_CHECKING:
    from features.fusion.configs import ContextConfig


class Context(nn.Module):
    """None: a segment's own vector.

    Args:
        size: Numbers of the fused vector.
        added: Numbers that the context adds.
    """

    def __init__(self, size: int, added: int = 0) -> None:
        super().__init__()
        self.size = size + added

    def forward(self, fused: Tensor, media: Tensor, order: Tensor) -> Tensor:
        """Lay what is seen of the media's other segments beside each segment's own vector.

        The result of a media depends neither on the others in the batch nor on the order of rows.

        Args:
            fused: Float [n, size].
            media: Int64 [n], whose segments they are.
            order: Int64 [n], place in time within the media.

        Returns:
            Float [n, self.size].
        """
        del media, order
        return fused


class _SeenContext(Context):
    """Puts the segments of each media in order, looks along them, and puts what comes of it back into place."""

    def forward(self, fused: Tensor, media: Tensor, order: Tensor) -> Tensor:
        """See `Context.forward`."""
        if not len(fused):
            return fused.new_zeros(0, self.size)
        by_time = torch.argsort(order, stable=True)
        places = by_time[torch.argsort(media[by_time], stable=True)]
        _, counts = torch.unique_consecutive(media[places], return_counts=True)
        mask = torch.arange(int(counts.max()), device=fused.device) < counts[:, None]  # [num_media, longest]
        padded = fused.new_zeros(*mask.shape, fused.shape[1])
        padded[mask] = fused[places]
        seen = self.look(padded, mask)
        result = seen.new_zeros(len(fused), seen.shape[2])
        result[places] = seen[mask]
        return torch.cat([fused, result], dim=1)

    def look(self, steps: Tensor, mask: Tensor) -> Tensor:
        """What is seen: [num_media, longest, size] with its mask to [num_media, longest, added]."""
        raise NotImplementedError


class BiLstmContext(_SeenContext):
    """An LSTM both ways over the segments of a media.

    Args:
        config: Size of both ways together, layers, dropout.
        size: Numbers of the fused vector.

    Reference:
        Poria et al. (2017), doi:10.18653/v1/P17-1081 (contextual LSTM over utterances).
    """

    def __init__(self, config: ContextConfig, size: int) -> None:
        super().__init__(size, config.size)
        between = config.dropout if config.layers > 1 else 0.0
        self.network = nn.LSTM(
            size, config.size // 2, config.layers, batch_first=True, dropout=between, bidirectional=True
        )
        self.dropout = nn.Dropout(config.dropout)

    def look(self, steps: Tensor, mask: Tensor) -> Tensor:
        """See `_SeenContext.look`."""
        packed = pack_padded_sequence(steps, mask.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False)
        found, _ = pad_packed_sequence(self.network(packed)[0], batch_first=True, total_length=steps.shape[1])
        result: Tensor = self.dropout(found)
        return result


class TransformerContext(_SeenContext):
    """Self-attention over the segments of a media, told apart by their place in it.

    Args:
        config: Size, layers, heads, dropout.
        size: Numbers of the fused vector.

    Reference:
        Vaswani et al. (2017), arXiv:1706.03762.
    """

    def __init__(self, config: ContextConfig, size: int) -> None:
        super().__init__(size, config.size)
        self.project = nn.Linear(size, config.size)
        self.network = SelfAttention(config.size, config.heads, config.layers, config.dropout)

    def look(self, steps: Tensor, mask: Tensor) -> Tensor:
        """See `_SeenContext.look`."""
        result: Tensor = self.network(self.project(steps), mask)
        return result


def build_context(config: ContextConfig, size: int) -> Context:
    """The context that a recipe states, over fused vectors of `size` numbers."""
    if config.kind == "none":
        return Context(size)
    return BiLstmContext(config, size) if config.kind == "bilstm" else TransformerContext(config, size)
