"""What `mfcc` costs against plain librosa calls in a loop, one thread, and how far the values differ; in one run.

Run by `python -m tests.benchmarks.mfcc`. Windows of 1 s and of 2 s of speech where the shared folder is there, else of
noise; ours takes them as the extractor does, from samples to vectors, in batches of the extractor's size. Both are
repeated in turns and the best time counts, for these machines are noisy. The second column of librosa is a loop whose
mel filters are made once, which is as fast as librosa's own functions allow.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import librosa
import numpy as np
from librosa.filters import mel

from features.extractors.mfcc import DELTA_WIDTH, N_MFCC, Mfcc, MfccModel
from features.extractors.rows import SAMPLE_RATE_HZ, SoundWindow
from features.extractors.spectra import HOP_LENGTH, N_FFT, N_MELS
from features.identity import MICROSECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

SPEECH = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "ravdess" / "audio"
ROUNDS = 5
TOTAL_SECONDS = 128
TARGETS = {1: 3.0, 2: 2.0}
LARGEST_DIFFERENCE = 1e-3


def main() -> None:
    """Print a line a length of window."""
    extractor = Mfcc()
    model = extractor.load("cpu")  # it takes one thread, and librosa then has one too
    filters = mel(sr=SAMPLE_RATE_HZ, n_fft=N_FFT, n_mels=N_MELS)
    for seconds, target in TARGETS.items():
        items = windows(seconds)
        batches = [items[begin : begin + extractor.batch_size] for begin in range(0, len(items), extractor.batch_size)]
        ours, plain, kept = fastest(
            partial(_in_batches, extractor, model, batches),
            partial(_in_a_loop, items, None),
            partial(_in_a_loop, items, filters),
        )
        difference = np.abs(np.array(ours[1]) - np.array(plain[1])).max()
        print(
            f"{seconds} s windows: librosa {plain[0] / len(items) * 1e3:.2f} ms, its filters made once "
            f"{kept[0] / len(items) * 1e3:.2f} ms, ours {ours[0] / len(items) * 1e3:.2f} ms a window\n"
            f"  ratio {plain[0] / ours[0]:.1f} (target: at least {target:.0f}), with its filters made once "
            f"{kept[0] / ours[0]:.1f}; largest difference {difference:.1e} (target: at most {LARGEST_DIFFERENCE})",
            flush=True,
        )


def _in_batches(extractor: Mfcc, model: MfccModel, batches: Sequence[Sequence[SoundWindow]]) -> list[Array]:
    return [row for batch in batches for row in extractor(model, batch)]


def _in_a_loop(items: Sequence[SoundWindow], filters: Array | None) -> list[Array]:
    return [plain_mfcc(item.samples, filters) for item in items]


def plain_mfcc(samples: Array, filters: Array | None = None) -> Array:
    """The statistics by librosa's own functions, one window: float32, shape [80]."""
    if filters is None:
        mfcc = librosa.feature.mfcc(
            y=samples, sr=SAMPLE_RATE_HZ, n_mfcc=N_MFCC, n_fft=N_FFT, hop_length=HOP_LENGTH, n_mels=N_MELS
        )
    else:
        power = np.abs(librosa.stft(samples, n_fft=N_FFT, hop_length=HOP_LENGTH)) ** 2
        mfcc = librosa.feature.mfcc(S=librosa.power_to_db(filters @ power), n_mfcc=N_MFCC)
    delta = librosa.feature.delta(mfcc, width=DELTA_WIDTH)
    return np.concatenate([mfcc.mean(1), mfcc.std(1), delta.mean(1), delta.std(1)])


def windows(seconds: int) -> list[SoundWindow]:
    """Windows of one length, one after the other."""
    size = seconds * SAMPLE_RATE_HZ
    return [
        SoundWindow(index * seconds * MICROSECONDS, (index + 1) * seconds * MICROSECONDS, samples)
        for index, samples in enumerate(_sound().reshape(-1, size))
    ]


def fastest(*works: Callable[[], Sequence[Array]]) -> list[tuple[float, Sequence[Array]]]:
    """The best time in seconds of each, taken in turns, and what it gave."""
    times: list[list[float]] = [[] for _ in works]
    results: list[Sequence[Array]] = [work() for work in works]
    for _ in range(ROUNDS):
        for index, work in enumerate(works):
            begun = time.perf_counter()
            results[index] = work()
            times[index].append(time.perf_counter() - begun)
    return [(min(own), result) for own, result in zip(times, results, strict=True)]


def _sound() -> Array:
    num_samples = TOTAL_SECONDS * SAMPLE_RATE_HZ
    if not SPEECH.is_dir():
        return np.random.default_rng(0).normal(0, 0.1, num_samples).astype(np.float32)
    import soundfile

    clips = [soundfile.read(path, dtype="float32")[0] for path in sorted(SPEECH.glob("*.flac"))[::15]]
    return np.concatenate(clips)[:num_samples]


if __name__ == "__main__":
    main()
