from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from features.errors import ModelError
from features.fusion.distributed import run_processes
from features.fusion.sharing import shared_array
from tests.fusion import ranks


def test_it_is_an_array_of_zeros_that_takes_room_under_no_name(tmp_path: Path) -> None:
    array = shared_array((3, 4), np.float32, tmp_path)
    assert (array.shape, array.dtype, array.any()) == ((3, 4), np.float32, False)
    assert list(tmp_path.iterdir()) == []
    array[1] = 2
    assert array.sum() == 8


def test_its_parts_are_arrays_of_their_own() -> None:
    array = shared_array((3, 4), np.int32)
    array[:] = np.arange(12).reshape(3, 4)
    for copy in (pickle.loads(pickle.dumps(array)), array[[0, 1, 2]], array[0:3]):
        assert np.array_equal(copy, array)


def test_a_disk_that_has_no_room() -> None:
    with pytest.raises(ModelError, match=r"cannot lay 4,611,686,018,427,387,904 bytes of aligned features in .*; free"):
        shared_array((2**60,), np.float32)


@pytest.mark.slow
def test_processes_see_the_file_and_write_for_themselves() -> None:
    """A part of it is copied."""
    array = shared_array((1000, 8), np.float32)
    array[:] = 1
    found = run_processes(ranks.sum_up, 2, array, array[:10])
    assert [(each["whole"].item(), each["part"].item()) for each in found] == [(8003, 80)] * 2
    assert array.sum() == 8000
