"""Two nights on stores in a bucket are killed again and again; `python -m tests.whole.chaos --bucket` does more."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from features.store import Store
from tests.whole.chaos import Plan, run_round
from tests.whole.places import bucket, num_files
from tests.whole.site import EXTRACTORS, Reference, content_of, make_site, tables_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

PLANS = (Plan(1, stages=("ingest",), most_kills=2), Plan(2, stages=("extract",), most_kills=2))


def small_reference(folder: Path) -> Reference:
    """What a few clips come to in peace, without a model; `Reference.after` takes two stages for two thirds of it."""
    site, store = make_site(folder / "site", 9), folder / "clean"
    started = time.monotonic()
    site.run(store, "ingest", site.clips, "--batch-sources", "5", "--runner", "in-process")
    shutil.copytree(store, folder / "ingested")
    site.run(store, "extract", *EXTRACTORS, "--runner", "in-process")
    seconds, clean = time.monotonic() - started, Store.open(store)
    content = content_of(clean, tables_of(clean))
    return Reference(site, folder / "ingested", content, 1.5 * seconds, round(1.5 * num_files(str(store))))


def test_killed_nights_in_a_bucket_come_to_what_an_uninterrupted_one_does(tmp_path: Path) -> None:
    reference = small_reference(tmp_path)
    with bucket() as root, ThreadPoolExecutor(2) as pool:
        nights = [
            pool.submit(run_round, reference, tmp_path / f"{plan.seed}", plan, f"{root}/{plan.seed}") for plan in PLANS
        ]
        rounds = [night.result() for night in nights]
    print(*rounds, sep="\n")
    assert sum(len(one.kills) for one in rounds) >= 1
