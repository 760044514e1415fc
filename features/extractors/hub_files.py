"""Files of a model in a folder: whether they are all there and whole, what they hash to, under what licence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import ExtractionError
from features.extractors.weights import fingerprint_files

if TYPE_CHECKING:
    from collections.abc import Iterable

INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"
UNSTATED = "unstated"

_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000  # safetensors' own limit
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
_AGAIN = "the download was interrupted or the file was cut; fetch the model again"


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model, each with all the bytes that its header promises.

    Args:
        folder: Folder of the model: one file, or an index and its shards.

    Raises:
        ExtractionError: There are none, there are pickled ones only, one is missing, or one is cut.
    """
    index = folder / INDEX
    names = sorted(set(_shards(index))) if index.is_file() else [WEIGHTS]
    paths = [folder / name for name in names]
    missing = [path for path in paths if not path.is_file()]
    if missing and index.is_file():
        message = f"shard {str(missing[0])!r}, which {INDEX} names, is missing; {_AGAIN}"
        raise ExtractionError(message)
    if missing:
        raise ExtractionError(_without_weights(folder))
    for path in paths:
        check_safetensors(path)
    return paths


def check_safetensors(path: Path) -> None:
    """Compare the size of a safetensors file with what its header says.

    Raises:
        ExtractionError: The file has fewer bytes, or no header.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        header = file.read(min(length, _LONGEST_HEADER))
    try:
        tensors = json.loads(header)
        ends = [tensor["data_offsets"][1] for name, tensor in tensors.items() if name != "__metadata__"]
        wanted = _LENGTH_BYTES + length + max(ends, default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        message = f"weights {str(path)!r} have no whole safetensors header in their {size} bytes; {_AGAIN}"
        raise ExtractionError(message) from error
    if size < wanted:
        message = f"weights {str(path)!r} have {size} bytes of the {wanted} that their header promises; {_AGAIN}"
        raise ExtractionError(message)


def check_finished(folder: Path) -> None:
    """Refuse a folder with what a download left half done.

    Args:
        folder: The files themselves, or a model's folder in the hub's cache, whose files lie under `blobs`.

    Raises:
        ExtractionError: An `*.incomplete` lies there.
    """
    places = (folder, folder / ".cache" / "huggingface" / "download", folder / "blobs")
    left = sorted(path for place in places for path in place.glob("*.incomplete"))
    if left:
        message = (
            f"{str(left[0])!r} is left of an interrupted download; fetch the model again, "
            "or remove that file if you know the rest to be whole"
        )
        raise ExtractionError(message)


def read_json(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """A JSON file.

    Raises:
        ExtractionError: It is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        message = f"no {path.name!r} in {str(path.parent)!r}; name the folder of a whole model, or fetch it again"
        raise ExtractionError(message) from error
    except ValueError as error:
        message = f"{str(path)!r} is no whole JSON ({error}); {_AGAIN}"
        raise ExtractionError(message) from error


def fingerprint_of(paths: Iterable[Path]) -> str:
    """`weights.fingerprint_files`, in the order of the files' names.

    Returns:
        16 hexadecimal digits.
    """
    return fingerprint_files(sorted(paths, key=lambda path: path.name))


def licence_of(folder: Path) -> str:
    """The licence that the front matter of a model's card states, or `unstated`."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    front = re.match(r"---\r?\n(.*?)\r?\n---", text, re.DOTALL)
    stated = (
        dict(re.findall(r"^(licen[sc]e(?:_name)?):[ \t]*[\"']?([^\s\"'#]+)", front.group(1), re.MULTILINE))
        if front
        else {}
    )
    licence = stated.get("license") or stated.get("licence") or UNSTATED
    return str(stated.get("license_name", licence) if licence == "other" else licence)


def _shards(index: Path) -> list[str]:
    found = read_json(index)
    weight_map = found.get("weight_map") if isinstance(found, dict) else None
    names = [str(name) for name in weight_map.values()] if isinstance(weight_map, dict) else []
    if not names or any(Path(name).name != name for name in names):
        message = f"{str(index)!r} names no shards beside it; {_AGAIN}"
        raise ExtractionError(message)
    return names


def _without_weights(folder: Path) -> str:
    pickled = sorted(path.name for pattern in _PICKLED for path in folder.glob(pattern))
    if pickled:
        return (
            f"{str(folder)!r} has its weights in {pickled[0]!r} alone, which could run code when loaded; convert them: "
            "load the model where you trust it and save it with save_pretrained, which writes safetensors"
        )
    return f"no {WEIGHTS!r} in {str(folder)!r}; fetch the model again, or a revision of it that has safetensors"
