"""The Torch dataset: every sample once, in an order that the seed decides, resumable anywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.utils.data import DataLoader

from features.errors import ConfigError
from features.reading import Padded, open_features
from features.store import Store
from tests.reading.conftest import STATUS, put_feature
from tests.store.making import SECOND, media, put

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from features.reading import FeatureReader
    from features.reading.torch_data import FeatureDataset

Key = tuple[str, int]
NUM_BATCHES = 9


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> FeatureReader:
    """Nine batches of a media each, of two to ten windows; one batch is empty."""
    folder: Path = tmp_path_factory.mktemp("torch")
    store = Store.create(folder / "store")
    for index in range(NUM_BATCHES):
        own = "ghijklmno"[index]
        STATUS[own] = "ok" if index % 3 else "absent"
        media_ids = (own,) if index != 4 else ()
        put_feature(store, "pictures", f"b{index}", media_ids)
        put_feature(store, "words", f"b{index}", media_ids)
        put(store, "media", f"b{index}", [media(own, duration_us=(index + 2) * SECOND) for own in media_ids])
    return open_features(store, ["pictures", "words"], "window:1s", pool={"words": Padded(2)})


def keys(items: Iterable[dict[str, Any]]) -> list[Key]:
    """Media and start of each sample, of items that are samples or batches."""
    found: list[Key] = []
    for item in items:
        single = isinstance(item["media_id"], str)
        ids, starts = ([item["media_id"]], [item["start_us"]]) if single else (item["media_id"], item["start_us"])
        found += [(media_id, int(start)) for media_id, start in zip(ids, starts, strict=True)]
    return found


def every_key(reader: FeatureReader) -> list[Key]:
    rows = [row for batch in reader for row in batch.to_pylist()]
    return [(row["media_id"], row["start_us"]) for row in rows]


def blocks_of(found: list[Key], dataset: FeatureDataset) -> dict[int, list[Key]]:
    """Samples by block, in the order they came."""
    order = [dataset.reader.batch_ids[place] for place in dataset._order()]
    media_of = {batch_id: "ghijklmno"[int(batch_id[1:])] for batch_id in order}
    block_of = {media_of[batch_id]: place // dataset.sharding.block_batches for place, batch_id in enumerate(order)}
    blocks: dict[int, list[Key]] = {}
    for key in found:
        blocks.setdefault(block_of[key[0]], []).append(key)
    return blocks


def test_samples_hold_what_the_reader_gives(reader: FeatureReader) -> None:
    rows = [row for batch in reader for row in batch.to_pylist()]
    samples = list(reader.to_torch())
    assert keys(samples) == every_key(reader)
    for row, sample in zip(rows, samples, strict=True):
        assert sample["pictures"].dtype == torch.float32
        assert sample["pictures"].tolist() == (row["pictures"] or [0.0] * 4)
        assert sample["words"].shape == (2, 3)
        assert bool(sample["words:present"]) == row["words:present"]
        assert int(sample["words:length"]) == row["words:length"]
        assert sample["pictures:status"] == row["pictures:status"]


def test_batches_hold_the_same_samples(reader: FeatureReader) -> None:
    batches = list(reader.to_torch(batch_size=7))
    assert [len(batch["media_id"]) for batch in batches] == [7] * (len(every_key(reader)) // 7) + [
        len(every_key(reader)) % 7
    ]
    assert keys(batches) == every_key(reader)
    assert batches[0]["words"].shape == (7, 2, 3)


def test_the_seed_and_the_epoch_decide_the_order(reader: FeatureReader) -> None:
    def order(seed: int, epoch: int) -> list[Key]:
        dataset = reader.to_torch(shuffle=True, seed=seed, block_batches=2)
        dataset.set_epoch(epoch)
        return keys(dataset)

    first = order(1, 0)
    assert first == order(1, 0)
    assert len({tuple(first), tuple(order(1, 1)), tuple(order(2, 0)), tuple(every_key(reader))}) == 4
    assert sorted(first) == sorted(every_key(reader))
    media_ids = [media_id for media_id, _ in first]
    assert any(media_ids[0] != other for other in media_ids[: media_ids.count(media_ids[0])])  # blocks are mixed


def test_iterating_again_is_the_next_epoch(reader: FeatureReader) -> None:
    dataset = reader.to_torch(shuffle=True)
    one, two = keys(dataset), keys(dataset)
    assert dataset.epoch == 2
    assert one != two
    dataset.set_epoch(1)
    assert keys(dataset) == two


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("taken", [0, 1, 5, 11])
def test_resuming_yields_exactly_what_remains(reader: FeatureReader, batch_size: int | None, taken: int) -> None:
    def dataset() -> FeatureDataset:
        return reader.to_torch(shuffle=True, seed=3, block_batches=2, batch_size=batch_size)

    whole = keys(dataset())
    stopped = dataset()
    iterator = iter(stopped)
    before = keys(next(iterator) for _ in range(taken))
    state = json.loads(json.dumps(stopped.state_dict()))
    resumed = dataset()
    resumed.load_state_dict(state)
    resumed.set_epoch(0)  # the epoch that is under way
    assert before + keys(resumed) == whole
    assert keys(stopped) == whole[len(before) :]  # the same object goes on too


def test_ranks_share_all_samples_once(reader: FeatureReader) -> None:
    shares = [keys(reader.to_torch(shuffle=True, block_batches=2, rank=rank, num_ranks=3)) for rank in range(3)]
    assert all(shares)
    assert sorted(key for share in shares for key in share) == sorted(every_key(reader))


@pytest.mark.slow
@pytest.mark.parametrize("context", ["forkserver", "spawn"])
def test_workers_change_only_how_blocks_interleave(reader: FeatureReader, context: str) -> None:
    alone = reader.to_torch(shuffle=True, seed=5, block_batches=2, batch_size=3)
    wanted = blocks_of(keys(alone), reader.to_torch(shuffle=True, seed=5, block_batches=2))
    dataset = reader.to_torch(shuffle=True, seed=5, block_batches=2, batch_size=3)
    found = keys(dataset.loader(num_workers=2, multiprocessing_context=context))
    assert blocks_of(found, reader.to_torch(shuffle=True, seed=5, block_batches=2)) == wanted
    assert dataset.epoch == 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(2, 0), (2, 1), (0, 2)])
def test_a_position_is_what_was_taken_not_what_was_read_ahead(reader: FeatureReader, workers: tuple[int, int]) -> None:
    stopped = reader.to_torch(shuffle=True, seed=6, block_batches=2, batch_size=3)
    loader = stopped.loader(num_workers=workers[0])
    before = keys(next(loader) for _ in range(4))
    resumed = reader.to_torch(shuffle=True, seed=6, block_batches=2, batch_size=3)
    resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    assert sorted(before + keys(resumed.loader(num_workers=workers[1]))) == sorted(every_key(reader))
    loader.close()


FORKED = """
import json, sys
from torch.utils.data import DataLoader
from features.reading import Padded, open_features
from features.store import Store
reader = open_features(Store.open(sys.argv[1]), ["pictures", "words"], "window:1s", pool={"words": Padded(2)})
dataset = reader.to_torch(shuffle=True, block_batches=2)
batches = [dataset.record(batch) for batch in DataLoader(dataset, batch_size=5, num_workers=2)]
keys = [(media, int(start)) for batch in batches for media, start in zip(batch["media_id"], batch["start_us"])]
print(json.dumps(sorted(keys)))
"""


@pytest.mark.slow
def test_workers_are_forked_from_a_process_of_its_own(reader: FeatureReader) -> None:
    """As DataLoader has it by default; this process has had threads of all kinds, which do not outlive a fork."""
    command = [sys.executable, "-c", FORKED, reader.snapshot.store.root]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert [tuple(key) for key in json.loads(done.stdout)] == sorted(every_key(reader))


@pytest.mark.slow
def test_a_plain_data_loader_collates_samples(reader: FeatureReader) -> None:
    dataset = reader.to_torch(shuffle=True, block_batches=2)
    loader = DataLoader(dataset, batch_size=5, num_workers=2, multiprocessing_context="spawn")
    batches = [dataset.record(batch) for batch in loader]
    assert sorted(keys(batches)) == sorted(every_key(reader))
    assert batches[0]["pictures"].shape == (5, 4)
    assert "position" not in batches[0]
    assert keys(dataset) == []  # all of them were recorded


def test_a_position_of_other_data_is_refused(reader: FeatureReader) -> None:
    state = reader.to_torch(shuffle=True, seed=1).state_dict()
    with pytest.raises(ConfigError, match=r"position is of another dataset \(differs in seed\)"):
        reader.to_torch(shuffle=True, seed=2).load_state_dict(state)


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"block_batches": 0}, {"rank": 2}, {"shuffle": True, "seed": -1}]
)
def test_numbers_out_of_range_are_refused(reader: FeatureReader, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="give at least 1"):
        reader.to_torch(**options)
