"""Encoders: one modality's array (a vector, a sequence, ids, a picture, a patch) to a vector of the encoder's size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.errors import ConfigError
from features.fusion.encoders.base import Encoder, Standardise
from features.fusion.encoders.pictures import PlaneCnnEncoder
from features.fusion.encoders.sequences import RecurrentEncoder, TemporalCnnEncoder, TransformerEncoder
from features.fusion.encoders.vectors import LinearEncoder, MlpEncoder
from features.fusion.recipe import RAW_INPUTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.fusion.configs import EncoderConfig

__all__ = ["Encoder", "Standardise", "build_encoder"]

_OF_VECTORS: dict[str, Callable[[EncoderConfig, int], Encoder]] = {"linear": LinearEncoder, "mlp": MlpEncoder}
_OF_SEQUENCES: dict[str, Callable[[EncoderConfig, int], Encoder]] = {
    "lstm": RecurrentEncoder,
    "gru": RecurrentEncoder,
    "transformer": TransformerEncoder,
    "cnn": TemporalCnnEncoder,
}
_PLANES = frozenset(RAW_INPUTS.values())


def build_encoder(config: EncoderConfig, shape: tuple[int, ...]) -> Encoder:
    """The encoder that a recipe states.

    Args:
        config: As the recipe has it; the vocabulary is known where ids are embedded.
        shape: Of one example's array: [width], [num_steps, width], [64, 64, 3], [128, 128], or [num_ids].

    Raises:
        ConfigError: The kind does not read such arrays, or a number does not fit them.
    """
    _check(config)
    what, axes = ("ids", 1) if config.embedding else ("arrays", 2)
    if config.kind == "cnn" and shape in _PLANES and not config.embedding:
        return PlaneCnnEncoder(config, shape)
    if config.kind in _OF_VECTORS and len(shape) in (1, axes):
        return _OF_VECTORS[config.kind](config, shape[-1])
    if config.kind in _OF_SEQUENCES and len(shape) == axes:
        return _OF_SEQUENCES[config.kind](config, shape[-1])
    message = f"an encoder of kind {config.kind!r} does not read {what} of shape {list(shape)};"
    message += (
        " take linear or mlp for vectors, cnn for raw inputs, lstm, gru, transformer or cnn for sequences and ids"
    )
    raise ConfigError(message)


def _check(config: EncoderConfig) -> None:
    if config.kind == "cnn" and config.kernel % 2 == 0:
        message = f"a cnn's kernel of {config.kernel} has no middle; write {config.kernel - 1} or {config.kernel + 1}"
        raise ConfigError(message)
    if config.kind == "transformer" and config.size % config.heads:
        message = f"{config.heads} heads do not divide an encoder's size of {config.size}; write heads that do"
        raise ConfigError(message)
    if config.embedding > 0 and config.vocabulary < 2:
        message = f"an encoder embeds ids of a vocabulary of {config.vocabulary}; write how many ids the tokenizer has"
        raise ConfigError(message)
