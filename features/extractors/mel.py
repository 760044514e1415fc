"""`mel`: how the sound's power lies over frequency, second by second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from features.extractors.device import limit_threads
from features.extractors.rows import SAMPLE_RATE_HZ, SoundWindow
from features.extractors.simple import RowAWindow
from features.extractors.spectra import (
    HOP_LENGTH,
    N_FFT,
    N_MELS,
    SHORTEST_US,
    TOP_DB,
    WINDOW_US,
    LogMel,
    for_each_length,
)
from features.spec import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float32]


class Mel(RowAWindow):
    """Log-mel bands, summed up a second: what `mfcc` keeps 20 coefficients of, in full.

    Source: librosa 0.11, `power_to_db(feature.melspectrogram(y))`, called for each window alone; ours takes windows of
        equal length together and gives the same to 1e-3.
    Shape: [128]: mean of 64 bands from 0 to 8 kHz, low to high, then their standard deviation over the frames; in
        decibels relative to a power of 1, at least -100 and at least the window's own maximum less 80.
    Rate: one row a second of sound, as of `mfcc`. Digital silence has rows: they are real values.
    Licence of the weights: there are none.

    Reference:
        Stevens, Volkmann & Newman (1937), doi:10.1121/1.1915893; filters of Slaney's Auditory Toolbox (1998).
    """

    spec = FeatureSpec(
        name="mel",
        version=1,
        modality="audio",
        inputs="audio",
        shape=(2 * N_MELS,),
        rate="one a second",
        units="dB relative to a power of 1",
        source="librosa 0.11: feature.melspectrogram, power_to_db",
        parameters=(
            ("sample_rate_hz", str(SAMPLE_RATE_HZ)),
            ("n_fft", str(N_FFT)),
            ("hop_length", str(HOP_LENGTH)),
            ("n_mels", str(N_MELS)),
            ("top_db", str(TOP_DB)),
            ("window_us", str(WINDOW_US)),
            ("shortest_us", str(SHORTEST_US)),
            ("statistics", "mean, std of bands"),
        ),
    )

    window_us = WINDOW_US
    shortest_us = SHORTEST_US

    def load(self, device: str) -> LogMel:
        """Make the mel filters; it computes on the CPU, whatever the device."""
        model = LogMel()
        limit_threads()
        return model

    def __call__(self, model: LogMel, items: Sequence[SoundWindow]) -> Sequence[Array]:
        """A vector of 128 a window."""
        return for_each_length(items, lambda samples: _statistics(model(samples)))


def _statistics(log_mel: Array) -> Array:
    """Mean and standard deviation over the frames of [num_windows, num_frames, N_MELS]."""
    return np.concatenate([log_mel.mean(axis=1), log_mel.std(axis=1)], axis=1)
