"""The commands: where the code of each is, what it takes, and what `--help` says of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from features.export.options import ExportOptions
from pipelines.options import ExtractConfig, IngestConfig, NightlyConfig, RetryConfig, RunConfig, ScoreConfig


class Command(NamedTuple):
    """A command: where its code is, what it takes, what `--help` says."""

    module: str
    text: str
    example: str
    config: type[Any] | None = None
    arguments: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = ()


def _arg(*names: str, **options: Any) -> tuple[tuple[str, ...], dict[str, Any]]:  # noqa: ANN401 - as add_argument
    return names, options


COMMANDS: dict[str, Command] = {
    "demo": Command(
        "demo",
        "make a small synthetic archive, run everything through the nightly flow, write the report",
        "triptych demo triptych-demo",
        None,
        (
            _arg("folder", nargs="?", default="triptych-demo", help="folder for the archive and the store"),
            _arg("--clips", type=int, default=48, help="clips to make, at least 12"),
            _arg("--runner", choices=("in-process", "multi"), default="multi", help="as for nightly"),
        ),
    ),
    "init": Command(
        "init",
        "write a configuration, a recipe, a consent file and labels to begin with, every key explained",
        "triptych init my-archive",
        None,
        (
            _arg("folder", nargs="?", default=".", help="where they go (default: here)"),
            _arg("--force", action="store_true", help="replace files that are there"),
        ),
    ),
    "ingest": Command(
        "ingest", "decode new sources once into frames, audio and text", "triptych ingest videos/", IngestConfig
    ),
    "extract": Command(
        "extract", "fill feature tables for all pending batches", "triptych extract mfcc", ExtractConfig
    ),
    "label": Command(
        "label",
        "load labels: uri or media, class or number, optionally a span",
        "triptych label sentiment labels.csv",
        None,
        (_arg("set", help="name of the label set"), _arg("file", help="CSV, Parquet or JSON Lines")),
    ),
    "import-features": Command(
        "import_features",
        "take precomputed vectors into the feature store: CSV, Parquet, or a NumPy array with an index",
        "triptych import-features action_units.csv --modality video --name action_units",
        None,
        (
            _arg("file", help="CSV or Parquet with media or uri, maybe a span or order, and numbers; or .npy, .npz"),
            _arg("--modality", required=True, help="video, audio, text, face or voice"),
            _arg("--name", required=True, help="of the feature: a to z, digits and _"),
            _arg("--version", type=int, default=1, metavar="N", help="of the feature (default 1)"),
            _arg(
                "--columns", default="", metavar="GLOB,…", help="columns that are the vector's numbers (default: all)"
            ),
            _arg(
                "--index", default="", metavar="FILE", help="CSV with media and span of each vector, for .npy and .npz"
            ),
            _arg("--new-media", action="store_true", help="add media that the store does not have, without content"),
        ),
    ),
    "train": Command(
        "train",
        "train a recipe, compare it with each single modality, register the model; a run that was killed goes on",
        "triptych train sentiment",
        None,
        (
            _arg("recipe", help="packaged recipe or TOML file"),
            _arg(
                "--ablate",
                choices=("none", "single", "full"),
                default="single",
                help="what is trained beside the fused model: nothing, each modality alone, every subset of them",
            ),
            _arg("--processes", type=int, default=1, metavar="N", help="processes that share each batch (default 1)"),
        ),
    ),
    "train-tokenizer": Command(
        "train_tokenizer",
        "fit a tokenizer on the text of the training split, and register it; the extractor tokens uses the newest",
        "triptych train-tokenizer --recipe sentiment",
        None,
        (
            _arg("name", nargs="?", default="tokenizer", help="name of the tokenizer (default tokenizer)"),
            _arg("--vocabulary", type=int, default=10_000, metavar="PIECES", help="pieces at most (default 10000)"),
            _arg("--recipe", default="", help="split as training this recipe would, dealt now where it was not yet"),
            _arg("--split", default="", metavar="NAME", help="table splits/NAME; default: the only one there is"),
            _arg("--all", action="store_true", help="learn from the text of all media, whatever its split"),
        ),
    ),
    "models": Command(
        "models",
        "list the registered models with their figures; show one's card; two side by side, with what differs in them",
        "triptych models sentiment@1",
        None,
        (
            _arg("name", nargs="?", default="", help="NAME: its versions; NAME@VERSION: its card; default: all models"),
            _arg("--compare", nargs=2, default=(), metavar=("A", "B"), help="two models, NAME[@VERSION] each"),
        ),
    ),
    "score": Command(
        "score", "score pending batches, each segment once a model", "triptych score sentiment", ScoreConfig
    ),
    "predict": Command(
        "predict",
        "one video, or an image, a sound and a text, straight to a prediction, without a store",
        "triptych predict triptych-store/models/sentiment/1 clip.mp4",
        None,
        (
            _arg("model", help="model folder, or NAME[@VERSION] in the store"),
            _arg("files", nargs="+", metavar="FILE", help="a video, or an image, a sound and a text"),
            _arg("--device", default="auto", help="auto, cpu, cuda or cuda:N"),
        ),
    ),
    "nightly": Command(
        "nightly", "the whole run, here and now, as a Prefect flow", "triptych nightly videos/", NightlyConfig
    ),
    "serve": Command(
        "serve",
        "serve the nightly flow with a schedule and a form, on a Prefect server (PREFECT_API_URL, or one it starts)",
        "triptych serve videos/ --cron '0 2 * * *'",
        NightlyConfig,
        (
            _arg("--cron", default="0 2 * * *", help="schedule of the nightly run"),
            _arg("--port", type=int, default=4200, help="port of the server that it starts"),
        ),
    ),
    "maintain": Command(
        "maintain",
        "merge a batch's files, sweep what dead runs and old generations left, clean the logs, drop an extractor",
        "triptych maintain --dry-run",
        None,
        (
            _arg(
                "--retention-hours",
                type=int,
                default=168,
                metavar="HOURS",
                help="sweep what nothing has listed for so long; longer than any job runs (default 168)",
            ),
            _arg("--drop", default="", metavar="NAME@VERSION", help="only drop this extractor's tables"),
            _arg("--yes", action="store_true", help="do not ask; nothing else runs on the store"),
            _arg("--dry-run", action="store_true", help="only say what would be done"),
        ),
    ),
    "forget": Command(
        "forget",
        "erase media, or all media of a subject, for good: rows, old versions of tables, files; ingest does not bring "
        "them back. Models are named, not changed. Versions of tables from before can no longer be read",
        "triptych forget --media clip_000.mp4 --dry-run",
        None,
        (
            _arg("--media", action="append", default=[], help="media_id, its first digits, or file name; repeatable"),
            _arg("--subject", default="", help="pseudonym in media.subject_ids: all media with it"),
            _arg("--dry-run", action="store_true", help="only say what would be erased"),
            _arg("--yes", action="store_true", help="do not ask"),
        ),
    ),
    "consent": Command(
        "consent",
        "who agreed to what: show what the consent file makes of which media, and apply it to those that are there",
        "triptych consent --apply",
        None,
        (
            _arg(
                "--consent", default="", metavar="FILE", help="default: TRIPTYCH_CONSENT, or consent.toml in the store"
            ),
            _arg("--media", default="", help="only show this media, purpose by purpose: media_id, or file name"),
            _arg("--apply", action="store_true", help="write it; the next nightly run does so too"),
        ),
    ),
    "plan": Command(
        "plan",
        "what a nightly run would do, before it is run: hours, bytes, CPU, time, disk, money; nothing is changed",
        "triptych plan videos/ --workers 16 --prices prices.toml",
        NightlyConfig,
        (
            _arg("--sample", type=int, default=200, metavar="N", help="sources to look into (default 200; 0: all)"),
            _arg("--prices", default="", metavar="FILE", help="TOML: currency, cpu_hour, gb_month, gb_read"),
            _arg("--last", action="store_true", help="the newest planned run against its plan"),
        ),
    ),
    "status": Command("status", "what is done, pending, failed", "triptych status"),
    "failures": Command(
        "failures",
        "the dead letters, each with its reason; with --retry those that can be are tried again",
        "triptych failures --retry --stage ingest --error DecodeError",
        RetryConfig,
        (
            _arg("--retry", action="store_true", help="try them again, up to --max-attempts times each"),
            _arg("--stage", default="", help="only of this stage, such as ingest, extract, extract:mfcc@1"),
            _arg("--error", default="", help="only of this class of error; or a glob that class or message match"),
            _arg("--media", default="", help="only of this media: media_id, its first digits, path or file name"),
            _arg("--all", action="store_true", help="list closed ones too"),
        ),
    ),
    "show": Command(
        "show",
        "one media's timeline",
        "triptych show clip_000.mp4",
        None,
        (_arg("media", help="media_id, its first digits, or file name"),),
    ),
    "lineage": Command(
        "lineage",
        "what made the batches of a table, a model, or the rows of one media: run, code, weights, input versions",
        "triptych lineage features/mfcc@1",
        None,
        (
            _arg("of", help="a table, NAME[@VERSION] of a model, or a media as for show"),
            _arg("--batch", default="", help="for a table: only this batch"),
        ),
    ),
    "sql": Command(
        "sql",
        'DuckDB over the tables (quote names such as "features/mfcc@1")',
        "triptych sql 'select name, duration_us from media'",
        None,
        (_arg("query", help="SQL; every table of the store is a view"),),
    ),
    "export": Command(
        "export",
        "write rows of a table, or features aligned with segments, as Parquet, CSV, NumPy, WebDataset or datasets; "
        "killed, the same command goes on",
        "triptych export mfcc minilm --segmentation window:10s --out vectors",
        ExportOptions,
    ),
    "verify": Command(
        "verify",
        "check every file and row against the logs; exit status 3 where something is wrong and stays so",
        "triptych verify --quick",
        RunConfig,
        (
            _arg("tables", nargs="*", metavar="TABLE", help="tables to check; default: all"),
            _arg("--quick", action="store_true", help="do not hash the files: a flipped byte goes unnoticed"),
            _arg("--repair", action="store_true", help="make the damaged batches again, and nothing else"),
        ),
    ),
    "report": Command(
        "report",
        "write the store, the models and the scores as one HTML file",
        "triptych report --out report.html",
        None,
        (_arg("--out", default="", help="default: report.html in the store"),),
    ),
    "features": Command(
        "features",
        "list the extractors: what they read and make, and how fast they are on this machine",
        "triptych features --measure mfcc",
        None,
        (
            _arg("names", nargs="*", metavar="NAME", help="list these; default: all"),
            _arg("--measure", action="store_true", help="measure their speed on made-up media, a second or two each"),
            _arg("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)"),
        ),
    ),
    "doctor": Command("doctor", "what this machine has: device, codecs, weights, disk", "triptych doctor"),
}
