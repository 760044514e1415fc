"""`level`: how loud the sound is, every half second."""

import numpy as np

from features.extractors.function import from_function


@from_function("level", modality="audio", shape=(2,), window_seconds=0.5, units="dB relative to full scale")
def level(samples: np.ndarray) -> np.ndarray:
    """Mean power and peak; silence lies at -100 dB."""
    return 10 * np.log10(np.maximum([np.mean(samples**2), np.max(samples**2)], 1e-10))
