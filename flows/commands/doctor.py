"""`triptych doctor`: what this machine has."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from features.errors import StoreError, TriptychError
from features.extractors.registry import extractor_names, get_extractor, takes
from features.store.storage import check_place, is_url
from flows.cli import EXIT_DONE, EXIT_FAILED
from flows.console import out, out_json, size_text

if TYPE_CHECKING:
    from flows.cli import Call

_PACKAGES = (
    *("apache-beam", "av", "deltalake", "duckdb", "librosa", "onnx", "onnxruntime", "opencv-python", "prefect"),
    *("pyarrow", "torch"),
)
_CODECS = ("h264", "hevc", "vp9", "av1", "mpeg4", "mpeg2video", "aac", "mp3", "opus", "subrip", "mov_text", "webvtt")


class Finding(NamedTuple):
    """One thing looked at."""

    what: str
    ok: bool
    detail: str


def run(call: Call) -> int:
    """Look at everything, print it, and fail where something that is needed is missing."""
    findings = [*_packages(), _device(), _codecs(), *_extractors(), _place(call.store)]
    if call.arguments.json:
        out_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            out(f"{'ok     ' if finding.ok else 'MISSING'}  {finding.what:<30} {finding.detail}")
    return EXIT_DONE if all(finding.ok for finding in findings) else EXIT_FAILED


def _packages() -> list[Finding]:
    findings = []
    for name in _PACKAGES:
        try:
            findings.append(Finding(name, True, version(name)))
        except PackageNotFoundError:
            findings.append(Finding(name, False, f"pip install {name}"))
    return findings


def _device() -> Finding:
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Finding("device", True, f"{os.cpu_count()} CPU cores, GPUs: {', '.join(names) or 'none (CPU is used)'}")


def _codecs() -> Finding:
    import av

    missing = [name for name in _CODECS if name not in av.codecs_available]
    ffmpeg = ".".join(map(str, av.library_versions["libavcodec"]))
    return Finding("codecs", not missing, f"libavcodec {ffmpeg}, missing: {', '.join(missing) or 'none'}")


def _extractors() -> list[Finding]:
    """Whether each extractor that needs no argument can be made and loads."""
    findings = []
    for name in extractor_names():
        what = f"weights of {name}"
        try:
            if takes(name):
                continue
            extractor = get_extractor(name)
            extractor.load("cpu")
            findings.append(Finding(what, True, extractor.spec.key))
        except Exception as error:  # noqa: BLE001 - an extractor may be anyone's code
            detail = str(error) if isinstance(error, TriptychError) else repr(error)
            findings.append(Finding(what, False, detail))
    return findings


def _bucket(store: str) -> Finding:
    try:
        check_place(store)
    except StoreError as error:
        return Finding("store", False, str(error))
    return Finding("store", True, f"{store}: the bucket answers")


def _place(store: str) -> Finding:
    if is_url(store):
        return _bucket(store)
    path = Path(store).absolute()
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    writable = os.access(there, os.W_OK)
    return Finding("store", writable, f"{path}: {size_text(free)} free{'' if writable else ', may not be written'}")
