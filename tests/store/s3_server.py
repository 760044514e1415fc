"""A local S3 server with a bucket, an environment that names it, and a small run of a store in it."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from features.store import Store, read_table
from features.store.leases import Leases
from tests.store.making import frames, media, put

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "archive"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def serving() -> Iterator[str]:
    """The end point of a server that has `BUCKET`, as long as it lasts."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line a request
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=url, **keys)
    client.create_bucket(Bucket=BUCKET)
    client.close()
    try:
        yield url
    finally:
        server.stop()


def batch(root: str, batch_id: str) -> None:
    """What a small run does: opens a store, takes a lease, commits a batch of two tables, and reads it."""
    store = Store.open(root)
    with Leases(store, f"run-{batch_id}") as leases:
        assert leases.take([batch_id]) is None
        put(store, "frames", batch_id, frames(f"m-{batch_id}", 2))
        put(store, "media", batch_id, [media(f"m-{batch_id}")])
    assert read_table(store, "frames", batch_ids=[batch_id]).num_rows == 2
