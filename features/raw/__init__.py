"""Raw inputs for networks that are trained with the fusion: pure functions of a picture, of a segment's sound."""

from features.raw.pictures import frame64
from features.raw.sound import log_mel_128

__all__ = ["frame64", "log_mel_128"]
