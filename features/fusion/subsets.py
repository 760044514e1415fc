"""What a model learns to do without: modalities hidden at random, and smaller sets of them beside the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping


class SmallerSet(NamedTuple):
    """What is left of a batch with some modalities taken away.

    Attributes:
        present: Bool [batch] by modality.
        smaller: Bool [batch]: the rows that have something of the set, and more beside it.
    """

    present: dict[str, Tensor]
    smaller: Tensor


def hide(present: Mapping[str, Tensor], chance: float) -> dict[str, Tensor]:
    """Hide present modalities at random; an example that would lose all keeps them all.

    Args:
        present: Bool [batch] by modality.
        chance: Of each present one to be hidden, in [0, 1).

    Returns:
        Masks of the same shape.

    Reference:
        Neverova et al. (2016), doi:10.1109/TPAMI.2015.2461544 (ModDrop).
    """
    if not chance or len(present) == 1:
        return dict(present)
    mask = torch.stack(list(present.values()))  # [num_modalities, batch]
    kept = mask & (torch.rand(mask.shape, device=mask.device) >= chance)
    kept = torch.where(kept.any(dim=0), kept, mask)
    return dict(zip(present, kept, strict=True))


def smaller_sets(present: Mapping[str, Tensor]) -> list[SmallerSet]:
    """Each modality alone, and each one left out, of what examples have; no set twice, none of a single modality.

    Args:
        present: Bool [batch] by modality.

    Reference:
        Wu & Goodman (2018), arXiv:1802.05335, section 2.2: all of an example, each modality alone, and some sets.
    """
    names = tuple(present)
    alone = [frozenset((name,)) for name in names]
    sets = dict.fromkeys([*alone, *(frozenset(names) - one for one in alone)])
    nobody = torch.zeros_like(next(iter(present.values())))
    result = []
    for chosen in (some for some in sets if 0 < len(some) < len(names)):
        some = {name: present[name] if name in chosen else nobody for name in names}
        beside = torch.stack([present[name] for name in names if name not in chosen]).any(dim=0)
        result.append(SmallerSet(some, torch.stack(list(some.values())).any(dim=0) & beside))
    return result
