"""Every command of the README does what it says."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.whole.conftest import Shell

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ELSEWHERE = ("triptych --store my-store serve",)  # tests/whole/test_serve.py


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def _commands() -> list[str]:
    return [line for block in _blocks("sh") for line in block.splitlines() if line.strip()]


def test_every_make_target_that_is_named_exists(shell: Shell) -> None:
    named = set(re.findall(r"\bmake ([a-z]+)\b", README))
    assert {"demo", "test", "check", "bench", "evidence"} <= named
    for target in named:
        shell.run("make", "--dry-run", "--directory", str(ROOT), target)


def test_every_triptych_command_runs(shell: Shell, demo: str) -> None:
    videos = shell.folder / "videos"
    videos.mkdir()
    for number in range(1, 4):
        shutil.copy(shell.folder / "triptych-demo" / "archive" / f"clip_{number:03}.mp4", videos)
    toml = next(block for block in _blocks("toml") if "[nightly]" in block)
    (shell.folder / "triptych.toml").write_text(toml, encoding="utf-8")
    (shell.folder / "samples.csv").write_text(_blocks("csv")[0], encoding="utf-8")
    commands = [line for line in _commands() if line.startswith(("triptych", "export"))]
    assert len(commands) > 15
    for line in commands:
        words = shlex.split(line, comments=True)
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            shell.environment[name] = value
        elif not line.startswith(ELSEWHERE):
            shell.run(*words)
    shell.environment.pop("TRIPTYCH_STORE")
