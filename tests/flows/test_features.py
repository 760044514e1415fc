"""`triptych features` and `triptych doctor`: what there is, how fast it is, and what is amiss."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint, version
from typing import TYPE_CHECKING, Any

import pytest

from features.errors import ExtractionError
from features.extractors import registry, speeds
from features.extractors.base import Extractor
from features.extractors.mfcc import Mfcc
from features.extractors.speeds import Speed, keep_speed, known_speeds
from features.spec import FeatureSpec
from flows.commands import doctor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from features.records import MediaRows
    from tests.flows.conftest import Outcome

    Triptych = Callable[..., Outcome]

HINT = "triptych features --measure"


class Weightless(Extractor):
    """An extractor whose weights are missing."""

    spec = FeatureSpec("weightless", 1, "text", "transcripts", shape=(1,))

    def load(self, device: str) -> Any:
        message = "weights of 'weightless@1' are missing; install them with: pip install weights"
        raise ExtractionError(message)

    def prepare(self, rows: MediaRows) -> Sequence[Any]:
        return rows.utterances

    def __call__(self, model: Any, items: Sequence[Any]) -> Sequence[Any]:
        raise NotImplementedError

    def finish(self, rows: MediaRows, items: Sequence[Any], outputs: Sequence[Any]) -> Sequence[Any]:
        raise NotImplementedError


class Rude(Weightless):
    """One that raises what is no error of ours."""

    spec = FeatureSpec("rude", 1, "text", "transcripts", shape=(1,))

    def load(self, device: str) -> Any:
        return {}["weights"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Adds entry points."""

    def add(**values: str) -> None:
        points = [EntryPoint(name, value, registry.GROUP) for name, value in values.items()]
        monkeypatch.setattr(registry, "entry_points", lambda group: points if group else [])
        registry._entries.cache_clear()

    yield add
    registry._entries.cache_clear()


def _line(outcome: Outcome, start: str) -> str:
    (line,) = [line for line in outcome.out.splitlines() if line.startswith(start)]
    return line


def test_all_are_listed_with_what_they_read_make_and_take(triptych: Triptych) -> None:
    listed = triptych("features")
    assert listed.status == 0
    assert _line(listed, "efficientnet_lite0").split()[:5] == [
        "efficientnet_lite0@1",
        "video",
        "frames",
        "1280",
        "floats",
    ]
    assert "Apache-2.0" in _line(listed, "minilm@1")
    assert "transcripts" in _line(listed, "pocketsphinx@1")
    assert "OWNER/NAME" in _line(listed, "hub_image:…")
    assert "64x64x3 floats  computed on reading" in _line(listed, "frame64")
    assert "128x128 floats  computed on reading" in _line(listed, "log_mel_128")
    assert HINT in listed.out


def test_json_holds_the_specs_the_speeds_and_what_others_take(triptych: Triptych) -> None:
    keep_speed(Mfcc.spec, Speed(10, 20), "cpu")
    rows = {row["name"]: row for row in json.loads(triptych("features", "--device", "cpu", "--json").out)}
    assert rows["mfcc"]["speed"] == {"items_per_second": 10, "media_seconds_per_second": 20}
    assert rows["mfcc"]["shape"] == [80]
    assert rows["minilm"]["speed"] is None
    assert "folder" in rows["hub_text"]["takes"]
    assert rows["frame64"] == {
        "name": "frame64",
        "modality": "video",
        "inputs": "frames",
        "shape": [64, 64, 3],
        "computed": "on reading",
    }


def test_what_was_measured_is_kept_and_shown(triptych: Triptych, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speeds, "_SECONDS", 0.1)
    before = triptych("features", "mfcc")
    assert _line(before, "mfcc@1").split()[-2:] == ["-", "-"]
    assert HINT in before.out
    measured = triptych("features", "--measure", "mfcc", "--device", "cpu")
    assert (measured.status, measured.err) == (0, "measuring mfcc\n")
    assert list(known_speeds("cpu")) == [Mfcc.spec.fingerprint]
    after = triptych("features", "mfcc", "--device", "cpu")
    assert after.out == measured.out
    assert "-" not in _line(after, "mfcc@1").split()[-2:]
    assert HINT not in after.out
    assert HINT in triptych("features").out


def test_an_extractor_with_its_argument_is_listed_by_it(triptych: Triptych) -> None:
    listed = triptych("features", "mfcc+nonsilent", "mfcc+nonsilent")
    assert _line(listed, "mfcc_nonsilent@1 (mfcc+nonsilent)")
    assert len(listed.out.splitlines()) == 4


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("mfc",), "no extractor 'mfc'; did you mean 'mfcc'?"),
        (("hub_image",), "extractor 'hub_image' wants to know which"),
        (("--measure", "mfcc", "--device", "gpu"), "no device 'gpu' on this machine (there are: cpu"),
    ],
)
def test_wrong_use_is_told(triptych: Triptych, argv: tuple[str, ...], message: str) -> None:
    outcome = triptych("features", *argv)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err


def test_one_that_is_broken_hides_no_other(triptych: Triptych, plugin: Callable[..., None]) -> None:
    plugin(broken="no.such.module:Thing")
    listed = triptych("features")
    assert listed.status == 3
    assert "cannot make the extractor 'broken' from 'no.such.module:Thing'" in listed.err
    assert _line(listed, "mfcc@1")
    assert json.loads(triptych("features", "--json").out)


def test_what_cannot_be_measured_is_told_and_the_others_are(
    triptych: Triptych, plugin: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speeds, "_SECONDS", 0.1)
    plugin(weightless=f"{__name__}:Weightless", rude=f"{__name__}:Rude")
    outcome = triptych("features", "--measure", "weightless", "rude", "mfcc", "--device", "cpu")
    assert outcome.status == 3
    assert "install them with: pip install weights" in outcome.err
    assert "'rude@1' raised KeyError('weights')" in outcome.err
    assert list(known_speeds("cpu")) == [Mfcc.spec.fingerprint]


def test_the_doctor_loads_weights_of_those_that_take_nothing(
    triptych: Triptych, plugin: Callable[..., None], tmp_path: Path
) -> None:
    plugin(weightless=f"{__name__}:Weightless", rude=f"{__name__}:Rude", broken="no.such.module:Thing")
    outcome = triptych("--store", tmp_path / "store", "doctor", "--json")
    assert outcome.status == 3
    found = {row["what"]: (row["ok"], row["detail"]) for row in json.loads(outcome.out)}
    assert found["onnxruntime"] == (True, version("onnxruntime"))
    assert found["weights of efficientnet_lite0"] == (True, "efficientnet_lite0@1")
    assert found["weights of minilm"] == (True, "minilm@1")
    assert "weights of hub_image" not in found
    missing = {what: detail for what, (ok, detail) in found.items() if not ok}
    assert set(missing) == {"weights of weightless", "weights of rude", "weights of broken"}
    assert "pip install weights" in missing["weights of weightless"]
    assert missing["weights of rude"] == "KeyError('weights')"
    assert "no.such.module" in missing["weights of broken"]


def test_the_doctor_names_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PACKAGES", ("no-such-package",))
    assert doctor._packages() == [doctor.Finding("no-such-package", False, "pip install no-such-package")]
