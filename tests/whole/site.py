"""A place for whole runs under faults: clips, a light extractor plug-in, a recipe, and what a clean run leaves."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from features.schema import BATCH_ID
from features.store import Store, read_table
from features.synthetic.clips import Cue, srt_text
from tests.pipelines.clips import make_clip
from tests.whole.places import model_command

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

Content = dict[str, dict[str, Counter[str]]]
"""Rows, as text, by table and batch."""

TRIPTYCH = str(Path(sys.executable).with_name("triptych"))
MODEL = "moods"
STAGES = ("ingest", "extract", "score")
EXTRACTORS = ("sizes", "brittle")
"""Both read pictures and load at once; the second fails on media of three pictures."""

_REPOSITORY = Path(__file__).parents[2]
_OF_THE_RUN = {"batch_id", "ingested_at", "finished_at", "failed_at", "planned_at", "run_id"}
_KEYS: dict[str, tuple[str, ...]] = {
    "sources": ("uri", "size_bytes", "mtime_us"),
    "source_results": ("batch_id", "uri"),
    "media": ("media_id",),
    "frames": ("media_id", "t_us"),
    "audio": ("media_id", "start_us"),
    "transcripts": ("media_id", "start_us", "source"),
    "features": ("media_id", "start_us", "end_us"),
    "coverage": ("media_id",),
    "scores": ("media_id", "start_us", "end_us", "task"),
    "failures": ("stage", "media_id", "uri"),
}
_RECIPE = """
name = "moods"
labels = "mood"
segmentation = "labels:mood"
score_segmentation = "whole"
[task]
name = "mood"
classes = ["low", "high"]
[[features]]
name = "sizes@1"
modality = "video"
[encoders.video]
kind = "linear"
size = 4
[training]
epochs = 2
seeds = [0]
"""


@dataclass(frozen=True)
class Site:
    """Clips and what runs on them need; `stores` are made beside."""

    folder: Path
    num_clips: int

    @property
    def clips(self) -> Path:
        return self.folder / "clips"

    @property
    def model(self) -> Path:
        """The model that a clean run trained."""
        return self.folder / "model"

    def environment(self, **more: str) -> dict[str, str]:
        """For children: the plug-in is installed, no store is set."""
        path = os.pathsep.join([str(self.folder / "plugin"), str(_REPOSITORY)])
        kept = {name: value for name, value in os.environ.items() if name != "TRIPTYCH_STORE"}
        return {**kept, "PYTHONPATH": path, **more}

    def command(self, store: str | Path, *arguments: str | Path) -> list[str]:
        return [TRIPTYCH, "--store", str(store), *map(str, arguments)]

    def run(self, store: str | Path, *arguments: str | Path, status: int = 0, **more: str) -> str:
        """Run `triptych`, check its exit status; what it said."""
        done = subprocess.run(
            self.command(store, *arguments),
            cwd=self.folder,
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        said = f"{done.stdout}{done.stderr}"
        assert done.returncode == status, f"{arguments} ended with {done.returncode}:\n{said}"
        return said

    def night(
        self,
        store: str | Path,
        runner: str = "in-process",
        wave_batches: int = 8,
        stages: Sequence[str] = STAGES,
    ) -> list[str]:
        """A night as a script of the user's: stage after stage, the next only when the one before has ended well."""
        options = ["--runner", runner, "--workers", "2", "--wave-batches", str(wave_batches)]
        score = shlex.join(self.command(store, "score", MODEL, *options))
        steps = {
            "ingest": shlex.join(self.command(store, "ingest", self.clips, "--batch-sources", "5", *options)),
            "extract": shlex.join(self.command(store, "extract", *EXTRACTORS, *options)),
            "score": f"{model_command(self.model, str(store))} && {score}",
        }
        return ["/bin/sh", "-c", " &&\n".join(steps[stage] for stage in stages)]


def make_site(folder: Path, num_clips: int = 40) -> Site:
    """Clips of 1 or 3 seconds, some torn, without sound, with subtitles or a sidecar; the last copies the first."""
    site = Site(folder, num_clips)
    site.clips.mkdir(parents=True)
    cue = Cue(100_000, 900_000, "what a day")
    for i in range(num_clips - 1):
        path = site.clips / f"clip_{i:03d}.mp4"
        make_clip(
            path,
            grey=20 + 5 * i,
            hertz=None if i % 10 == 3 else 200 + 20 * i,
            seconds=3 if i % 8 == 6 else 1,
            cue=cue if i % 4 == 0 else None,
        )
        if i % 10 == 5:
            path.write_bytes(path.read_bytes()[:2000])
        if i % 10 == 7:
            path.with_suffix(".srt").write_text(srt_text([cue]))
    shutil.copyfile(site.clips / "clip_000.mp4", site.clips / f"clip_{num_clips - 1:03d}.mp4")
    _install_plugin(folder / "plugin")
    (folder / "moods.toml").write_text(_RECIPE)
    good = [i for i in range(num_clips - 1) if i % 10 != 5]
    lines = [f"{site.clips}/clip_{i:03d}.mp4,{'low' if i % 2 else 'high'}" for i in good]
    (folder / "labels.csv").write_text("\n".join(["uri,class", *lines]) + "\n")
    return site


def _install_plugin(folder: Path) -> None:
    """What pip leaves of a package with entry points."""
    info = folder / "light_extractors-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: light-extractors\nVersion: 1\n")
    entries = [f"{name} = tests.pipelines.extractors:{name.title()}" for name in EXTRACTORS]
    (info / "entry_points.txt").write_text("\n".join(["[triptych.extractors]", *entries]) + "\n")


