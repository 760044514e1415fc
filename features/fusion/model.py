"""FusionModel: encoders, a fusion and a head, over vectors and masks by modality."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from features.fusion.encoders import Encoder, build_encoder
from features.fusion.fusions import Fusion, build_fusion
from features.fusion.heads import ClassHead
from features.fusion.recipe import EncoderConfig, FusionConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from features.fusion.dataset import Inputs
    from features.fusion.recipe import Recipe

_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Architecture:
    """All that it takes to build an untrained model again.

    Attributes:
        widths: Numbers in a modality's vector, by modality, in order.
        encoders: Encoder by modality.
        fusion: How encoded modalities are joined.
        num_classes: Classes of the task.
    """

    widths: Mapping[str, int]
    encoders: Mapping[str, EncoderConfig]
    fusion: FusionConfig
    num_classes: int

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities in the model's order."""
        return tuple(self.widths)


class FusionModel(nn.Module):
    """Encoders, a fusion, a head: `dict[modality, Tensor]` and masks to logits.

    Reference:
        The composition is that of LateFusion in TorchMultimodal (Meta, 2022).
    """

    def __init__(self, encoders: Mapping[str, Encoder], fusion: Fusion, head: ClassHead) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(dict(encoders))
        self.fusion = fusion
        self.head = head

    def fit_standardisation(self, values: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> None:
        """Learn each modality's mean and deviation from the rows where it is present."""
        for name, encoder in self.encoders.items():
            cast("Encoder", encoder).standardise.fit(values[name][present[name]])

    def forward(self, values: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Logits of each class.

        Args:
            values: Float [batch, num_values] by modality; anything where absent.
            present: Bool [batch] by modality.

        Returns:
            Float, shape [batch, num_classes].
        """
        encoded = {
            name: encoder(torch.where(present[name][:, None], values[name], 0.0))
            for name, encoder in self.encoders.items()
        }
        logits: Tensor = self.head(self.fusion(encoded, present))
        return logits


def architecture_of(recipe: Recipe, widths: Mapping[str, int], num_classes: int) -> Architecture:
    """The architecture that a recipe states for vectors of these widths, by modality."""
    encoders = {name: recipe.encoders.get(name, EncoderConfig()) for name in widths}
    return Architecture(dict(widths), encoders, recipe.fusion, num_classes)


def build_model(architecture: Architecture) -> FusionModel:
    """An untrained model, from torch's current random state."""
    encoders = {name: build_encoder(architecture.encoders[name], width) for name, width in architecture.widths.items()}
    fusion = build_fusion(
        architecture.fusion.kind, {name: architecture.encoders[name].size for name in architecture.widths}
    )
    return FusionModel(encoders, fusion, ClassHead(fusion.size, architecture.num_classes))


def predict_probabilities(models: Sequence[FusionModel], inputs: Inputs, prior: Sequence[float]) -> NDArray[np.float64]:
    """Mean of the models' probabilities; the prior where no modality is present.

    Computed in float64 on one thread and rounded by the caller, so that neither the size of a batch nor the number
    of cores shows in a float32 score.

    Args:
        models: In evaluation mode, in float64 (`for_prediction`).
        inputs: Vectors and masks of n segments.
        prior: Share of each class in the training split.

    Returns:
        Shape [n, num_classes]; rows sum to 1.
    """
    names = list(models[0].encoders)
    num_rows = len(inputs.present[names[0]])
    result = np.tile(np.asarray(prior, np.float64), (num_rows, 1))
    known = np.flatnonzero(np.logical_or.reduce([inputs.present[name] for name in names]))
    with torch.inference_mode(), one_thread():
        for batch in np.array_split(known, max(math.ceil(len(known) / _BATCH), 1)):
            part = inputs.take(batch)
            values = {name: torch.from_numpy(part.values[name]).double() for name in names}
            present = {name: torch.from_numpy(part.present[name]) for name in names}
            total = torch.stack([torch.softmax(model(values, present), dim=1) for model in models])
            result[batch] = total.mean(dim=0).numpy()
    return result


def for_prediction(architecture: Architecture, states: Sequence[Mapping[str, Tensor]]) -> tuple[FusionModel, ...]:
    """Models with these weights, in evaluation mode and float64; states are as of `state_dict`."""
    models = []
    with torch.random.fork_rng(devices=[]):
        for state in states:
            model = build_model(architecture)
            model.load_state_dict(dict(state))
            models.append(model.double().eval())
    return tuple(models)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread: small products gain nothing from more, and sums keep their order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
