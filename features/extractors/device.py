"""Where a model runs: the device, and how many threads it may take."""

from __future__ import annotations

import os
import sys

from features.errors import ConfigError

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
