"""Encoders: one modality's array - vector, sequence, ids, picture, patch - to a vector of the encoder's size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.errors import ConfigError
from features.fusion.encoders.base import Encoder, Standardise
from features.fusion.encoders.pictures import PlaneCnnEncoder
from features.fusion.encoders.sequences import RecurrentEncoder, TemporalCnnEncoder, TransformerEncoder
from features.fusion.encoders.vectors import LinearEncoder, MlpEncoder

if TYPE_CHECKING:
    from features.fusion.configs import EncoderConfig

__all__ = ["Encoder", "Standardise", "build_encoder"]

_OF_VECTORS: dict[str, type[LinearEncoder] | type[MlpEncoder]] = {"linear": LinearEncoder, "mlp": MlpEncoder}
_OF_SEQUENCES: dict[str, type[RecurrentEncoder] | type[TransformerEncoder] | type[TemporalCnnEncoder]] = {
    "lstm": RecurrentEncoder,
    "gru": RecurrentEncoder,
    "transformer": TransformerEncoder,
    "cnn": TemporalCnnEncoder,
}
_PLANES = ((64, 64, 3), (128, 128))


def build_encoder(config: EncoderConfig, shape: tuple[int, ...]) -> Encoder:
    """The encoder that a recipe states.

    Args:
        config: As the recipe has it; the vocabulary is known where ids are embedded.
        shape: Of one example's array: [width], [num_steps, width], [64, 64, 3], [128, 128], or [num_ids].

    Raises:
        ConfigError: The kind does not read such arrays.
    """
    if config.kind == "cnn" and shape in _PLANES:
        return PlaneCnnEncoder(config, shape)
    if config.kind in _OF_VECTORS and not config.embedding and len(shape) <= 2:
        return _OF_VECTORS[config.kind](config, shape[-1])
    if config.kind in _OF_SEQUENCES and (config.embedding or len(shape) == 2):
        return _OF_SEQUENCES[config.kind](config, shape[-1])
    message = f"an encoder of kind {config.kind!r} does not read arrays of shape {list(shape)};"
    message += (
        " take linear or mlp for vectors, cnn for raw inputs, lstm, gru, transformer or cnn for sequences and ids"
    )
    raise ConfigError(message)
