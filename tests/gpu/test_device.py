"""On a GPU: the same rows as on the CPU, memory that really runs out, one model for two processes.

`make test-gpu` runs these; without a GPU they are skipped, and nothing has been shown.
"""

from __future__ import annotations

import numpy as np
import pytest

from features.errors import ConfigError
from features.extractors.base import Extractor
from features.extractors.device import available_devices, pick_device
from features.extractors.engine import extract_media
from features.extractors.registry import default_extractors, get_extractor
from features.records import FeatureRow, MediaRows
from tests.extractors.making import chunks_of, frames_of, media, picture, sine, utterances_of

pytestmark = pytest.mark.gpu


def archive() -> list[MediaRows]:
    words = ("a fine day", "who would have thought", "that it rains", "no")
    return [
        media(
            str(number),
            frames=frames_of(picture(10 * number + index) for index in range(7)),
            audio=chunks_of(sine(5, 200 + 50 * number)),
            utterances=utterances_of(*words[: number + 1]),
        )
        for number in range(4)
    ]


def rows_on(device: str, extractor: Extractor, batch_size: int | None = None) -> np.ndarray:
    results = extract_media(extractor, extractor.load(device), archive(), batch_size=batch_size)
    found = [row.values for result in results for row in result.rows if isinstance(row, FeatureRow)]
    assert found
    return np.array(found)


def on_gpu() -> list[str]:
    return [name for name in default_extractors() if get_extractor(name).runs_on_gpu]


@pytest.mark.parametrize("name", on_gpu())
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_rows_agree_with_the_cpus(name: str, batch_size: int) -> None:
    extractor = get_extractor(name)
    ours, theirs = rows_on("cuda:0", extractor, batch_size), rows_on("cpu", extractor)
    assert np.abs(ours - theirs).max() <= 1e-3
    cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosine.min() >= 0.9999


def test_auto_is_the_gpu_and_a_wrong_name_lists_it() -> None:
    assert pick_device("auto") == "cuda:0"
    with pytest.raises(ConfigError, match="cuda:0"):
        pick_device(f"cuda:{len(available_devices())}")


def test_memory_that_runs_out_halves_the_batch() -> None:
    import torch

    extractor = get_extractor("efficientnet_lite0")
    expected = rows_on("cuda:0", extractor)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    used = torch.cuda.memory_reserved(0)
    torch.cuda.set_per_process_memory_fraction(min(1.0, (used + (96 << 20)) / total))
    try:
        found = rows_on("cuda:0", extractor, batch_size=4096)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert np.abs(found - expected).max() <= 1e-3
