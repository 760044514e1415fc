"""FusionModel: encoders, a fusion, context and a head a task, over arrays and masks by modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn

from features.fusion.configs import ContextConfig, EncoderConfig, FusionConfig
from features.fusion.context import build_context
from features.fusion.encoders import Encoder, build_encoder
from features.fusion.fusions import LateVotes, build_fusion
from features.fusion.fusions.base import masked
from features.fusion.heads import build_head

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from features.fusion.encoded import Encoded
    from features.fusion.examples import Inputs, TaskTargets
    from features.fusion.normalise import Scale
    from features.fusion.recipe import Recipe


@dataclass(frozen=True, slots=True)
class TaskShape:
    """What a head answers: the task's name, its kind, and how many classes it has (a regression: none)."""

    name: str
    kind: str
    num_classes: int


@dataclass(frozen=True, slots=True)
class Architecture:
    """All that it takes to build an untrained model again.

    Attributes:
        shapes: Shape of one example's array, by modality, in order.
        encoders: Encoder by modality.
        fusion: How encoded modalities are joined.
        tasks: What is answered.
        context: What a segment sees of its neighbours.
    """

    shapes: Mapping[str, tuple[int, ...]]
    encoders: Mapping[str, EncoderConfig]
    fusion: FusionConfig
    tasks: tuple[TaskShape, ...]
    context: ContextConfig = ContextConfig()

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities in the model's order."""
        return tuple(self.shapes)


class ModelInputs(NamedTuple):
    """A batch of n segments as tensors.

    Attributes:
        values: By modality: float vectors [n, width], sequences [n, steps, width], pictures [n, 64, 64, 3], patches
            [n, 128, 128], or ids [n, num_ids]; anything where absent.
        present: Bool [n] by modality.
        lengths: Int64 [n] by modality, of sequences.
        media: Int64 [n], whose segments they are.
        order: Int64 [n], place in time within the media.
    """

    values: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    lengths: Mapping[str, Tensor]
    media: Tensor
    order: Tensor

    def to(self, device: torch.device) -> ModelInputs:
        """On a device; by way of pinned memory, without waiting, where that is a GPU."""
        if device.type == "cpu":
            return self

        def moved(tensor: Tensor) -> Tensor:
            return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)

        values, present, lengths = (
            {name: moved(tensor) for name, tensor in part.items()} for part in (self.values, self.present, self.lengths)
        )
        return ModelInputs(values, present, lengths, moved(self.media), moved(self.order))


