"""What is wrong with an input is told in a paragraph that names it and the remedy, and the store stays as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from features.store import Store
from tests.flows.conftest import RECIPE, Outcome, content_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Triptych = Callable[..., Outcome]


class Case(NamedTuple):
    """Words after `triptych --store STORE`, and what must come: a status, and words of the message in order."""

    name: str
    argv: str
    status: int
    told: tuple[str, ...]


USE, FAILED = 2, 3
CASES = (
    Case("missing path", "ingest {tmp}/nowhere", USE, ("there is no file or folder '{tmp}/nowhere'", "check the path")),
    Case("missing glob", "ingest {tmp}/*.mov", USE, ("no file matches the glob '{tmp}/*.mov'", "check the path")),
    Case("empty folder", "ingest {tmp}/empty", USE, ("the folder '{tmp}/empty' holds no video", "name another")),
    Case("no source", "ingest", USE, ("no source was named", "triptych ingest VIDEOS/")),
    Case("bad value", "ingest {videos} --jpeg-quality 0", USE, ("jpeg_quality must be at least 1, not 0",)),
    Case("no rate", "ingest {videos} --frames 0/s", USE, ("frames must be a rate such as 1/s", "not '0/s'")),
    Case("unknown extractor", "extract mfccs", USE, ("no extractor 'mfccs'", "did you mean 'mfcc'?")),
    Case("unknown recipe", "train sentimental", USE, ("there is no recipe 'sentimental'", "'sentiment'")),
    Case("unknown recipe by night", "nightly {videos} --recipe sentimental", USE, ("no recipe 'sentimental'",)),
    Case("unknown extractor by night", "nightly {videos} --extractors mfccs", USE, ("no extractor 'mfccs'",)),
    Case("missing path by night", "nightly {tmp}/nowhere", USE, ("'{tmp}/nowhere'", "check the path")),
    Case("missing recipe file", "train {tmp}/none.toml", USE, ("{tmp}/none.toml",)),
    Case("misspelt key", "train {tmp}/misspelt.toml", USE, ("epoch", "did you mean 'epochs'?")),
    Case("no TOML", "train {videos}/m00.mp4.toml", USE, ("{videos}/m00.mp4.toml", "not TOML")),
    Case("no labels yet", "train {tmp}/moods.toml", USE, ("no table 'labels/mood'", "label mood FILE")),
    Case("no features yet", "train sentiment", USE, ("no table 'labels/sentiment'", "label sentiment FILE")),
    Case("unknown media", "label mood {videos}/unknown.csv", USE, ("unknown.csv'", "'stranger.mp4'", "ingest them")),
    Case("missing labels", "label mood {tmp}/none.csv", USE, ("there is no label file '{tmp}/none.csv'", "check the")),
    Case("bad set", "label my/mood {videos}/unknown.csv", USE, ("'my/mood'", "use letters, digits")),
    Case("missing model", "score moods", FAILED, ("there is no model 'moods'", "train one")),
    Case("missing model for a file", "predict moods {videos}/m00.mp4", FAILED, ("there is no model 'moods'",)),
    Case("no model folder", "predict {tmp}/empty/1 {videos}/m00.mp4", FAILED, ("{tmp}/empty/1",)),
    Case("no model named", "score", USE, ("no model was named", "triptych score sentiment")),
    Case("unknown media shown", "show stranger", USE, ("there is no media 'stranger'",)),
    Case("ambiguous media shown", "show m0", USE, ("'m0' names 10 media", "give more digits")),
    Case("bad query", "sql select+nil", USE, ("select+nil", "tables: ", "media")),
    Case("no folder for the report", "report --out {tmp}/none/r.html", USE, ("there is no folder '{tmp}/none'",)),
)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, videos: Path, recipe: Path) -> None:
    assert recipe.exists()
    (tmp_path / "empty").mkdir()
    (tmp_path / "misspelt.toml").write_text(RECIPE.replace("epochs", "epoch"))
    (videos / "m00.mp4.toml").write_text("name = ")
    (videos / "unknown.csv").write_text("uri,class\nm00.mp4,low\nstranger.mp4,high\n")


def check_message(outcome: Outcome, status: int) -> str:
    """The one paragraph on standard error."""
    assert outcome.status == status, outcome
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
    message = outcome.err.removesuffix("\n").splitlines()[-1]
    assert message.startswith("triptych: ")
    assert [line for line in outcome.err.splitlines() if line.startswith("triptych: ")] == [message]
    return message


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_told_and_changes_nothing(
    case: Case, triptych: Triptych, store: Store, videos: Path, tmp_path: Path
) -> None:
    places = {"tmp": tmp_path, "videos": videos}
    before = content_of(tmp_path)
    outcome = triptych("--store", store.root, *(word.format(**places) for word in case.argv.split()))
    message = check_message(outcome, case.status)
    position = 0
    for words in case.told:
        position = message.find(words.format(**places), position)
        assert position >= 0, message
    assert content_of(tmp_path) == before


_READ = (
    *("status", "failures", "show m00", "sql select", "extract mfcc", "score moods", "report"),
    *("train {tmp}/moods.toml", "label mood {videos}/unknown.csv"),
)


@pytest.mark.parametrize(
    ("argv", "place"),
    [
        *((argv, place) for argv in _READ for place in ("videos", "nowhere", "videos/m00.mp4")),
        *(("ingest {videos}", place) for place in ("videos", "videos/m00.mp4", "videos/m00.mp4/inside")),
    ],
)
def test_a_folder_that_is_no_store_is_told(
    argv: str, place: str, triptych: Triptych, videos: Path, tmp_path: Path
) -> None:
    before = content_of(tmp_path)
    words = argv.format(tmp=tmp_path, videos=videos).split()
    message = check_message(triptych("--store", tmp_path / place, *words), FAILED)
    assert f"'{tmp_path / place}'" in message
    assert "--store" in message
    assert content_of(tmp_path) == before


@pytest.mark.parametrize("argv", ["extract mfcc", "label mood {videos}/unknown.csv"])
def test_an_empty_store_is_told(argv: str, triptych: Triptych, videos: Path, tmp_path: Path) -> None:
    root = Store.create(tmp_path / "bare").root
    before = content_of(tmp_path)
    message = check_message(triptych("--store", root, *argv.format(videos=videos).split()), USE)
    assert "holds no media; ingest some first" in message
    assert content_of(tmp_path) == before


@pytest.mark.parametrize("classes", [("low",), ("elsewhere",)])
def test_labels_that_do_not_allow_training_are_told(
    classes: tuple[str, ...],
    triptych: Triptych,
    store: Store,
    recipe: Path,
    write_labels: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """One class only, or none of the recipe's; no model and no split is left behind."""
    assert triptych("--store", store.root, "label", "mood", write_labels(*classes)).status == 0
    before = content_of(tmp_path)
    outcome = triptych("--store", store.root, "train", recipe)
    message = check_message(outcome, outcome.status)
    assert outcome.status in (USE, FAILED)
    assert classes[0] in message
    assert content_of(tmp_path) == before


