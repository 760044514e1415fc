"""What moves while a model is trained, as tensors by name: weights, an optimiser's memory, states of generators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from features.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Generator

_GPU, _OWN = "cuda:", "own."


def joined(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors of several parts, as `<part>/<name>`; `part_of` takes them apart."""
    return {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def part_of(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """The tensors of one part, by their own names."""
    prefix = f"{part}/"
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimiser has learned of each parameter, as `<place>.<name>`: of Adam step, exp_avg and exp_avg_sq.

    Its settings are not kept: they are the recipe's.
    """
    state = optimiser.state_dict()["state"]
    return {f"{place}.{name}": value.detach().clone() for place, own in state.items() for name, value in own.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give a newly built optimiser what `optimiser_tensors` took of one for the same parameters.

    Raises:
        ModelError: They are of other parameters.
    """
    shapes = [parameter.shape for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        place, _, name = key.partition(".")
        wanted = list(shapes[int(place)]) if int(place) < len(shapes) else None
        if tensor.ndim and list(tensor.shape) != wanted:
            message = f"the checkpoint's optimiser has {key!r} of shape {list(tensor.shape)}, the model wants {wanted};"
            raise ModelError(message + " it is of another model: delete the checkpoint and train anew")
        state.setdefault(int(place), {})[name] = tensor.clone()
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def random_tensors(generators: Mapping[str, Generator] | None = None) -> dict[str, Tensor]:
    """States of torch's own generators (`torch`, and `cuda:<n>` of each GPU) and of others, by name, uint8."""
    states = {"torch": torch.random.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"{_GPU}{device}": state for device, state in enumerate(torch.cuda.get_rng_state_all())}
    return states | {f"{_OWN}{name}": generator.get_state() for name, generator in (generators or {}).items()}


def restore_random(tensors: Mapping[str, Tensor], generators: Mapping[str, Generator] | None = None) -> None:
    """Set generators back to what `random_tensors` took."""
    torch.random.set_rng_state(tensors["torch"])
    for device in range(torch.cuda.device_count()):
        if f"{_GPU}{device}" in tensors:
            torch.cuda.set_rng_state(tensors[f"{_GPU}{device}"], device)
    for name, generator in (generators or {}).items():
        generator.set_state(tensors[f"{_OWN}{name}"])
