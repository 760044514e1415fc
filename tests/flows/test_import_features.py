"""`import-features` at the command line, and the other commands on a store with imported features."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from features.store import Store, read_table
from features.store.verify import verify_store
from tests.flows.repairing import mend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.flows.conftest import Outcome

    Triptych = Callable[..., Outcome]

RECIPE = """
name = "moods"
labels = "mood"
segmentation = "labels:mood"
score_segmentation = "whole"

[task]
name = "mood"
classes = ["low", "high"]

[[features]]
name = "words@1"
modality = "text"

[[features]]
name = "tones@1"
modality = "audio"

[encoders.text]
kind = "linear"
size = 4

[encoders.audio]
kind = "linear"
size = 4

[fusion]
kind = "concat"

[training]
epochs = 2
seeds = [0]
"""
PEOPLE = tuple(f"p{number:02}" for number in range(12))
TURNS = 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A published set: two files of vectors and one of labels; there are no media."""
    random = np.random.default_rng(0)
    for name, width in (("words", 3), ("tones", 2)):
        lines = [f"media,order,{','.join(f'{name}{n}' for n in range(width))}"]
        for person in PEOPLE:
            for turn in range(TURNS):
                lines.append(f"{person},{turn},{','.join(f'{x:.5f}' for x in random.normal(size=width))}")
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    lines = ["media,start_seconds,end_seconds,class,split"]
    for index, person in enumerate(PEOPLE):
        split = ("train", "train", "dev", "test")[index % 4]
        lines += [f"{person},{n},{n + 1},{('low', 'high')[(index + n) % 2]},{split}" for n in range(TURNS)]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "moods.toml").write_text(RECIPE)
    return tmp_path


@pytest.fixture
def published(folder: Path, triptych: Triptych) -> Store:
    """The set in a store."""
    root = folder / "published"
    for name, modality in (("words", "text"), ("tones", "audio")):
        how = ("--modality", modality, "--name", name, "--new-media")
        assert triptych("--store", root, "import-features", folder / f"{name}.csv", *how).status == 0
    assert triptych("--store", root, "label", "mood", folder / "labels.csv").status == 0
    return Store.open(root)


def test_it_tells_what_came_in_and_the_second_time_nothing(folder: Path, triptych: Triptych) -> None:
    argv = ("--store", folder / "s", "import-features", folder / "words.csv", "--modality", "text", "--name", "words")
    done = triptych(*argv, "--new-media")
    assert "features/words@1: 36 vectors of 12 media, 12 of them new; 36 vectors written" in done.out
    assert 'name = "words@1", modality = "text"' in done.out
    assert "36 vectors of 12 media; nothing new" in triptych(*argv).out
    told = json.loads(triptych(*argv, "--json").out)
    assert (told["key"], told["num_rows"], told["num_changed"], told["failed"]) == ("words@1", 36, 0, [])


def test_vectors_that_are_none_are_dead_letters(folder: Path, triptych: Triptych) -> None:
    (folder / "f.csv").write_text("media,x\na,1\nb,nan\n")
    argv = ("--store", folder / "s", "import-features", folder / "f.csv", "--modality", "text", "--name", "words")
    done = triptych(*argv, "--new-media", "--strict")
    assert done.status == 1
    assert "the vector of row 2 of 'f.csv' is not finite" in done.err
    assert "1 dead letter" in done.out
    assert "import:words@1" in triptych("--store", folder / "s", "status").out
    retried = triptych("--store", folder / "s", "failures", "--retry")
    assert "mend them in their file, and triptych import-features it again" in retried.out
    (folder / "f.csv").write_text("media,x\na,1\nb,2\n")
    assert "1 vectors written" in triptych(*argv).out
    assert "no dead letters" in triptych("--store", folder / "s", "status").out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--modality", "txt", "--name", "words"), "there is no modality 'txt'; did you mean 'text'?"),
        (("--modality", "text", "--name", "minilm"), "'minilm' is the name of an extractor"),
        (("--modality", "text", "--name", "words"), "does not know: 'p00', 'p01', 'p02', 'p03', 'p04' and 7 more"),
        (("--modality", "text", "--name", "w", "--columns", "AU*"), "no column that matches 'AU*'"),
    ],
)
def test_wrong_use(store: Store, folder: Path, triptych: Triptych, argv: tuple[str, ...], message: str) -> None:
    done = triptych("--store", store.root, "import-features", folder / "words.csv", *argv)
    assert done.status == 2
    assert message in done.err


