"""`status` and the report list the store's tokenizers, newest first; a damaged one hides nothing."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from features.tokenizer.folder import CARD
from tests.flows.test_train_tokenizer import put_splits, put_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from features.store import Store
    from tests.flows.conftest import Outcome


def test_tokenizers_are_listed_newest_first(store: Store, triptych: Callable[..., Outcome], tmp_path: Path) -> None:
    assert "pieces" not in triptych("--store", store.root, "status").out
    put_text(store)
    put_splits(store)
    triptych("--store", store.root, "train-tokenizer")
    triptych("--store", store.root, "train-tokenizer", "--vocabulary", 310)
    found = json.loads(triptych("--store", store.root, "status", "--json").out)["tokenizers"]
    assert [(row["name"], row["version"]) for row in found] == [("tokenizer", "2"), ("tokenizer", "1")]
    assert found[0]["num_pieces"] == 310
    lines = re.findall(r"^tokenizer@(\d) +(\d+)", triptych("--store", store.root, "status").out, re.MULTILINE)
    assert lines == [("2", "310"), ("1", str(found[1]["num_pieces"]))]
    triptych("--store", store.root, "report", "--out", tmp_path / "report.html")
    assert "Tokenizers, newest first" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_damaged_tokenizer_hides_nothing(store: Store, triptych: Callable[..., Outcome]) -> None:
    put_text(store)
    put_splits(store)
    triptych("--store", store.root, "train-tokenizer")
    triptych("--store", store.root, "train-tokenizer", "--vocabulary", 310)
    (store.path / "models" / "tokenizer" / "2" / CARD).write_text("{", encoding="utf-8")
    done = triptych("--store", store.root, "status", "--json")
    assert done.status == 0
    assert [row["version"] for row in json.loads(done.out)["tokenizers"]] == ["1"]
