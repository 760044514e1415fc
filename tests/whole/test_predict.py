"""`predict` without a store says what `score` says with one, and takes loose files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import soundfile

from features.media.decode import decode_media
from features.media.sound import join_sound
from features.store import Store, read_table

if TYPE_CHECKING:
    from tests.whole.conftest import Shell

pytestmark = pytest.mark.slow

MODEL = "triptych-demo/store/models/sentiment/1"
ARCHIVE = "triptych-demo/archive"


def _segments(shell: Shell, *files: str) -> list[dict[str, object]]:
    done = shell.triptych("predict", MODEL, *files, "--json")
    segments: list[dict[str, object]] = json.loads(done.stdout)["segments"]
    return segments


@pytest.mark.parametrize("name", ["clip_001.mp4", "clip_006.mp4", "clip_013.mp4"])
def test_a_video_gets_the_stored_score(shell: Shell, demo: str, name: str) -> None:
    (segment,) = _segments(shell, f"{ARCHIVE}/{name}")
    store = Store.open(shell.folder / "triptych-demo" / "store")
    rows = read_table(store, "scores/sentiment@1").to_pylist()
    (stored,) = (row for row in rows if row["media_id"] == segment["media_id"])
    assert segment["prediction"] == stored["prediction"]
    assert segment["present"] == stored["present"]
    probabilities = segment["probabilities"]
    assert isinstance(probabilities, dict)
    assert list(probabilities.values()) == pytest.approx(stored["probabilities"], abs=1e-4)


def test_an_image_a_sound_and_a_text_are_one_media(shell: Shell, demo: str) -> None:
    decoded = decode_media(shell.folder / ARCHIVE / "clip_002.mp4")
    (shell.folder / "face.jpg").write_bytes(decoded.frames[0].jpeg)
    _, sound = join_sound(decoded.audio)
    soundfile.write(shell.folder / "tune.wav", sound, 16_000)
    (shell.folder / "words.txt").write_text("what a lovely day", encoding="utf-8")
    (whole,) = _segments(shell, "face.jpg", "tune.wav", "words.txt")
    assert whole["present"] == ["video", "audio", "text"]
    (text_only,) = _segments(shell, "words.txt")
    assert text_only["present"] == ["text"]
    assert whole["media_id"] != text_only["media_id"]


def test_what_cannot_be_one_media_is_refused(shell: Shell, demo: str) -> None:
    clip = f"{ARCHIVE}/clip_001.mp4"
    assert "give one video" in shell.triptych("predict", MODEL, clip, clip, status=2).stderr
    assert "'gone.mp4'" in shell.triptych("predict", MODEL, "gone.mp4", status=2).stderr
    assert "clip_024.mp4" in shell.triptych("predict", MODEL, f"{ARCHIVE}/clip_024.mp4", status=3).stderr
