"""Whole runs as a user starts them: one demo a session, commands as child processes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.whole.site import Reference, make_reference

TRIPTYCH = str(Path(sys.executable).with_name("triptych"))


@dataclass(frozen=True)
class Shell:
    """A folder, and an environment in which `triptych` is on the PATH and Prefect keeps to itself."""

    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: str, status: int = 0, timeout: int = 600) -> subprocess.CompletedProcess[str]:
        """Run a command and check its exit status."""
        done = subprocess.run(
            arguments,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == status, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def triptych(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run `triptych`."""
        return self.run(TRIPTYCH, *arguments, status=status)


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A scratch folder with its own Prefect home."""
    folder = tmp_path_factory.mktemp("whole")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    for name in ("PREFECT_API_URL", "TRIPTYCH_STORE"):
        environment.pop(name, None)
    return Shell(folder, environment)


@pytest.fixture(scope="session")
def demo(shell: Shell) -> str:
    """What `triptych demo triptych-demo` printed; its store is `triptych-demo/store`."""
    return shell.triptych("demo", "triptych-demo").stdout


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """Clips for runs under faults, and what a night in peace makes of them."""
    return make_reference(tmp_path_factory.mktemp("reference"))
