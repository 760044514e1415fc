"""Does one request of a small batch in a bucket wrong, each in turn: `python -m tests.whole.s3_faults [EVERY]`.

Each run ends with the right rows, or with a `StoreError`, which is printed, and the next completes it.
"""

from __future__ import annotations

import os
import sys
import uuid
from typing import get_args

from features.errors import StoreError
from features.store import Store, read_table
from tests.store.s3_proxy import Fault, Proxy
from tests.store.s3_server import BUCKET, ENVIRONMENT, batch, serving

FAULTS: tuple[Fault, ...] = get_args(Fault)


def run(proxy: Proxy, root: str, number: int) -> str:
    """A batch in a store of its own, with one request of it done wrong; what became of it."""
    Store.create(root)
    proxy.requests.clear()
    proxy.fault, proxy.is_faulty = FAULTS[number % len(FAULTS)], lambda place: place == number
    told = "done"
    try:
        batch(root, "b")
    except StoreError as error:
        told = f"told, done again: {error}"
    proxy.is_faulty = lambda _: False
    if told != "done":
        batch(root, "b")
    store = Store.open(root)
    assert read_table(store, "frames").num_rows == 2
    assert read_table(store, "media")["media_id"].to_pylist() == ["m-b"]
    return told


def main(every: int) -> None:
    """Every so many requests; prints a line for each."""
    os.environ.update(ENVIRONMENT)
    with serving() as url, Proxy(url) as proxy:
        os.environ["AWS_ENDPOINT_URL"] = proxy.url
        root = f"s3://{BUCKET}/{uuid.uuid4().hex}"
        Store.create(f"{root}/clean")
        proxy.requests.clear()
        batch(f"{root}/clean", "b")
        num_requests = len(proxy.requests)
        for number in range(0, num_requests, every):
            print(
                f"{number + 1}/{num_requests} {FAULTS[number % len(FAULTS)]}: {run(proxy, f'{root}/{number}', number)}"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
