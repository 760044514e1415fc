"""`triptych serve`: a run that is started through the server's API completes."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from features.store import Store, read_table
from flows.cli import EXIT_INTERRUPTED
from tests.whole.conftest import TRIPTYCH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.whole.conftest import Shell

pytestmark = pytest.mark.slow

BUSY_TRIES = 30
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def _call(url: str, body: dict[str, Any] | None = None) -> Any:
    """Ask the server; as Prefect's own client does, again where it is busy (503: its database was locked)."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"})
    for _ in range(BUSY_TRIES):
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            time.sleep(1)
    pytest.fail(f"the server was busy {BUSY_TRIES} times: {url}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _served(shell: Shell, *arguments: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The API's address and the deployment; the server and all that it started are gone afterwards."""
    port = _free_port()
    api = f"http://127.0.0.1:{port}/api"
    log = shell.folder / "serve.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [TRIPTYCH, *arguments, "--port", str(port)],
            cwd=shell.folder,
            env=shell.environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield api, _deployment(api, process)
    finally:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
        _, alive = psutil.wait_procs(family, timeout=20)
        for left in alive:
            left.kill()
    assert not alive
    assert status == EXIT_INTERRUPTED
    text = log.read_text()
    assert "Traceback" not in text, text


def _deployment(api: str, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    for _ in range(240):
        assert process.poll() is None
        try:
            found: dict[str, Any] = _call(f"{api}/deployments/name/nightly/triptych")
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
        else:
            return found
    pytest.fail("the deployment did not appear")


def test_a_run_started_through_the_api_completes(shell: Shell, demo: str) -> None:
    clips = ["triptych-demo/archive/clip_002.mp4", "triptych-demo/archive/clip_003.mp4"]
    arguments = ["--store", "served", "serve", *clips, "--extractors", "mfcc", "--cron", "30 1 * * *"]
    with _served(shell, *arguments) as (api, deployment):
        assert [schedule["schedule"]["cron"] for schedule in deployment["schedules"]] == ["30 1 * * *"]
        properties = deployment["parameter_openapi_schema"]["properties"]
        kinds = {name: field.get("type") for name, field in properties.items()}
        assert {"string", "integer", "number", "boolean", "array"} >= set(kinds.values())
        assert properties["runner"]["enum"] == ["in-process", "multi"]
        body = {"state": {"type": "SCHEDULED"}, "parameters": {"limit": 1}}
        run = _call(f"{api}/deployments/{deployment['id']}/create_flow_run", body)
        for _ in range(480):
            state = _call(f"{api}/flow_runs/{run['id']}")["state"]
            if state["type"] in ENDED:
                break
            time.sleep(0.5)
        assert state["type"] == "COMPLETED", state
        artifacts = {artifact["key"] for artifact in _call(f"{api}/artifacts/filter", {})}
        assert {"report", "counts"} <= artifacts
    store = Store.open(shell.folder / "served")
    assert read_table(store, "media")["name"].to_pylist() == ["clip_002.mp4"]
    assert read_table(store, "features/mfcc@1").num_rows > 0
