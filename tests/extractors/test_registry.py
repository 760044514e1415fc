"""The registry, and the choice of a device."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import pytest

from features.errors import ConfigError
from features.extractors import registry
from features.extractors.device import num_threads, pick_device
from features.extractors.registry import default_extractors, extractor_names, get_extractor, ordered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEAVY = ("torch", "librosa", "transformers", "pocketsphinx", "cv2", "av", "soundfile", "sklearn")


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Adds an entry point `plugin` with the given value."""

    def add(value: str) -> None:
        monkeypatch.setattr(
            registry, "entry_points", lambda group: [EntryPoint("plugin", value, group)] if group else []
        )
        registry._entries.cache_clear()

    yield add
    registry._entries.cache_clear()


def test_the_built_in_extractors_are_there_with_their_specs() -> None:
    assert set(default_extractors()) <= set(extractor_names())
    for name in default_extractors():
        assert get_extractor(name).spec.name == name


def test_specs_are_read_without_loading_libraries() -> None:
    code = (
        "import sys; from features.extractors.registry import *\n"
        "[get_extractor(name).spec for name in default_extractors()]\n"
        f"sys.exit(', '.join(name for name in {HEAVY} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_an_unknown_extractor_is_named_with_the_nearest_and_the_list() -> None:
    with pytest.raises(ConfigError, match=r"no extractor 'mfc'; did you mean 'mfcc'\? there are: .*minilm"):
        get_extractor("mfc")
    with pytest.raises(ConfigError, match="no extractor 'zzz'; there are"):
        ordered(["mfcc", "zzz"])


def test_readers_of_transcripts_come_after_recognisers() -> None:
    assert ordered(["minilm", "mfcc", "efficientnet_lite0", "pocketsphinx", "mfcc"]) == (
        ("pocketsphinx", "mfcc", "efficientnet_lite0"),
        ("minilm",),
    )
    assert ordered(["minilm"]) == (("minilm",),)
    assert ordered([]) == ()


def test_a_plugin_is_found_by_its_entry_point(plugin: Callable[[str], None]) -> None:
    plugin("tests.extractors.making:Lengths")
    assert "plugin" in extractor_names()
    assert get_extractor("plugin").spec.name == "lengths"


@pytest.mark.parametrize("value", ["no.such.module:Thing", "tests.extractors.making:sine", "builtins:dict"])
def test_a_broken_plugin_is_named(plugin: Callable[[str], None], value: str) -> None:
    plugin(value)
    with pytest.raises(ConfigError, match=f"'plugin' from '{value}'"):
        get_extractor("plugin")


def test_a_device_that_is_not_there_is_named_with_those_that_are() -> None:
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") in {"cpu", "cuda:0"}
    with pytest.raises(ConfigError, match=r"no device 'gpu'.*cpu"):
        pick_device("gpu")


@pytest.mark.parametrize(("text", "threads"), [("1", 1), ("4", 4)])
def test_threads_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, threads: int) -> None:
    monkeypatch.setenv("TRIPTYCH_THREADS", text)
    assert num_threads() == threads


@pytest.mark.parametrize("text", ["0", "-1", "many", ""])
def test_a_wrong_number_of_threads_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TRIPTYCH_THREADS", text)
    with pytest.raises(ConfigError, match=f"TRIPTYCH_THREADS is '{text}'"):
        num_threads()
