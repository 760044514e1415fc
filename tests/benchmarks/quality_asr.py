"""Word error rate of `pocketsphinx` on read English, and what it costs; run by `make bench-quality`.

The protocol, all of it: every English file of `../shared/data/asr` that comes with its words; mono, 16 kHz; the
extractor as the job runs it, voice activity first. Words are compared in lower case, without punctuation, hyphens as
spaces, numbers as they stand; the rate is that of all words together (substitutions, insertions, deletions over words
of the reference; Levenshtein distance over words), beside the mean of the files' rates. CPU seconds are of this one
process, without loading, over seconds of sound. The pause and padding of the voice activity were once chosen on these
files: on others the rate may be a little higher.
"""

from __future__ import annotations

import csv
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from features.extractors.engine import extract_media
from features.extractors.pocketsphinx import PocketSphinx
from features.media.decode import decode_media
from features.records import MediaRows, Utterance

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "asr"
TARGET_RATE, TARGET_CPU = 0.27, 0.5


class Heard(NamedTuple):
    """What came of a file: words of the reference, errors, seconds of sound."""

    name: str
    num_words: int
    num_errors: int
    seconds: float


def main() -> None:
    """Print the rate and the cost."""
    if not FOLDER.is_dir():
        print(f"no folder {FOLDER.name!r} of speech beside this checkout: nothing is measured")
        return
    heard, cpu = measure()
    rate = sum(one.num_errors for one in heard) / sum(one.num_words for one in heard)
    mean = np.mean([one.num_errors / one.num_words for one in heard])
    seconds = sum(one.seconds for one in heard)
    print(
        f"pocketsphinx on {len(heard)} files of read English, {seconds:.0f} s, {sum(h.num_words for h in heard)} words"
    )
    print(f"  word error rate  {rate:.3f}  (target: at most {TARGET_RATE}); mean of the files' rates {mean:.3f}")
    print(f"  CPU seconds a second of sound  {cpu / seconds:.2f}  (target: at most {TARGET_CPU})")


def measure() -> tuple[list[Heard], float]:
    """Recognise each file; what was heard, and the CPU seconds it took."""
    extractor = PocketSphinx()
    model = extractor.load("cpu")
    heard, cpu = [], 0.0
    with (FOLDER / "transcripts.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["lang"] == "en" and row["transcript"].strip()]
    for row in rows:
        media = _media(FOLDER / row["file"])
        begin = time.process_time()
        (found,) = extract_media(extractor, model, [media])
        cpu += time.process_time() - begin
        said = [word for one in found.rows if isinstance(one, Utterance) for word in words_of(one.text)]
        wanted = words_of(row["transcript"])
        heard.append(Heard(row["file"], len(wanted), word_errors(wanted, said), (media.duration_us or 0) / 1e6))
    return heard, cpu


def words_of(text: str) -> list[str]:
    """Words in lower case, without punctuation."""
    return re.sub(r"[^a-z' ]", "", text.lower().replace("-", " ")).split()


def word_errors(reference: Sequence[str], heard: Sequence[str]) -> int:
    """Levenshtein distance over words."""
    distances = list(range(len(heard) + 1))
    for row, expected in enumerate(reference, start=1):
        diagonal, distances[0] = distances[0], row
        for column, word in enumerate(heard, start=1):
            step = min(diagonal + (expected != word), distances[column] + 1, distances[column - 1] + 1)
            diagonal, distances[column] = distances[column], step
    return distances[-1]


def _media(path: Path) -> MediaRows:
    decoded = decode_media(path)
    loudness = decoded.info.quality.loudness_lufs if decoded.info.quality else None
    return MediaRows(
        path.name, decoded.info.duration_us, False, True, False, (), decoded.audio, (), loudness
    )  # fmt: skip


if __name__ == "__main__":
    main()
