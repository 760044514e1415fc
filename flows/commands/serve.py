"""`triptych serve`: the nightly flow with a schedule and a form, on a Prefect server."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import ConfigError, TriptychError
from features.sources.urls import is_url
from features.store.storage import root_of
from flows.cli import EXIT_DONE
from flows.console import say
from flows.prefect_setup import quiet_prefect
from flows.stages import check_inputs
from pipelines.options import option_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flows.cli import Call

_START_SECONDS = 120
_POLL_SECONDS = 0.5


def run(call: Call) -> int:
    """Serve until interrupted."""
    if call.config.sources:
        check_inputs(call.config, call.store)
    _check_cron(call.arguments.cron)
    quiet_prefect("INFO")
    with _server(call.arguments.port) as api_url:
        say(f"serving the deployment nightly/triptych on {api_url} (UI: {api_url.removesuffix('/api')})")
        say(f"schedule {call.arguments.cron!r} (UTC); stop with Ctrl-C")
        _serve(call.arguments.cron, _parameters(call))
    return EXIT_DONE


def _serve(cron: str, parameters: dict[str, Any]) -> None:
    """Poll for runs, one at a time, until a signal comes."""
    import asyncio

    from prefect.runner import Runner

    from flows.nightly import nightly

    class NightlyRunner(Runner):
        def handle_sigterm(self, *args: object, **kwargs: object) -> None:
            """End as Ctrl-C does, by way of asyncio; the inherited handler leaves a coroutine behind."""
            signal.raise_signal(signal.SIGINT)

    runner = NightlyRunner(name="triptych", limit=1)
    runner.add_flow(nightly, name="triptych", cron=cron, parameters=parameters, paused=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs in the background
    asyncio.run(runner.start())


def _parameters(call: Call) -> dict[str, Any]:
    """The form's defaults: what the command line said, paths made absolute."""
    parameters: dict[str, Any] = {"store": root_of(call.store)}
    for name in option_fields(type(call.config)):
        value = getattr(call.config, name)
        parameters[name] = list(value) if isinstance(value, tuple) else value
    parameters["sources"] = [one if is_url(one) else str(Path(one).absolute()) for one in call.config.sources]
    for name in ("labels", "report"):
        if parameters[name]:
            parameters[name] = str(Path(parameters[name]).absolute())
    return parameters


def _check_cron(cron: str) -> None:
    from cronsim import CronSim, CronSimError

    try:
        CronSim(cron, _epoch())
    except CronSimError as error:
        message = f"{cron!r} is no cron schedule ({error}); for 2 o'clock each night: --cron '0 2 * * *'"
        raise ConfigError(message) from error


def _epoch() -> Any:  # noqa: ANN401 - cronsim has its own types
    from datetime import UTC, datetime

    return datetime(2026, 1, 1, tzinfo=UTC)


@contextlib.contextmanager
def _server(port: int) -> Iterator[str]:
    """The server that PREFECT_API_URL names, or one of our own that lives as long as we do."""
    named = os.environ.get("PREFECT_API_URL")
    if named:
        yield named
        return
    api_url = f"http://127.0.0.1:{port}/api"
    if _is_healthy(api_url):
        message = f"port {port} is taken by another server; set PREFECT_API_URL={api_url} to use it, or give --port"
        raise ConfigError(message)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "PREFECT_SERVER_UI_API_URL": api_url}  # else the UI asks port 4200
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env=environment)
    try:
        say(f"starting a Prefect server on port {port}")
        _wait_for(server, api_url)
        os.environ["PREFECT_API_URL"] = api_url
        yield api_url
    finally:
        server.terminate()
        server.wait()


def _wait_for(server: subprocess.Popen[bytes], api_url: str) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            message = f"the Prefect server on {api_url} ended with status {server.returncode}; give another --port"
            raise TriptychError(message)
        if _is_healthy(api_url):
            return
        time.sleep(_POLL_SECONDS)
    message = (
        f"the Prefect server on {api_url} did not start within {_START_SECONDS} s; start one and set PREFECT_API_URL"
    )
    raise TriptychError(message)


def _is_healthy(api_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{api_url}/health", timeout=2) as reply:  # noqa: S310 - our own address
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False
