"""Listing and planning very many objects of a local S3 server, and ingest from it against ingest from disk.

`python -m tests.benchmarks.objects [NUM_OBJECTS] [NUM_CLIPS]`; the server is a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from features.synthetic.archive import make_archive

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_SECONDS = 60
MOST_MEGABYTES = 500
LEAST_SHARE = 0.8

_SERVER = """
import sys, time
from moto.server import ThreadedMotoServer
from moto.s3.models import s3_backends
server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
server.start()
backend = s3_backends["123456789012"]["aws"]
backend.create_bucket("many", "us-east-1")
backend.create_bucket("clips", "us-east-1")
for number in range(int(sys.argv[1])):
    backend.put_object("many", f"videos/{number % 100:02}/{number:06}.mp4", b"x")
print(*server.get_host_and_port(), flush=True)
time.sleep(3600)
"""

_PLAN = """
import resource, sys, time
from flows import stages
from pipelines.options import IngestConfig
begun = time.perf_counter()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
stages.plan_ingest(IngestConfig(sources=("s3://many/videos/",)), sys.argv[1], "bench")
print(time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, before / 1024)
"""


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and tell whether the bars are met."""
    num_objects, num_clips = [*map(int, arguments), *(100_000, 96)[len(arguments) :]]
    with tempfile.TemporaryDirectory(prefix="triptych-bench-") as folder, _server(num_objects) as server:
        of_server = sum(server.cpu_times()[:2])
        found = subprocess.run(
            [sys.executable, "-c", _PLAN, f"{folder}/planned"], check=True, capture_output=True, text=True
        )
        seconds, megabytes, before = map(float, found.stdout.split()[-3:])
        of_server = sum(server.cpu_times()[:2]) - of_server
        print(f"{num_objects} objects listed and planned: {seconds:.1f} s, {megabytes:.0f} MB ({before:.0f} at first)")
        print(f"of that the server's own work, which no client can spare it: {of_server:.1f} CPU seconds")
        archive = make_archive(Path(folder) / "archive", num_clips=num_clips).folder
        _upload(archive)
        rates: dict[str, list[float]] = {"disk": [], "s3": []}
        for number in range(2):
            for kind, source in (("disk", str(archive)), ("s3", "s3://clips/archive/")):
                rates[kind].append(num_clips / _ingest(source, f"{folder}/{kind}{number}"))
        share = max(rates["s3"]) / max(rates["disk"])
        print(f"ingest: {max(rates['disk']):.2f} clips/s from disk, {max(rates['s3']):.2f} from S3: {share:.2f}")
    is_met = seconds < MOST_SECONDS and megabytes < MOST_MEGABYTES and share >= LEAST_SHARE
    print("met" if is_met else "NOT MET")
    return 0 if is_met else 1


def _ingest(source: str, store: str) -> float:
    begun = time.perf_counter()
    command = [sys.executable, "-m", "flows.cli", "--store", store, "ingest", source, "--workers", "1"]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun


def _upload(folder: Path) -> None:
    import s3fs

    s3fs.S3FileSystem().put(str(folder), "clips/archive", recursive=True)


@contextmanager
def _server(num_objects: int) -> Iterator[psutil.Process]:
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(num_objects)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert server.stdout is not None
        host, port = server.stdout.readline().split()
        os.environ |= {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }
        yield psutil.Process(server.pid)
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
