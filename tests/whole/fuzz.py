"""Fuzzing: media and many damaged copies of each go through the real ingest; each must end in rows or in one letter.

`make fuzz` takes every file of the shared media, whole, cut off at 20 places, and in 20 copies with 20 bytes flipped.
`python -m tests.whole.fuzz --only video.webm --seed 7` does one file, with other damage; `--keep FOLDER` keeps all.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import psutil

from features.errors import TriptychError
from features.schema import BATCH_ID
from features.store import Store, read_table
from flows import stages
from pipelines.options import IngestConfig
from pipelines.supervise import run_wave
from tests.pipelines.running import processes_below, still_alive
from tests.whole.mutants import Mutant, make_mutants
from tests.whole.soundness import Looked, look_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MEDIA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "media"
NOT_MEDIA = {".csv", ".json", ".md"}
MOST_MEGABYTES = 1_200
"""A worker's memory at its peak, with a process that decodes; what a file claims must not fill it."""

_POLL_SECONDS = 0.2
_UNLIKE = 12
"""Mean difference of two pictures, 0 to 255, from which on they are not of the same frame."""
_NUM_SLOWEST = 8
_NUM_TOLD = 50


class Report(NamedTuple):
    """How a run went; `problems` is empty where all is as it must be."""

    looked: Looked
    problems: tuple[str, ...]
    kinds: dict[str, str]
    seconds: float
    peak_megabytes: int

    def __str__(self) -> str:
        more = len(self.problems) - _NUM_TOLD
        told = [f"WRONG: {problem}" for problem in self.problems[:_NUM_TOLD]]
        return "\n".join([*_table(self), *told, *([f"and {more} more"] if more > 0 else [])])


def fuzz(mutants: Sequence[Mutant], folder: Path, config: IngestConfig) -> Report:
    """Ingest mutants, and look at all that came of them.

    Args:
        mutants: As `make_mutants` wrote them.
        folder: For the store and for scratch files; both are made in it.
        config: How to ingest; its sources are the mutants.
    """
    scratch, begun = folder / "scratch", time.monotonic()
    scratch.mkdir()
    with _temporary_files_in(scratch), _Watch() as watch:
        store, broken = _ingest(folder / "store", config)
    seconds = time.monotonic() - begun
    left = still_alive([p for p in processes_below(os.getpid())[1:] if p not in watch.before])
    looked = look_at(store, [str(mutant.path) for mutant in mutants])
    problems = [
        *broken,
        *(f"a process is left: {process}" for process in left),
        *(f"a temporary file is left: {path.relative_to(scratch)}" for path in sorted(scratch.rglob("*"))),
        *looked.problems,
        *_facts_wrong(store, mutants),
        *_pictures_wrong(store, mutants),
    ]
    if watch.peak_bytes >> 20 > MOST_MEGABYTES:
        problems.append(f"a process came to {watch.peak_bytes >> 20} MB: {watch.largest}")
    kinds = {str(mutant.path): mutant.kind for mutant in mutants}
    return Report(looked, tuple(problems), kinds, seconds, watch.peak_bytes >> 20)


def _ingest(root: Path, config: IngestConfig) -> tuple[Store, list[str]]:
    """All waves, each tried once; a wave that dies is a problem."""
    store, waves = stages.plan_ingest(config, str(root), stages.new_run_id())
    broken = []
    for wave in waves:
        try:
            run_wave(wave, config)
        except TriptychError as error:
            broken.append(f"a wave broke off: {error}")
    return store, broken


@contextlib.contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ["TMPDIR"], tempfile.tempdir = str(folder), str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before[1]
        os.environ.pop("TMPDIR")
        if before[0] is not None:
            os.environ["TMPDIR"] = before[0]


class _Watch:
    """Looks at the memory of all processes that this one starts."""

    def __init__(self) -> None:
        self.before = processes_below(os.getpid())
        self.peak_bytes = 0
        self.largest = ""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(_POLL_SECONDS):
            for process in processes_below(os.getpid())[1:]:
                with contextlib.suppress(psutil.Error):
                    used = process.memory_info().rss
                    if used > self.peak_bytes:
                        self.peak_bytes, self.largest = used, " ".join(process.cmdline())[:200]


def _facts_wrong(store: Store, mutants: Sequence[Mutant]) -> Iterator[str]:
    """Whole files come to what ffprobe says of them."""
    if not (MEDIA / "media.csv").is_file():
        return
    with (MEDIA / "media.csv").open(newline="", encoding="utf-8") as file:
        facts = {Path(row["path"]).name: row for row in csv.DictReader(file)}
    rows = {row["uri"]: row for row in read_table(store, "media").to_pylist()}
    for mutant in mutants:
        fact, row = facts.get(mutant.original.name), rows.get(str(mutant.path))
        if mutant.kind != "whole" or fact is None or mutant.path.stat().st_size != mutant.original.stat().st_size:
            continue
        if (row is not None) != bool(fact["container"]):
            yield f"{mutant.path.name!r} is {'in' if row else 'not in'}, ffprobe says {fact['container'] or 'nothing'}"
        if row is not None:
            has_video = bool(fact["vcodec"]) and "cover_art" not in fact["category"]
            expected = (has_video, bool(fact["acodec"]), bool(fact["has_subtitles"]))
            if (row["has_video"], row["has_audio"], row["has_text"]) != expected:
                yield f"{mutant.path.name!r} has not the pictures, sound and text that ffprobe says: {expected}"