def test_one_class_in_the_training_split_is_told(
    triptych: Triptych, store: Store, recipe: Path, videos: Path, tmp_path: Path
) -> None:
    """Both classes are there, but the stated splits keep one of them out of training."""
    ends = ["low,train"] * 8 + ["high,dev"] * 2 + ["high,test"] * 2
    rows = [f"m{index:02}.mp4,{end}" for index, end in enumerate(ends)]
    (videos / "split.csv").write_text("\n".join(["uri,class,split", *rows]))
    assert triptych("--store", store.root, "label", "mood", videos / "split.csv").status == 0
    before = content_of(tmp_path)
    message = check_message(triptych("--store", store.root, "train", recipe), FAILED)
    assert "low" in message
    assert "train" in message
    assert content_of(tmp_path) == before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("stor = 'x'", ("unknown key 'stor'", "it takes store")),
        ("[ingets]", ("unknown key 'ingets'",)),
        ("store = 5", ("store in", "must be a path, not 5")),
        ("ingest = 5", ("'ingest' in", "must be a table, not 5")),
        ("[ingest]\njpeg_qualty = 5", ("unknown option 'jpeg_qualty'", "did you mean 'jpeg_quality'?")),
        ("[ingest]\njpeg_quality = 'high'", ("jpeg_quality must be int, not 'high'",)),
        ("[ingest]\njpeg_quality = true", ("jpeg_quality must be int, not True",)),
        ("[ingest]\nrunner = 'dask'", ("runner must be one of in-process, multi, not 'dask'",)),
        ("[ingest]\nsources = [1]", ("sources must be",)),
        ("store = ", ("cannot read the configuration", "give a TOML file")),
    ],
)
def test_a_wrong_configuration_is_told(
    text: str,
    told: tuple[str, ...],
    triptych: Triptych,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "triptych.toml"
    path.write_text(text)
    before = content_of(tmp_path)
    monkeypatch.setenv("TRIPTYCH_STORE", store.root)
    message = check_message(triptych("--config", path, "ingest"), USE)
    assert all(words in message for words in told), message
    assert content_of(tmp_path) == before


def test_options_of_a_command_that_has_none_are_told(triptych: Triptych, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "triptych.toml"
    path.write_text("[status]\nlimit = 5\n")
    message = check_message(triptych("--store", store.root, "--config", path, "status"), USE)
    assert "'status' takes no options" in message
    assert "limit" in message


def test_a_missing_configuration_is_told(triptych: Triptych, tmp_path: Path) -> None:
    message = check_message(triptych("--config", tmp_path / "none.toml", "status"), USE)
    assert str(tmp_path / "none.toml") in message


@pytest.mark.parametrize(
    "argv", [(), ("ingets",), ("ingest", "--jpeg-quality", "high"), ("ingest", "--runner", "dask")]
)
def test_wrong_use_is_told_with_the_usage(argv: tuple[str, ...], triptych: Triptych) -> None:
    outcome = triptych(*argv)
    assert (outcome.status, outcome.out) == (USE, "")
    assert outcome.err.startswith("usage: triptych")
    assert (argv or ("COMMAND",))[-1] in outcome.err
