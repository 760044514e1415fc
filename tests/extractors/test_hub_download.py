"""Models fetched over HTTP from a small server that answers as the hub does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, ClassVar

import pytest

from tests.extractors import tiny_models as tiny

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
UNWANTED = ("pytorch_model.bin", "flax_model.msgpack", "onnx/model.safetensors", "code.py")


pytestmark = pytest.mark.slow


class Hub(BaseHTTPRequestHandler):
    """The hub's interface, as far as a model's files are concerned."""

    folder: ClassVar[Path]
    asked: ClassVar[list[str]]
    cut: ClassVar[str]

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def _answer(self, *, with_content: bool) -> None:
        if found := re.fullmatch(rf"/owner/vit/resolve/{COMMIT}/([\w./-]+)", self.path):
            return self._file(found.group(1), with_content=with_content)
        if re.fullmatch(r"/api/models/owner/vit(/revision/main)?", self.path):
            return self._send(json.dumps({"id": "owner/vit", "sha": COMMIT, "siblings": []}).encode())
        if self.path.startswith(f"/api/models/owner/vit/tree/{COMMIT}"):
            paths = [path for path in self.folder.rglob("*") if path.is_file()]
            tree = [
                {"type": "file", "path": str(path.relative_to(self.folder)), "size": path.stat().st_size, "oid": "0"}
                for path in paths
            ]
            return self._send(json.dumps(tree).encode())
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        return self.end_headers()

    def _file(self, name: str, *, with_content: bool) -> None:
        content = (self.folder / name).read_bytes()
        begin = int((re.findall(r"bytes=(\d+)-", self.headers.get("Range", "")) or ["0"])[0])
        self.send_response(206 if begin else 200)
        self.send_header("ETag", f'"{sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content) - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if with_content:
            self.asked.append(name)
            end = len(content) // 2 if name == self.cut else len(content)
            self.wfile.write(content[begin:end])
            self.close_connection = True

    def _send(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    """Address of a hub that has the model `owner/vit` with more files than are wanted."""
    Hub.folder, Hub.asked, Hub.cut = tiny.vit(tmp_path / "served"), [], ""
    for name in UNWANTED:
        (Hub.folder / name).parent.mkdir(exist_ok=True)
        (Hub.folder / name).write_bytes(b"unwanted")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def ask(endpoint: str, cache: Path, *wheres: str, offline: bool = False) -> list[str]:
    """For each model the fingerprint of its weights, or the error; in a process of its own, with an own cache."""
    code = (
        "import sys\n"
        "from features.errors import ExtractionError\n"
        "from features.extractors.hub_image import HubImage\n"
        "for where in sys.argv[1:]:\n"
        "    try:\n"
        "        print(HubImage(where).spec.weights_fingerprint)\n"
        "    except ExtractionError as error:\n"
        "        print(error)\n"
    )
    proxies = {name: "" for name in os.environ if name.lower().endswith("_proxy")}
    client = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": str(+offline),
    }
    done = subprocess.run(
        [sys.executable, "-c", code, *wheres],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | proxies | client | {"HF_HUB_DOWNLOAD_TIMEOUT": "2"},
    )
    return done.stdout.splitlines()


def test_only_what_is_wanted_is_fetched_and_only_once(endpoint: str, tmp_path: Path) -> None:
    fetched, unknown = ask(endpoint, tmp_path / "cache", "owner/vit", "owner/other")
    assert sorted(Hub.asked) == ["README.md", "config.json", "model.safetensors", "preprocessor_config.json"]
    assert re.search(r"no model 'owner/other' in the cache, and it cannot be fetched \(RepositoryNotFound", unknown)
    assert ask(endpoint, tmp_path / "cache", str(Hub.folder)) == [fetched]
    assert ask("http://127.0.0.1:9", tmp_path / "cache", "owner/vit", offline=True) == [fetched]
    assert ask(endpoint, tmp_path / "cache", "owner/vit") == [fetched]
    assert len(Hub.asked) == 4


def test_an_interrupted_download_is_no_model_and_goes_on_the_next_time(endpoint: str, tmp_path: Path) -> None:
    Hub.cut = "model.safetensors"
    (told,) = ask(endpoint, tmp_path / "cache", "owner/vit")
    assert "no model 'owner/vit' in the cache" in told
    (told,) = ask(endpoint, tmp_path / "cache", "owner/vit", offline=True)
    assert "hf download owner/vit" in told
    Hub.cut = ""
    assert ask(endpoint, tmp_path / "cache", "owner/vit") == ask(endpoint, tmp_path / "cache", str(Hub.folder))