def _pictures_wrong(store: Store, mutants: Sequence[Mutant]) -> Iterator[str]:
    """What a copy that was cut off shows at a time is what the whole shows then; of its last picture, who knows."""
    rows = {row["uri"]: row for row in read_table(store, "media", columns=["uri", "media_id"]).to_pylist()}
    wholes = {m.original: rows[str(m.path)] for m in mutants if m.kind == "whole" and str(m.path) in rows}
    originals = _pictures(store, [row[BATCH_ID] for row in wholes.values()])
    cuts: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        if mutant.kind == "cut" and mutant.original in wholes and str(mutant.path) in rows:
            cuts[rows[str(mutant.path)][BATCH_ID]].append(mutant)
    for batch_id, some in sorted(cuts.items()):
        pictures = _pictures(store, [batch_id])
        for mutant in some:
            own = pictures.get(rows[str(mutant.path)]["media_id"], {})
            whole = originals.get(wholes[mutant.original]["media_id"], {})
            for t_us in sorted(own)[:-1]:
                if t_us in whole and _difference(own[t_us], whole[t_us]) > _UNLIKE:
                    yield f"{str(mutant.path)!r}: another picture at {t_us} µs than in the whole file"


def _pictures(store: Store, batch_ids: Sequence[str]) -> dict[str, dict[int, bytes]]:
    found: dict[str, dict[int, bytes]] = defaultdict(dict)
    for row in read_table(store, "frames", batch_ids=batch_ids, columns=["media_id", "t_us", "jpeg"]).to_pylist():
        found[row["media_id"]][row["t_us"]] = row["jpeg"]
    return found


def _difference(one: bytes, other: bytes) -> float:
    pictures = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for jpeg in (one, other)]
    if pictures[0].shape != pictures[1].shape:
        return 255
    return float(np.mean(cv2.absdiff(*pictures)))


def _table(report: Report) -> Iterator[str]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    errors: Counter[str] = Counter()
    for outcome in report.looked.outcomes:
        counts[report.kinds.get(outcome.uri, "?")][outcome.status] += 1
        errors.update([outcome.error] if outcome.error else [])
    yield f"{'':8}{'done':>8}{'duplicate':>12}{'failed':>8}"
    for kind, seen in sorted(counts.items()):
        yield f"{kind:8}{seen['done']:8}{seen['duplicate']:12}{seen['failed']:8}"
    yield "errors: " + (", ".join(f"{count} {name}" for name, count in errors.most_common()) or "none")
    timed = [outcome for outcome in report.looked.outcomes if outcome.seconds is not None]
    for outcome in sorted(timed, key=lambda outcome: -(outcome.seconds or 0))[:_NUM_SLOWEST]:
        path = Path(outcome.uri)
        yield f"{outcome.seconds:8.2f} s  {path.parent.name}/{path.name} ({outcome.status})"
    yield (
        f"{len(report.looked.outcomes)} files in {report.seconds:.0f} s; largest process {report.peak_megabytes} MB; "
        f"{len(report.problems)} problems"
    )


def media_files(only: Sequence[str] = ()) -> list[Path]:
    """The shared media, or those of some names."""
    paths = sorted(path for path in MEDIA.iterdir() if path.suffix not in NOT_MEDIA)
    return [path for path in paths if not only or path.name in only]


def config_for(folder: Path, **more: Any) -> IngestConfig:
    """How mutants in a folder are ingested: small batches, one attempt a wave, which gives up after two minutes."""
    settings = {"batch_sources": 24, "wave_batches": 12, "wave_attempts": 1, "stall_seconds": 120, "workers": 2}
    return IngestConfig(sources=(f"{folder}/*/*",), **{**settings, **more})


def main() -> int:
    """Make the mutants, ingest them, print what came of it; 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=20, help="copies of each file that are cut off")
    parser.add_argument("--flips", type=int, default=20, help="copies of each file with flipped bytes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--frames", default="1/s", help="as of triptych ingest")
    parser.add_argument("--observe", action="store_true", help="find shots and measure motion, too")
    parser.add_argument("--only", action="append", default=[], help="name of a file; may be given again")
    parser.add_argument("--most-bytes", type=int, help="only so many of each file, from its start")
    parser.add_argument("--keep", type=Path, help="a new folder for the mutants and the store, which stay")
    given = parser.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="triptych-fuzz-"))
    try:
        files = media_files(given.only)
        damage = {"num_cuts": given.cuts, "num_flips": given.flips, "seed": given.seed}
        mutants = make_mutants(files, folder / "files", **damage, most_bytes=given.most_bytes)
        how = {"frames": given.frames, "shots": given.observe, "motion": given.observe}
        report = fuzz(mutants, folder, config_for(folder / "files", **how))
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(report, flush=True)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
