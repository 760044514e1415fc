"""What to export, and how: declared once; the command's flags and TOML keys come from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from features.errors import ConfigError

Format = Literal["parquet", "csv", "numpy", "webdataset", "datasets"]

_NOT_OF_CONTENT = ("out", "overwrite")


def _option(default: Any, text: str, *, positional: bool = False) -> Any:  # noqa: ANN401 - as dataclasses.field
    return field(default=default, metadata={"help": text, "positional": positional})


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What to export, and how.

    Without `segmentation`, the rows of one table go out as they are stored; with it, features go out side by side, a
    row a segment, as `features.reading.open_features` aligns them.
    """

    names: tuple[str, ...] = _option(
        (), "a table (frames, features/mfcc@1), or with --segmentation features to put side by side", positional=True
    )
    out: str = _option("", "folder for the files; missing, empty, or of the same export, which then goes on")
    format: Format = _option("parquet", "what to write")
    segmentation: str = _option("", "a row a segment: window:10s, whole, utterances, shots, labels:SET")
    pool: tuple[str, ...] = _option((), "mean, max, std, last or pad:N; for one feature: mfcc=max (default mean)")
    columns: tuple[str, ...] = _option(
        (), "columns to write, in this order, separated by commas; with --segmentation those of media too, such as name"
    )
    labels: str = _option("", "label set whose tasks to put beside the segments, a column a task: label:TASK")
    split: str = _option("", "splits to put beside the rows, in a column split; datasets: in files of their own")
    batch: tuple[str, ...] = _option((), "only this batch; repeatable")
    media: tuple[str, ...] = _option((), "only this media: media_id, its first digits, or file name; repeatable")
    limit: int = _option(0, "rows at most, the first ones; 0: all")
    shard_mb: int = _option(256, "megabytes of rows in a file, about; a WebDataset shard has no more")
    overwrite: bool = _option(False, "delete another export in the folder, and begin anew")

    @property
    def is_aligned(self) -> bool:
        """Whether features are aligned with segments, rather than rows written as they are stored."""
        return bool(self.segmentation)

    @property
    def shard_bytes(self) -> int:
        """Bytes of rows in a file."""
        return self.shard_mb << 20

    def identity(self) -> dict[str, Any]:
        """All that the files depend on, as JSON holds it; beside the store and its versions."""
        stated = {name: value for name, value in asdict(self).items() if name not in _NOT_OF_CONTENT}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in stated.items()}


def check_options(options: ExportOptions) -> None:
    """Refuse what cannot be, before a store is opened.

    Raises:
        ConfigError: Nothing is named, a number is out of range, or options do not go together.
    """
    if not options.names:
        message = "name what to export, a table or features: triptych export features/mfcc@1 --out FOLDER"
        raise ConfigError(message)
    if options.shard_mb < 1:
        message = f"shard_mb is {options.shard_mb}; give at least 1 megabyte a file"
        raise ConfigError(message)
    if options.limit < 0:
        message = f"limit is {options.limit}; give a number of rows, or 0 for all"
        raise ConfigError(message)
    if not options.is_aligned:
        _check_stored(options)


def _check_stored(options: ExportOptions) -> None:
    if len(options.names) > 1:
        message = (
            f"{len(options.names)} names ({', '.join(options.names)}) do not go into one table as they are stored;"
        )
        message += " put features side by side with --segmentation window:10s, or export each into a folder of its own"
        raise ConfigError(message)
    for name, value in (("pool", ", ".join(options.pool)), ("labels", options.labels)):
        if value:
            message = f"--{name} {value} is for segments, and rows go out as they are stored; "
            raise ConfigError(message + "add --segmentation window:10s, or leave it out")
