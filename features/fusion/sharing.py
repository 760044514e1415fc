"""Arrays in a file without a name: larger than memory, gone with the last process that looks at them, and shared."""

from __future__ import annotations

import os
import tempfile
import weakref
from multiprocessing import context, reduction
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from features.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray


def shared_array(shape: Sequence[int], dtype: DTypeLike, folder: Path | None = None) -> NDArray[Any]:
    """An array of zeros in a file that has no name; a process that is started with it gets the file, not the numbers.

    In that process it may be written, which nobody else sees.

    Args:
        shape: At least one number in all.
        dtype: Kind of its numbers.
        folder: Where the file takes its room; by default the system's temporary folder.

    Raises:
        ModelError: The disk has no room for it.
    """
    size_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size_bytes)  # else a full disk would show as a bus error
        except OSError as error:
            message = f"cannot lay {size_bytes:,} bytes of aligned features in {str(folder or tempfile.gettempdir())!r}"
            message += f" ({error.strerror}); free space, or set TMPDIR to a larger disk"
            raise ModelError(message) from error
        return _mapped(file, np.dtype(dtype), tuple(shape), "r+")


def _reduce(array: NDArray[Any]) -> Any:  # noqa: ANN401 - as of pickle
    """The file of an array, where a process is being started with it; of any other mapped array the numbers."""
    descriptor = getattr(array, "_descriptor", None)
    if descriptor is None or context.get_spawning_popen() is None:
        return np.asarray(array).__reduce__()
    return _reopen, (reduction.DupFd(descriptor), array.dtype, array.shape)


def _reopen(descriptor: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:  # noqa: ANN401 - a DupFd
    with os.fdopen(descriptor.detach(), "rb") as file:
        return _mapped(file, dtype, shape, "c")


def _mapped(file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...], mode: Any) -> NDArray[Any]:  # noqa: ANN401
    """The array in a file, which stays open as long as the array is there."""
    array, descriptor = np.memmap(file, dtype, mode, shape=shape), os.dup(file.fileno())
    array._descriptor = descriptor  # type: ignore[attr-defined] # its parts, and what is computed of it, have none
    weakref.finalize(array, os.close, descriptor)
    return array


reduction.ForkingPickler.register(np.memmap, _reduce)
