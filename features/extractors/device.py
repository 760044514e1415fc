"""Where a model runs: the device, and how many threads it may take."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from features.errors import ConfigError

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

THREADS_VARIABLE = "TRIPTYCH_THREADS"
"""Environment variable: threads a worker process may take for a model; 1 where it is not set."""


def pick_device(device: str) -> str:
    """Device of this machine for a name that a user may write.

    Args:
        device: `cpu`, `cuda`, `cuda:<n>`, or `auto` (the first GPU where there is one, else the CPU).

    Returns:
        Name that torch takes: `cpu` or `cuda:<n>`.

    Raises:
        ConfigError: This machine has no such device; the message lists those there are.
    """
    there = available_devices()
    wanted = {"auto": there[-1] if len(there) == 1 else there[1], "cuda": "cuda:0"}.get(device, device)
    if wanted not in there:
        message = f"no device {device!r} on this machine (there are: {', '.join(there)}); use one of them, or 'auto'"
        raise ConfigError(message)
    return wanted


def available_devices() -> tuple[str, ...]:
    """Devices of this machine by torch's names, the CPU first."""
    import torch

    return ("cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count())))


def is_gpu(device: str) -> bool:
    """Whether a name of `pick_device` is that of a GPU."""
    return device != "cpu"


def decode_threads(device: str, wanted: int) -> int:
    """Threads that decode pictures and sound ahead of a model.

    Args:
        device: As of `pick_device`.
        wanted: So many; 0: none beside a model on the CPU, which has its one core to itself, else up to 8.
    """
    if wanted:
        return wanted
    return min(8, os.cpu_count() or 1) if is_gpu(pick_device(device)) else 0


def to_device(array: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """An array on a device; to a GPU it is copied from pinned memory while the CPU goes on."""
    import torch

    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def num_threads() -> int:
    """Threads that a model may take in this process.

    Raises:
        ConfigError: `TRIPTYCH_THREADS` is not a whole number of at least 1.
    """
    text = os.environ.get(THREADS_VARIABLE, "1")
    if not text.isdecimal() or int(text) < 1:
        message = f"{THREADS_VARIABLE} is {text!r}; set it to a whole number of at least 1, or unset it"
        raise ConfigError(message)
    return int(text)


def limit_threads() -> None:
    """Hold torch, BLAS and OpenMP to `num_threads()`: two workers that take two cores each run slower than one."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=num_threads())
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(num_threads())
