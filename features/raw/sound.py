"""`log_mel_128`: a segment's sound as a picture of its spectrum over time."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from features.extractors.rows import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float32]
    Samples = npt.NDArray[np.float32]

N_MELS = 128
NUM_FRAMES = 128
N_FFT = 1024
HOP_LENGTH = 512
NUM_SAMPLES = NUM_FRAMES * HOP_LENGTH
"""Samples that a patch stands for: 4.096 s."""

TOP_DB = 80.0
SILENT_POWER = 1e-10


def log_mel_128(samples: Samples) -> Array:
    """A log-mel patch of 4.096 s at the middle of a sound.

    128 mel bands (Slaney's, 0 to 8 kHz) of 128 frames of 64 ms (Hann), 32 ms apart. The scale is the patch's own: 1 is
    its loudest band, 0 is 80 dB and more below that, so how loud the sound is does not matter. Zeros are quiet bands,
    silence (all of it: no power above 1e-10), and the frames after the end of a shorter sound.

    Args:
        samples: Float32 in [-1, 1], shape [num_samples], at 16 kHz; of more than 65,536 the middle ones count.

    Returns:
        Float32 in [0, 1], shape [128, 128]: bands from low to high, by time. The first `num_frames_of(num_samples)`
        frames are sound.

    Source:
        librosa 0.11, `feature.melspectrogram` and `power_to_db(ref=np.max, top_db=80)`.

    Reference:
        Hershey et al. (2017), arXiv:1609.09430 (log-mel patches as pictures).
    """
    from librosa import stft

    patch = np.zeros((N_MELS, NUM_FRAMES), np.float32)
    middle = samples[max(0, len(samples) - NUM_SAMPLES) // 2 :][:NUM_SAMPLES]
    count = num_frames_of(len(middle))
    if not count:
        return patch
    heard = np.pad(middle, (0, max(0, N_FFT - len(middle))))  # stft warns of less than a window
    spectrum = stft(heard, n_fft=N_FFT, hop_length=HOP_LENGTH, pad_mode="constant")[:, :count]
    power = _filters() @ np.square(np.abs(spectrum))
    loudest = float(power.max())
    if loudest > SILENT_POWER:
        decibels = 10 * np.log10(np.maximum(power / loudest, 10 ** (-TOP_DB / 10)))
        patch[:, :count] = np.clip(decibels / TOP_DB + 1, 0, 1)
    return patch


def num_frames_of(num_samples: int) -> int:
    """Frames of a patch that are sound, 0 to 128, of a sound of so many samples."""
    return min(NUM_FRAMES, -(-num_samples // HOP_LENGTH))


@cache
def _filters() -> Array:
    from librosa.filters import mel

    return np.asarray(mel(sr=SAMPLE_RATE_HZ, n_fft=N_FFT, n_mels=N_MELS), np.float32)
