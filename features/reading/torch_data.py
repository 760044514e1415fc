"""Segments as a Torch dataset: sharded over workers and ranks, shuffled by seed and epoch, resumable at a position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from features.errors import ConfigError
from features.identity import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from features.reading.open import FeatureReader

    Item = dict[str, Any]
    Columns = dict[str, NDArray[Any] | list[str]]

POSITION = "position"
"""Key of an item that a worker process made: which samples it holds, for `FeatureDataset.record`."""


class _Taken(NamedTuple):
    """How many samples of a block were taken, of how many."""

    block: int
    taken: int
    size: int


class Sharding(NamedTuple):
    """How batches are dealt out.

    Attributes:
        seed: Of the shuffling; None keeps the order of the store.
        block_batches: Store batches whose samples are shuffled together, and go to one worker together.
        rank: Which of `num_ranks` processes that share the data this is, from 0.
        num_ranks: How many there are.
    """

    seed: int | None = None
    block_batches: int = 8
    rank: int = 0
    num_ranks: int = 1


class FeatureDataset(IterableDataset[Any]):
    """Segments of an opened reader, as dictionaries of tensors by column; texts stay texts.

    Batches are put in an order by (seed, epoch) and cut into blocks of `block_batches`; the samples of a block are
    shuffled by (seed, epoch, block). Blocks are dealt to ranks, and within a rank to workers. So the order of blocks
    and the samples in each are the same for any number of workers, and only how blocks interleave depends on it; with
    the same number of workers, all of it is the same.

    A vector that is absent is zeros, with `<name>:present` False; a status that is null is `not extracted`.

    Iterating to the end moves on to the next epoch. Iterating after a stop in the middle, or after `load_state_dict`,
    gives exactly the samples that remain. With worker processes, use `loader`, or `record` what you took.
    """

    def __init__(
        self, reader: FeatureReader, sharding: Sharding | None = None, *, batch_size: int | None = None
    ) -> None:
        """Describe the dataset; nothing is read yet.

        Args:
            reader: What to read.
            sharding: How batches are dealt out.
            batch_size: Give batches of this many samples (pass `batch_size=None` to a DataLoader) instead of samples.
                The last of a worker may be smaller.

        Raises:
            ConfigError: A number is out of range.
        """
        self.reader = reader
        self.sharding = sharding or Sharding()
        self.batch_size = batch_size
        self.epoch = 0
        self._finished: set[int] = set()
        self._begun: dict[int, int] = {}
        _check(self.sharding, batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch; the one that is under way goes on where it stands."""
        if epoch != self.epoch:
            self.epoch, self._finished, self._begun = epoch, set(), {}

    def state_dict(self) -> dict[str, Any]:
        """The position after the samples taken so far, as plain JSON."""
        return {
            "dataset": self._identity(),
            "epoch": self.epoch,
            "finished": sorted(self._finished),
            "begun": {str(block): taken for block, taken in sorted(self._begun.items())},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on at a position; the number of workers may be another.

        Raises:
            ConfigError: The position is of other data, or of another shuffling.
        """
        own = self._identity()
        if state["dataset"] != own:
            other = sorted(name for name in own if state["dataset"].get(name) != own[name])
            message = f"the position is of another dataset (differs in {', '.join(other)}); open the same features"
            message += " with as_of=reader.versions, and give the same seed, block_batches and rank"
            raise ConfigError(message)
        self.epoch = int(state["epoch"])
        self._finished = set(state["finished"])
        self._begun = {int(block): int(taken) for block, taken in state["begun"].items()}

    def record(self, item: Item) -> Item:
        """Take an item from a worker process: the position moves past its samples, and the rest is returned."""
        position = item.pop(POSITION, None)
        if position is not None:
            self._move(np.asarray(position).reshape(-1, 3).tolist())
        return item

    def loader(self, *, num_workers: int = 0, **options: Any) -> Iterator[Item]:  # noqa: ANN401 - as DataLoader's
        """Iterate with worker processes, and keep the position by what was taken, not by what was read ahead.

        Args:
            num_workers: Worker processes.
            options: More for `torch.utils.data.DataLoader`; `batch_size` only for a dataset of single samples. Workers
                are spawned unless `multiprocessing_context` says otherwise: one forked from a process that has threads,
                Arrow's among them, may end or hang.
        """
        options.setdefault("batch_size", None)
        if num_workers:
            options.setdefault("multiprocessing_context", "spawn")
        for item in DataLoader(self, num_workers=num_workers, **options):
            yield self.record(item)
        if num_workers:
            self._end_epoch()

    def __iter__(self) -> Iterator[Item]:
        """Samples or batches that remain of the epoch."""
        worker = get_worker_info()
        if worker is not None:
            torch.set_num_threads(1)
            for position, item in self._items(self._remaining()[worker.id :: worker.num_workers]):
                yield {**item, POSITION: torch.tensor(position)}
            return
        for position, item in self._items(self._remaining()):
            self._move(position)
            yield item
        self._end_epoch()

    def _identity(self) -> dict[str, Any]:
        reader = self.reader
        content = [*reader.batch_ids, str(reader.schema), reader.segmentation, *map(str, reader.features)]
        return {**self.sharding._asdict(), "content": fingerprint(content)}

    def _move(self, position: Sequence[Sequence[int]]) -> None:
        for block, taken, size in position:
            if taken >= size:
                self._finished.add(block)
                self._begun.pop(block, None)
            elif block not in self._finished:
                self._begun[block] = max(taken, self._begun.get(block, 0))

    def _end_epoch(self) -> None:
        self.set_epoch(self.epoch + 1)

    def _order(self) -> NDArray[np.int64]:
        places = np.arange(len(self.reader.batch_ids))
        return places if self.sharding.seed is None else self._rng().permutation(places)

    def _rng(self, *block: int) -> np.random.Generator:
        return np.random.default_rng([self.sharding.seed or 0, self.epoch, *block])

    def _remaining(self) -> list[int]:
        """Blocks of this rank that are not finished, in order."""
        count = -(-len(self.reader.batch_ids) // self.sharding.block_batches)
        own = range(self.sharding.rank, count, self.sharding.num_ranks)
        return [block for block in own if block not in self._finished]

    def _blocks(self, blocks: Sequence[int]) -> Iterator[tuple[int, Columns]]:
        order, size = self._order(), self.sharding.block_batches
        places = [order[block * size : (block + 1) * size] for block in blocks]
        read = self.reader.stream(self.reader.batch_ids[place] for block in places for place in block)
        for block, own in zip(blocks, places, strict=True):
            yield block, _joined([_columns(next(read)) for _ in own])

    def _items(self, blocks: Sequence[int]) -> Iterator[tuple[list[_Taken], Item]]:
        """Items, each with where it stands."""
        begun, wanted = dict(self._begun), self.batch_size or 1
        waiting: list[tuple[_Taken, Columns]] = []
        for block, columns in self._blocks(blocks):
            size, taken = _count(columns), begun.get(block, 0)
            order = np.arange(size) if self.sharding.seed is None else self._rng(block + 1).permutation(size)
            columns = _at(columns, order)
            while taken < size:
                stop = min(size, taken + wanted - sum(_count(part) for _, part in waiting))
                waiting.append((_Taken(block, stop, size), _between(columns, taken, stop)))
                taken = stop
                if sum(_count(part) for _, part in waiting) == wanted:
                    yield self._item(waiting)
                    waiting = []
        if waiting:
            yield self._item(waiting)

    def _item(self, parts: Sequence[tuple[_Taken, Columns]]) -> tuple[list[_Taken], Item]:
        columns = _joined([part for _, part in parts])
        single = self.batch_size is None
        item = {name: _tensor(column[0] if single else column) for name, column in columns.items()}
        return [taken for taken, _ in parts], item


def _check(sharding: Sharding, batch_size: int | None) -> None:
    wrong = {
        "batch_size": batch_size is not None and batch_size < 1,
        "block_batches": sharding.block_batches < 1,
        "seed": sharding.seed is not None and sharding.seed < 0,
        "rank": not 0 <= sharding.rank < sharding.num_ranks,
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            value = getattr(sharding, name, batch_size)
            message = f"{name} is {value}; give at least 1 (a seed from 0 on, a rank below num_ranks)"
            raise ConfigError(message)


def _columns(batch: pa.RecordBatch) -> Columns:
    return {name: _plain(batch.column(name)) for name in batch.schema.names}


def _plain(array: pa.Array) -> NDArray[Any] | list[str]:
    """Numbers as an array; texts and all else as a list, null told in words."""
    if pa.types.is_fixed_size_list(array.type):
        size = array.type.list_size
        values = _plain(array.values.slice(array.offset * size, len(array) * size))
        assert not isinstance(values, list)  # noqa: S101 - vectors are numbers
        return values.reshape(len(array), size, *values.shape[1:])
    if pa.types.is_string(array.type):
        return [value if value is not None else "not extracted" for value in array.to_pylist()]
    if array.null_count or not (pa.types.is_primitive(array.type) and not pa.types.is_temporal(array.type)):
        return list(map(str, array.to_pylist()))
    return np.asarray(array.to_numpy(zero_copy_only=False))


def _joined(parts: Sequence[Columns]) -> Columns:
    if len(parts) == 1:
        return parts[0]
    return {name: _concatenated([part[name] for part in parts]) for name in parts[0]}


def _concatenated(columns: Sequence[Any]) -> NDArray[Any] | list[str]:
    if isinstance(columns[0], list):
        return [value for column in columns for value in column]
    return np.concatenate(columns)


def _at(columns: Columns, places: NDArray[np.int64]) -> Columns:
    return {
        name: [column[place] for place in places] if isinstance(column, list) else column[places]
        for name, column in columns.items()
    }


def _between(columns: Columns, start: int, stop: int) -> Columns:
    return {name: column[start:stop] for name, column in columns.items()}


def _count(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def _tensor(value: Any) -> Any:  # noqa: ANN401 - a text, or numbers
    return value if isinstance(value, str | list) else torch.as_tensor(value)