class Reference(NamedTuple):
    """What an uninterrupted night left, how long it took, and how many files it made.

    `ingested` is its store before the first extraction.
    """

    site: Site
    ingested: Path
    content: Content
    seconds: float
    num_files: int

    def after(self, stages: Sequence[str]) -> Reference:
        """Of a night of some stages only; those that it starts from count too."""
        stages = STAGES[: STAGES.index(stages[-1]) + 1]
        content = {table: rows for table, rows in self.content.items() if _stage_of(table) in stages}
        if "extract" not in stages:
            letters = {name: _without_letters(rows, "extract") for name, rows in content["failures"].items()}
            content["failures"] = {name: rows for name, rows in letters.items() if rows}
        share = len(stages) / 3
        return Reference(self.site, self.ingested, content, self.seconds * share, round(self.num_files * share))


def _stage_of(table: str) -> str:
    family = table.partition("/")[0]
    return {"features": "extract", "coverage": "extract", "scores": "score"}.get(family, "ingest")


def _without_letters(rows: Counter[str], stage: str) -> Counter[str]:
    return Counter({row: count for row, count in rows.items() if f"'stage': '{stage}" not in row})


def make_reference(folder: Path, *, num_clips: int = 40) -> Reference:
    """Make the clips, run a night in peace, and keep the model that it trains on the way."""
    site, store = make_site(folder / "site", num_clips), folder / "clean"
    options = ("--runner", "in-process", "--wave-batches", "8")
    started = time.monotonic()
    site.run(store, "ingest", site.clips, "--batch-sources", "5", *options)
    shutil.copytree(store, folder / "ingested")
    site.run(store, "extract", *EXTRACTORS, *options)
    seconds = time.monotonic() - started
    site.run(store, "label", "mood", site.folder / "labels.csv")
    site.run(store, "train", site.folder / "moods.toml")
    shutil.copytree(store / "models", site.model)
    started = time.monotonic()
    site.run(store, "score", MODEL, *options)
    seconds += time.monotonic() - started
    clean = Store.open(store)
    num_files = sum(len(files) for _, _, files in os.walk(store))
    return Reference(site, folder / "ingested", content_of(clean, tables_of(clean)), seconds, num_files)


def content_of(store: Store, tables: Iterable[str], batch_ids: Collection[str] | None = None) -> Content:
    """Rows by table and batch, without what tells one run from another; a batch goes by its first source."""
    names = _batch_names(store)
    content: Content = {}
    for table in tables:
        by_batch: dict[str, Counter[str]] = {}
        for row in read_table(store, table, batch_ids=batch_ids).to_pylist():
            rows = by_batch.setdefault(names[row[BATCH_ID]], Counter())
            rows[repr({name: value for name, value in row.items() if name not in _OF_THE_RUN})] += 1
        content[table] = by_batch
    return content


def tables_of(store: Store) -> list[str]:
    """All tables whose rows a night makes."""
    return [table for table in store.tables() if table.partition("/")[0] in _KEYS]


def _batch_names(store: Store) -> dict[str, str]:
    rows = read_table(store, "sources", columns=["uri"]).to_pylist()
    names: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: row["uri"], reverse=True):
        names[row[BATCH_ID]] = row["uri"]
    return names


def assert_alike(store: Store, clean: Content) -> None:
    """Each table equals a clean run's, row for row and batch for batch; each key is there once."""
    assert set(tables_of(store)) == set(clean)
    _assert_same(content_of(store, clean), clean)
    for table in clean:
        assert_unique(store, table)


def assert_unique(store: Store, table: str) -> None:
    """No key twice."""
    key = _KEYS[table.partition("/")[0]]
    rows = Counter(tuple(row[name] for name in key) for row in read_table(store, table).to_pylist())
    assert [one for one, count in rows.items() if count > 1] == [], f"keys twice in {table}"


def assert_whole(store: Store, clean: Content) -> None:
    """What is visible of a run that was ended somewhere is whole: each batch that a mark names has all its rows."""
    for mark, tables in _marked(clean).items():
        batch_ids = store.batches(mark)
        names = _batch_names(store) if batch_ids else {}
        done = {names[batch_id] for batch_id in batch_ids}
        expected = {table: {name: rows for name, rows in clean[table].items() if name in done} for table in tables}
        _assert_same(content_of(store, tables, batch_ids), expected)


def _marked(clean: Content) -> dict[str, list[str]]:
    """Tables by the table whose batches say that theirs are whole."""
    marks: dict[str, list[str]] = {"media": [], "sources": ["sources"]}
    for table in clean:
        family, _, member = table.partition("/")
        if family == "scores":
            marks[table] = [table]
        elif member:
            marks.setdefault(f"coverage/{member}", []).append(table)
        elif table not in ("sources", "failures"):
            marks["media"].append(table)
    return marks


def _assert_same(found: Content, expected: Mapping[str, Mapping[str, Counter[str]]]) -> None:
    wrong = []
    for table, by_batch in expected.items():
        for name in sorted({*by_batch, *found[table]}):
            has, wants = found[table].get(name, Counter()), by_batch.get(name, Counter())
            wrong += [f"{table}, batch of {name}: lacks {row[:300]}" for row in wants - has]
            wrong += [f"{table}, batch of {name}: has in addition {row[:300]}" for row in has - wants]
    assert not wrong, "\n".join(wrong[:6])


def orphans(store: Store) -> list[Path]:
    """Parquet files in the tables' folders that no log lists."""
    listed: set[Path] = set()
    for table in store.tables():
        listed |= {store.table_path(table) / path for path in store.files(table)["path"].to_pylist()}
    there = {path for path in store.path.rglob(f"{BATCH_ID}=*/*") if path.is_file()}
    return sorted(there - listed)
