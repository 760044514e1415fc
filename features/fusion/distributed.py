"""Training over processes of one machine: they share each batch, and add up what they learn of it.

Gloo joins them, or NCCL where each has a GPU of its own. What a process returns comes back as safetensors, and what
ends one ends all.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from multiprocessing import connection, resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, NamedTuple, ParamSpec

import torch
from torch import Tensor, distributed, multiprocessing

from features import errors
from features.errors import ModelError, TriptychError

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

_LONGEST_WAIT = timedelta(days=7)  # a process may work alone for long; one that died is seen otherwise
_LAST_SECONDS = 3.0
_PR_SET_PDEATHSIG = 1

P = ParamSpec("P")


class Rank(NamedTuple):
    """Which of the processes this is, from 0, how many there are, and the device that it computes on."""

    rank: int
    num_ranks: int
    device: torch.device


def run_processes(
    function: Callable[Concatenate[Rank, P], Mapping[str, Tensor]],
    num_processes: int,
    *args: P.args,
    **kwargs: P.kwargs,
) -> tuple[dict[str, Tensor], ...]:
    """Run a function in several processes that can reach each other; one alone runs here.

    Args:
        function: Of a module's top level, for each process imports it; called with its rank and the arguments.
        num_processes: At least 1.
        *args: Passed to each; tensors lie in memory that all share, everything else is copied.
        **kwargs: Likewise.

    Returns:
        What each gave, by rank, on the CPU.

    Raises:
        TriptychError: The one that a process raised.
        ModelError: A process failed otherwise, or was ended by a signal. Those that were left are ended too.
    """
    if num_processes == 1:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return (_on_cpu(function(Rank(0, 1, device), *args, **kwargs)),)
    with tempfile.TemporaryDirectory(prefix="triptych-processes-") as name:
        folder = Path(name)
        processes: list[SpawnProcess] = []
        try:
            _start(processes, num_processes, (folder, function, args, kwargs))
            _wait(processes)
            codes = [process.exitcode for process in processes]
        finally:
            _end(processes)
        if any(codes):
            raise _failure(folder, codes)
        return tuple(_results(folder, rank) for rank in range(num_processes))


def shard(indices: Tensor, rank: int, num_ranks: int, groups: Tensor | None = None) -> Tensor:
    """The part of a batch that a process takes: together, in the order of ranks, they are the batch.

    Args:
        indices: [batch, ...]; rows of the whole batch, the same in all processes.
        rank: From 0.
        num_ranks: Processes there are. Where they are more than rows, some have none.
        groups: Int64 [batch]; neighbours of the same number, such as the segments of a media, stay together.

    Returns:
        Neighbouring rows; the parts' sizes differ by one at most, or, with groups, as little as those allow.
    """
    count = len(indices)
    ends = [count * part // num_ranks for part in (rank, rank + 1)]
    if groups is not None and count:
        places = torch.arange(count + 1)
        allowed = places[torch.cat([torch.tensor([True]), groups[1:] != groups[:-1], torch.tensor([True])])]
        ends = [int(allowed[(allowed - end).abs().argmin()]) for end in ends]
    return indices[ends[0] : ends[1]]


def average_gradients(model: torch.nn.Module | Iterable[torch.nn.Module], weight: float) -> None:
    """Give each process the weighted mean of all gradients: that of the whole batch, if each has the mean of its part.

    DistributedDataParallel takes the plain mean: the rows of a smaller part, such as of an uneven last batch, or of one
    with fewer labels, would count for more. All parameters go in one piece of memory, in one exchange; one that has a
    gradient nowhere still has none. A process alone keeps what it has.

    Args:
        model: The same in all processes; or several.
        weight: Of this process's part: the sum of its loss weights; 0 for a part without any row.
    """
    _reduce(model, weight, mean=True)


def sum_gradients(model: torch.nn.Module | Iterable[torch.nn.Module]) -> None:
    """Give each process the sum of all gradients: that of the whole batch, if each has its share of the batch's loss.

    This is for several tasks, whose shares differ: a part's loss of a task times its loss weight over the batch's.
    """
    _reduce(model, 1.0, mean=False)


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes, in each of them."""
    return torch.stack(gather(values)).sum(dim=0)


def gather(values: Tensor) -> list[Tensor]:
    """A tensor of each process, all of one shape, by rank, in each of them."""
    if not distributed.is_initialized():
        return [values]
    here = values.to(_exchange_device()).contiguous()
    found = [torch.empty_like(here) for _ in range(distributed.get_world_size())]
    distributed.all_gather(found, here)
    return [each.to(values.device) for each in found]


