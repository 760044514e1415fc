"""A command starts without Beam: only a wave's own process loads it."""

from __future__ import annotations

import subprocess
import sys

COMMANDS = (
    "features flows.cli flows.stages flows.nightly flows.commands.ingest flows.commands.plan flows.commands.status"
)


def test_no_command_loads_beam() -> None:
    """It takes a second, and says things on standard error that are no business of the user's."""
    code = f"import sys, {COMMANDS.replace(' ', ', ')}; sys.exit('apache_beam' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
