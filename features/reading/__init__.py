"""Reading features back: aligned with segments, batch by batch, without loading the store."""

from features.reading.columns import Padded
from features.reading.open import FeatureReader, open_features

__all__ = ["FeatureReader", "Padded", "open_features"]
