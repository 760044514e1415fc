"""Checkpoints: a training's whole state as one file, so that a killed run goes on and ends with the same bits.

The file is safetensors, nothing in it is ever unpickled. It is written beside, then renamed, and carries a checksum;
the one before it stays, in case a failing disk cut the newest short.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from features.errors import ModelError
from features.fusion.state_tensors import joined, part_of

if TYPE_CHECKING:
    from pathlib import Path

FORMAT_VERSION = 1
"""Version of the meta data of `TrainingState`; a newer one is refused."""

_META, _CHECKSUM = "triptych.meta", "triptych.checksum"
_HEADER_BYTES = 8
_PARTS = ("model", "best", "optimiser", "random")


@dataclass(frozen=True)
class TrainingState:
    """All that a training needs to go on as if nothing had happened.

    Attributes:
        identity: What is trained, on what, by which seed (such as a hash of recipe, examples and seed); a checkpoint of
            another is refused.
        num_epochs: Epochs that are done.
        num_steps: Steps that are done.
        best_epoch: Epoch of the best weights; -1 before there are any.
        history: Figures of each epoch that is done, in columns that the training knows.
        model: Weights now, as of `state_dict`; those of several modules under `joined` names.
        best: The best weights; empty before there are any.
        optimiser: See `state_tensors.optimiser_tensors`.
        random: See `state_tensors.random_tensors`.
    """

    identity: str
    num_epochs: int
    num_steps: int
    best_epoch: int
    history: tuple[tuple[float, ...], ...]
    model: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    optimiser: Mapping[str, Tensor]
    random: Mapping[str, Tensor]

    def to_tensors(self) -> tuple[dict[str, Tensor], str]:
        """Its tensors by name, and the rest as JSON."""
        numbers = {
            "format_version": FORMAT_VERSION,
            "identity": self.identity,
            "num_epochs": self.num_epochs,
            "num_steps": self.num_steps,
            "best_epoch": self.best_epoch,
            "history": self.history,
        }
        return joined({part: getattr(self, part) for part in _PARTS}), json.dumps(numbers)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], meta: str) -> TrainingState:
        """What `to_tensors` gave.

        Raises:
            ModelError: A newer Triptych wrote it, or it is no such thing.
        """
        try:
            numbers = json.loads(meta)
            version = numbers.pop("format_version")
            if version <= FORMAT_VERSION:
                numbers["history"] = tuple(tuple(row) for row in numbers["history"])
                return cls(**numbers | {part: part_of(tensors, part) for part in _PARTS})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"this is no state of a training: {meta[:80]!r} ({error}); delete the checkpoint and train anew"
            raise ModelError(message) from error
        message = f"the state of the training has format {version}, this Triptych reads up to {FORMAT_VERSION};"
        raise ModelError(message + " use the newer Triptych that wrote it, or delete the checkpoint and train anew")


class Found(NamedTuple):
    """A checkpoint that was read.

    Attributes:
        path: Its file: the newest, or the one before it.
        tensors: By name.
        meta: JSON, as it was given.
        problem: Why it is not the newest one; empty where it is.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    meta: str
    problem: str = ""


def save_training(path: Path, state: TrainingState) -> None:
    """Write the state of a training; see `save_state`."""
    save_state(path, *state.to_tensors())


def load_training(path: Path, identity: str) -> tuple[TrainingState, str] | None:
    """The newest whole state of a training, and what was wrong with a newer one (empty: nothing); None: there is none.

    Raises:
        ModelError: No checkpoint that is there is whole, or it is of another training than `identity`.
    """
    found = load_newest(path)
    if found is None:
        return None
    state = TrainingState.from_tensors(found.tensors, found.meta)
    if state.identity != identity:
        message = f"checkpoint {str(found.path)!r} is of another training ({state.identity!r}, not {identity!r}):"
        raise ModelError(message + " its recipe, examples or seed differ; delete it to train anew")
    return state, found.problem


def save_state(path: Path, tensors: Mapping[str, Tensor], meta: str = "{}") -> None:
    """Write a checkpoint, whole or not at all; the one that was at `path` stays as `previous_of(path)`.

    Args:
        path: Where; folders are made.
        tensors: By name, of any kind and shape.
        meta: JSON that goes with them.

    Raises:
        ModelError: It cannot be written; what was there stays as it was.
    """
    content = _serialise(tensors, meta)
    waiting = path.with_name(f".{path.name}.writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with waiting.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            path.replace(previous_of(path))
        waiting.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            waiting.unlink(missing_ok=True)
        message = f"cannot write checkpoint {str(path)!r} ({error.strerror or error}); the last good one stays:"
        raise ModelError(message + " free space or rights, then train again, which goes on from it") from error


def load_state(path: Path) -> Found:
    """Read one checkpoint.

    Raises:
        ModelError: It is missing, cut short, or otherwise not what was written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = path.read_bytes()
        tensors = load(content)
        size = int.from_bytes(content[:_HEADER_BYTES], "little")
        header = json.loads(content[_HEADER_BYTES : _HEADER_BYTES + size])
        meta, checksum = header["__metadata__"][_META], header["__metadata__"][_CHECKSUM]
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise _damaged(path, reason) from error
    if _checksum(tensors, meta) != checksum:
        raise _damaged(path, "its checksum does not match")
    return Found(path, tensors, meta)


def load_newest(path: Path) -> Found | None:
    """The newest whole checkpoint: that at `path`, or the one before it; None where there is none.

    Raises:
        ModelError: There are some, and none is whole.
    """
    problems: list[str] = []
    for place in (path, previous_of(path)):
        if place.exists():
            try:
                return load_state(place)._replace(problem="; ".join(problems))
            except ModelError as error:
                problems.append(str(error))
    if problems:
        raise ModelError("; ".join(problems))
    return None


def forget_state(path: Path) -> None:
    """Remove the checkpoints at `path`, of a training that is done."""
    for place in (path, previous_of(path), path.with_name(f".{path.name}.writing")):
        place.unlink(missing_ok=True)


def previous_of(path: Path) -> Path:
    """Where the checkpoint before the newest lies."""
    return path.with_name(f"{path.name}.previous")


def _serialise(tensors: Mapping[str, Tensor], meta: str) -> bytes:
    from safetensors.torch import save

    # cloned, for safetensors refuses tensors that share memory, such as tied weights
    alone = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    return save(alone, {_META: meta, _CHECKSUM: _checksum(alone, meta)})


def _checksum(tensors: Mapping[str, Tensor], meta: str) -> str:
    """Hex of a BLAKE2b-128 of names, kinds, shapes, numbers and meta data."""
    digest = blake2b(meta.encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _damaged(path: Path, reason: str) -> ModelError:
    first_line = reason.partition("\n")[0]
    return ModelError(f"checkpoint {str(path)!r} is damaged ({first_line}); delete it to train anew")


def _sync_folder(folder: Path) -> None:
    """Let the renaming outlive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