def test_a_store_is_not_made_by_mistake(folder: Path, triptych: Triptych) -> None:
    argv = ("import-features", folder / "words.csv", "--modality", "text", "--name", "words")
    assert triptych("--store", folder / "none", *argv).status != 0
    assert not (folder / "none").exists()


def test_a_published_set_trains_and_scores(published: Store, folder: Path, triptych: Triptych) -> None:
    assert verify_store(published).findings == ()
    assert triptych("--store", published.root, "train", folder / "moods.toml").status == 0
    assert triptych("--store", published.root, "score", "moods", "--runner", "in-process").status == 0
    scores = read_table(published, "scores/moods@1").to_pylist()
    assert len(scores) == len(PEOPLE)
    assert {tuple(row["present"]) for row in scores} == {("text", "audio")}
    words = folder / "words.txt"
    words.write_text("well")
    predicted = triptych("--store", published.root, "predict", "moods", words)
    assert predicted.status == 2
    assert "the model learned from words@1, which was imported" in predicted.err
    assert (
        "give its vectors (triptych import-features FILE --modality text --name words), and score it" in predicted.err
    )


def test_other_commands_know_what_it_is(published: Store, triptych: Triptych) -> None:
    root = ("--store", published.root)
    status = triptych(*root, "status")
    assert status.status == 0
    assert "features/words@1" in status.out
    assert "extract words" not in status.out
    assert triptych(*root, "features").status == 0
    assert "imported:p00" in triptych(*root, "show", "p00").out
    assert triptych(*root, "report", "--out", f"{published.root}/r.html").status == 0
    assert triptych(*root, "extract", "words").status == 2
    rows = triptych(*root, "sql", 'select count(*) as n from "features/words@1"', "--json").out
    assert json.loads(rows)[0]["n"] == len(PEOPLE) * TURNS


def test_forgotten_people_do_not_come_back(published: Store, folder: Path, triptych: Triptych) -> None:
    root = ("--store", published.root)
    assert triptych(*root, "forget", "--media", "p00", "--yes").status == 0
    how = ("--modality", "text", "--name", "words", "--new-media")
    again = triptych(*root, "import-features", folder / "words.csv", *how)
    assert "left out p00: forgotten" in again.err
    assert "33 vectors of 11 media; nothing new" in again.out
    assert "left out p00: forgotten" in triptych(*root, "label", "mood", folder / "labels.csv").out
    assert verify_store(published).findings == ()


@pytest.mark.parametrize("table", ["media", "sources", "source_results", "frames"])
def test_media_without_content_are_mended_like_others(published: Store, table: str) -> None:
    columns = ("media_id", "name", "uri", "container", "duration_us", "has_text")
    before = [[row[name] for name in columns] for row in read_table(published, "media").to_pylist()]
    (path,) = published.files(table)["path"].to_pylist()
    (published.table_path(table) / path).unlink()
    assert mend(published)
    assert verify_store(published).findings == ()
    assert [[row[name] for name in columns] for row in read_table(published, "media").to_pylist()] == before
    assert not read_table(published, "failures").num_rows


@pytest.mark.parametrize("table", ["features/words@1", "coverage/words@1"])
def test_what_is_damaged_goes_and_is_imported_again(
    published: Store, folder: Path, triptych: Triptych, table: str
) -> None:
    before = sorted(map(str, read_table(published, "features/words@1").to_pylist()))
    (path,) = published.files(table)["path"].to_pylist()
    file = published.table_path(table) / path
    file.write_bytes(file.read_bytes()[:-9])
    (line,) = mend(published)
    assert "took out 2 files, which were imported: triptych import-features FILE --modality text --name words" in line
    assert verify_store(published).findings == ()
    how = ("--modality", "text", "--name", "words")
    triptych("--store", published.root, "import-features", folder / "words.csv", *how)
    assert sorted(map(str, read_table(published, "features/words@1").to_pylist())) == before
    assert verify_store(published).findings == ()