class FusionModel(nn.Module):
    """Encoders, a fusion, a context, a head a task: a batch to logits by task.

    With late fusion each modality has a context and heads of its own, and what they say is counted together.

    Reference:
        The composition is that of LateFusion in TorchMultimodal (Meta, 2022).
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        kinds = {task.name: task for task in architecture.tasks}
        built = {name: build_encoder(architecture.encoders[name], shape) for name, shape in architecture.shapes.items()}
        self.encoders = nn.ModuleDict(cast("dict[str, nn.Module]", built))
        sizes = {name: encoder.size for name, encoder in built.items()}
        self.is_late = architecture.fusion.kind == "late"
        if self.is_late:
            contexts = {name: build_context(architecture.context, size) for name, size in sizes.items()}
            self.own_contexts = nn.ModuleDict(cast("dict[str, nn.Module]", contexts))
            own = {
                name: nn.ModuleDict({_key(t.name): build_head(t.kind, one.size, t.num_classes) for t in kinds.values()})
                for name, one in contexts.items()
            }
            self.own_heads = nn.ModuleDict(cast("dict[str, nn.Module]", own))
            self.votes = nn.ModuleDict(
                {_key(t.name): LateVotes(architecture.fusion, tuple(sizes), t.kind) for t in kinds.values()}
            )
        else:
            self.fusion = build_fusion(architecture.fusion, sizes)
            self.dropout = nn.Dropout(architecture.fusion.dropout)
            self.context = build_context(architecture.context, self.fusion.size)
            self.heads = nn.ModuleDict(
                {_key(t.name): build_head(t.kind, self.context.size, t.num_classes) for t in kinds.values()}
            )
        for task in architecture.tasks:
            if task.kind == "regression":  # what a regression answers is standardised
                self.register_buffer(f"mean_{_key(task.name)}", torch.zeros(1))
                self.register_buffer(f"std_{_key(task.name)}", torch.ones(1))

    def fit(self, scales: Mapping[str, Scale], targets: Mapping[str, TaskTargets]) -> None:
        """Take what is standardised by from the training split.

        Args:
            scales: Mean and deviation by modality; those without one are not standardised.
            targets: Targets of the training split by task.
        """
        for name, encoder in self.encoders.items():
            standardise = cast("Encoder", encoder).standardise
            if standardise is not None and name in scales:
                standardise.mean.copy_(torch.from_numpy(scales[name].mean))
                standardise.std.copy_(torch.from_numpy(scales[name].std))
        for task in self.architecture.tasks:
            if task.kind == "regression":
                known = targets[task.name].values[targets[task.name].known]
                self.target_scale(task.name)[0].fill_(float(known.mean()))
                self.target_scale(task.name)[1].fill_(max(float(known.std()), 1e-6))

    def target_scale(self, task: str) -> tuple[Tensor, Tensor]:
        """Mean and deviation of a regression's numbers in the training split, shape [1] each."""
        return self.get_buffer(f"mean_{_key(task)}"), self.get_buffer(f"std_{_key(task)}")

    def encode(self, inputs: ModelInputs) -> dict[str, Encoded]:
        """Each modality by its encoder; what stands in an absent one's place is zeros."""
        result: dict[str, Encoded] = {}
        for name, encoder in self.encoders.items():
            values, present = inputs.values[name], inputs.present[name]
            mask = present.reshape(-1, *[1] * (values.ndim - 1))
            result[name] = encoder(torch.where(mask, values, torch.zeros_like(values)), inputs.lengths.get(name))
        return result

    def decide(self, encoded: Mapping[str, Encoded], inputs: ModelInputs) -> dict[str, Tensor]:
        """Logits [n, num_outputs] by task, of encoded modalities."""
        if self.is_late:
            own = self.own_logits(encoded, inputs)
            return {task: cast("LateVotes", self.votes[_key(task)])(own[task], inputs.present) for task in own}
        fused = self.context(self.dropout(self.fusion(encoded, inputs.present)), inputs.media, inputs.order)
        return {task.name: self.heads[_key(task.name)](fused) for task in self.architecture.tasks}

    def own_logits(self, encoded: Mapping[str, Encoded], inputs: ModelInputs) -> dict[str, dict[str, Tensor]]:
        """Logits by task and modality, of late fusion."""
        seen = {
            name: context(masked(encoded[name].vector, inputs.present[name]), inputs.media, inputs.order)
            for name, context in self.own_contexts.items()
        }
        heads = {name: cast("nn.ModuleDict", own) for name, own in self.own_heads.items()}
        return {
            task.name: {name: heads[name][_key(task.name)](vector) for name, vector in seen.items()}
            for task in self.architecture.tasks
        }

    def forward(self, inputs: ModelInputs) -> dict[str, Tensor]:
        """Logits [n, num_outputs] by task."""
        return self.decide(self.encode(inputs), inputs)


def architecture_of(
    recipe: Recipe, shapes: Mapping[str, tuple[int, ...]], tasks: Mapping[str, TaskTargets]
) -> Architecture:
    """The architecture that a recipe states for arrays of these shapes, by modality.

    A model of one modality has nothing to fuse: its encoder's vector is what the heads read.
    """
    encoders = {name: recipe.encoders.get(name, EncoderConfig()) for name in shapes}
    fusion = recipe.fusion
    if fusion.weights:
        fusion = replace(fusion, weights={name: fusion.weights[name] for name in shapes})
    if len(shapes) == 1:
        fusion = replace(fusion, kind="concat", weights={}, contrastive=0.0)
    asked = tuple(TaskShape(name, targets.kind, len(targets.classes)) for name, targets in tasks.items())
    return Architecture({name: tuple(shape) for name, shape in shapes.items()}, encoders, fusion, asked, recipe.context)


def tensors_of(inputs: Inputs, media: Tensor, order: Tensor) -> ModelInputs:
    """Arrays as tensors, without a copy where they are contiguous."""
    return ModelInputs(
        {name: torch.from_numpy(values) for name, values in inputs.values.items()},
        {name: torch.from_numpy(mask) for name, mask in inputs.present.items()},
        {name: torch.from_numpy(lengths) for name, lengths in inputs.lengths.items()},
        media,
        order,
    )


def for_prediction(architecture: Architecture, states: Sequence[Mapping[str, Tensor]]) -> tuple[FusionModel, ...]:
    """Models with these weights, in evaluation mode and float64; states are as of `state_dict`."""
    models = []
    with torch.random.fork_rng(devices=[]):
        for state in states:
            model = FusionModel(architecture)
            model.load_state_dict(dict(state))
            models.append(model.double().eval())
    return tuple(models)


def decayed(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, bool]]:
    """Parameters by name, and whether weight decay is for them: matrices alone, not biases or vectors of absence."""
    for name, parameter in model.named_parameters():
        yield name, parameter, parameter.ndim > 1


def _key(task: str) -> str:
    """A task's name as a module's, which holds no dot."""
    return task.replace(".", "_")