def _reduce(model: torch.nn.Module | Iterable[torch.nn.Module], weight: float, *, mean: bool) -> None:
    if not distributed.is_initialized():
        return
    modules = [model] if isinstance(model, torch.nn.Module) else list(model)
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    there = torch.tensor([p.grad is not None for p in parameters])
    extra = torch.cat([there.to(gradients[0]), gradients[0].new_tensor([weight])])
    bucket = torch.cat([*(gradient.flatten() * weight for gradient in gradients), extra])
    distributed.all_reduce(bucket)
    *sums, there, total = torch.split(bucket, [*(p.numel() for p in parameters), len(parameters), 1])
    divisor = total if mean and float(total) else torch.ones_like(total)
    for parameter, found, is_there in zip(parameters, sums, there.tolist(), strict=True):
        parameter.grad = (found / divisor).view_as(parameter).to(parameter.dtype) if is_there else None


def _exchange_device() -> torch.device:
    """Where tensors must lie to be exchanged."""
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")


def _start(processes: list[SpawnProcess], num_processes: int, work: tuple[object, ...]) -> None:
    """Start processes that do not hear Ctrl-C: this one hears it, and ends them."""
    context = multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # else it would be started below, and let the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        for rank in range(num_processes):
            process = context.Process(target=_main, args=(rank, num_processes, os.getpid(), *work), daemon=True)
            process.start()
            processes.append(process)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait(processes: Sequence[SpawnProcess]) -> None:
    """Wait for all to end; once one fails, the others, which it leaves without an answer, have a moment to."""
    end: float | None = None
    while alive := [process for process in processes if process.is_alive()]:
        seconds = None if end is None else end - time.monotonic()
        if seconds is not None and seconds <= 0:
            return
        connection.wait([process.sentinel for process in alive], seconds)
        if end is None and any(process.exitcode for process in processes):
            end = time.monotonic() + _LAST_SECONDS


def _end(processes: Sequence[SpawnProcess]) -> None:
    """End those that still run."""
    for process in processes:
        if process.is_alive():
            process.kill()  # there is nothing that they would have to put in order
    for process in processes:
        process.join()


def _failure(folder: Path, codes: Sequence[int | None]) -> TriptychError:
    """What ended the processes: a signal that one was sent, else the first error that one had."""
    count = len(codes)
    for rank, code in enumerate(codes):
        if code is not None and code < 0:
            message = f"training process {rank} of {count} (from 0) was ended by {signal.Signals(-code).name};"
            message += " if memory is short, take fewer --processes or a smaller batch_size, then train again"
            return ModelError(message)
    told = [(rank, json.loads(text)) for rank in range(count) if (text := _read(folder / f"{rank}.json"))]
    if not told:
        ended = {rank: code for rank, code in enumerate(codes) if code}
        return ModelError(f"training processes ended with exit status {ended}; see what they wrote, then train again")
    rank, error = min(told, key=lambda item: item[1]["at_ns"])
    kind = getattr(errors, error["kind"], None)
    if isinstance(kind, type) and issubclass(kind, TriptychError):
        return kind(error["message"])
    message = f"training process {rank} of {count} (from 0) failed with {error['kind']}: {error['message']};"
    failure = ModelError(f"{message} train with --processes 1 to see whether one process has it too")
    failure.add_note(error["trace"])
    return failure


def _read(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


def _results(folder: Path, rank: int) -> dict[str, Tensor]:
    from safetensors.torch import load

    return load((folder / f"{rank}.safetensors").read_bytes())


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}


def _main(
    rank: int,
    num_ranks: int,
    parent_pid: int,
    folder: Path,
    function: Callable[..., Mapping[str, Tensor]],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> None:
    """What each process does."""
    from safetensors.torch import save_file

    _die_with(parent_pid)
    try:
        result = function(_join(rank, num_ranks, folder), *args, **kwargs)
        save_file(_on_cpu(result), folder / f"{rank}.safetensors")
        distributed.destroy_process_group()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told to the process that waits
        told = {"kind": type(error).__name__, "message": str(error), "trace": traceback.format_exc()}
        written = folder / f".{rank}.json"
        written.write_text(json.dumps({**told, "at_ns": time.monotonic_ns()}), "utf-8")
        written.rename(folder / f"{rank}.json")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # an orderly end could wait for the others


def _join(rank: int, num_ranks: int, folder: Path) -> Rank:
    """Meet the other processes over a file."""
    has_gpus = torch.cuda.is_available() and torch.cuda.device_count() >= num_ranks
    device = torch.device("cuda", rank) if has_gpus else torch.device("cpu")
    if has_gpus:
        torch.cuda.set_device(device)
    torch.set_num_threads(max(1, torch.get_num_threads() // num_ranks))
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "")
    if loopback:  # they are all here, and a host's name may lead nowhere
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
    distributed.init_process_group(
        "nccl" if has_gpus else "gloo",
        store=distributed.FileStore(str(folder / "rendezvous"), num_ranks),  # type: ignore[attr-defined] # not in __all__
        rank=rank,
        world_size=num_ranks,
        timeout=_LONGEST_WAIT,
        device_id=device if has_gpus else None,
    )
    return Rank(rank, num_ranks, device)


def _die_with(parent_pid: int) -> None:
    """Let the kernel kill this process with the one that waits for it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before
        os._exit(1)
