"""Models by folder or by name on the hub: found, whole, known again."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from features.errors import ConfigError, ExtractionError
from features.extractors import hub_cache
from features.extractors.hub_audio import HubAudio
from features.extractors.hub_files import check_safetensors, fingerprint_of, licence_of
from features.extractors.hub_image import HubImage
from features.extractors.hub_text import HubText
from features.extractors.registry import get_extractor
from features.extractors.weights import fingerprint_files
from tests.extractors import tiny_models as tiny

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.vit(tmp_path / "vit")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of the hub, which is not to be asked."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub_cache._snapshot.cache_clear()
    yield tmp_path / "cache"
    hub_cache._snapshot.cache_clear()


def cached(cache: Path, folder: Path, repo: str = "owner/vit", revision: str = "main") -> Path:
    """A model's folder in the cache, laid out as the hub's client does."""
    home = cache / f"models--{repo.replace('/', '--')}"
    snapshot = home / "snapshots" / COMMIT
    (home / "blobs").mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / revision).write_text(COMMIT, encoding="utf-8")
    snapshot.mkdir(parents=True)
    for path in folder.iterdir():
        blob = home / "blobs" / blake2b(path.name.encode()).hexdigest()[:40]
        shutil.copy(path, blob)
        (snapshot / path.name).symlink_to(blob)
    return home


def shard(folder: Path) -> None:
    """Cut the weights into two files and an index."""
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    parts = {f"model-0000{part + 1}-of-00002.safetensors": names[part::2] for part in range(2)}
    for file, kept in parts.items():
        save_file({name: tensors[name] for name in kept}, folder / file, metadata={"format": "pt"})
    weight_map = {name: file for file, kept in parts.items() for name in kept}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map}), encoding="utf-8"
    )
    (folder / "model.safetensors").unlink()


def test_a_moved_folder_has_the_same_spec(folder: Path, tmp_path: Path) -> None:
    before = HubImage(str(folder)).spec
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.move(folder, tmp_path / "elsewhere" / "vit")
    after = HubImage(str(moved)).spec
    assert after.fingerprint == before.fingerprint
    assert (after.made_by, before.made_by) == (f"hub_image:{moved}", f"hub_image:{folder}")


def test_other_weights_or_preprocessing_have_another_fingerprint(folder: Path) -> None:
    seen = [HubImage(str(folder)).spec.fingerprint]
    weights = load_file(folder / "model.safetensors")
    weights["layernorm.bias"] += 1e-3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    seen.append(HubImage(str(folder)).spec.fingerprint)
    tiny.edit_json(folder / "preprocessor_config.json", image_mean=[0.4, 0.4, 0.4])
    seen.append(HubImage(str(folder)).spec.fingerprint)
    assert len(set(seen)) == 3


def test_the_fingerprint_is_that_of_the_files(folder: Path) -> None:
    names = ("config.json", "model.safetensors", "preprocessor_config.json")
    paths = [folder / name for name in names]
    assert HubImage(str(folder)).spec.weights_fingerprint == fingerprint_files(paths)
    assert fingerprint_of(reversed(paths)) == fingerprint_files(paths)


def test_the_same_model_on_the_hub_and_in_a_folder_is_the_same(cache: Path, folder: Path) -> None:
    cached(cache, folder)
    cached(cache, folder, "other/vit", "v1")
    ours = [HubImage(where) for where in (str(folder), "owner/vit", "other/vit@v1")]
    assert len({extractor.spec.fingerprint for extractor in ours}) == 1
    assert [one.spec.made_by for one in ours[1:]] == ["hub_image:owner/vit", "hub_image:other/vit@v1"]
    pixels = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    vectors = [extractor.load("cpu")(pixels) for extractor in ours]
    np.testing.assert_array_equal(vectors[0], vectors[1])


def test_cut_weights_are_named(folder: Path) -> None:
    weights = folder / "model.safetensors"
    size = weights.stat().st_size
    for kept in (size - 1, 4000, 5, 0):
        with weights.open("r+b") as file:
            file.truncate(kept)
        with pytest.raises(
            ExtractionError, match=r"weights '.*model\.safetensors' have .* bytes.*fetch the model again"
        ):
            HubImage(str(folder))


def test_whole_weights_pass_and_shards_do_too(folder: Path) -> None:
    check_safetensors(folder / "model.safetensors")
    whole = HubImage(str(folder))
    reference = whole.load("cpu")
    shard(folder)
    pixels = np.zeros((1, 3, 32, 32), np.float32)
    found = HubImage(str(folder)).load("cpu")(pixels)
    np.testing.assert_allclose(found, reference(pixels), atol=1e-6)  # the weights lie at other addresses


def test_a_missing_or_cut_shard_is_named(folder: Path) -> None:
    shard(folder)
    second = folder / "model-00002-of-00002.safetensors"
    with second.open("r+b") as file:
        file.truncate(second.stat().st_size // 2)
    with pytest.raises(ExtractionError, match=r"model-00002-of-00002\.safetensors' have"):
        HubImage(str(folder))
    second.unlink()
    with pytest.raises(ExtractionError, match=r"shard '.*model-00002-of-00002\.safetensors'.* is missing"):
        HubImage(str(folder))


def test_an_index_that_leads_out_of_the_folder_is_refused(folder: Path) -> None:
    shard(folder)
    index = folder / "model.safetensors.index.json"
    for content in ('{"weight_map": {"a": "../../other.safetensors"}}', "{}", "[]", '{"weight'):
        index.write_text(content, encoding="utf-8")
        with pytest.raises(
            ExtractionError, match=r"model\.safetensors\.index\.json' (names no shards|is no whole JSON)"
        ):
            HubImage(str(folder))


@pytest.mark.parametrize("place", ["model.safetensors.incomplete", ".cache/huggingface/download/x.0123.incomplete"])
def test_what_a_download_left_is_no_model(folder: Path, place: str) -> None:
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_bytes(b"half")
    with pytest.raises(ExtractionError, match=rf"{place}' is left of an interrupted download; fetch the model again"):
        HubImage(str(folder))


def test_an_interrupted_download_in_the_cache_is_no_model(cache: Path, folder: Path) -> None:
    home = cached(cache, folder)
    (home / "snapshots" / COMMIT / "model.safetensors").unlink()
    with pytest.raises(ExtractionError, match=r"no 'model\.safetensors' in"):
        HubImage("owner/vit")
    (home / "blobs" / "89ab.incomplete").write_bytes(b"half")
    hub_cache._snapshot.cache_clear()
    with pytest.raises(ExtractionError, match=r"89ab\.incomplete.*hf download owner/vit"):
        HubImage("owner/vit")


def test_pickled_weights_are_never_loaded(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Bomb(tmp_path / "exploded")))
    with pytest.raises(ExtractionError, match=r"in 'pytorch_model\.bin' alone.*convert them.*save_pretrained"):
        HubImage(str(folder))
    assert not (tmp_path / "exploded").exists()


def test_code_in_a_model_is_never_run(folder: Path, tmp_path: Path) -> None:
    (folder / "code.py").write_text(f"open({str(tmp_path / 'exploded')!r}, 'w')", encoding="utf-8")
    tiny.edit_json(
        folder / "config.json", model_type="unheard", auto_map={"AutoConfig": "code.A", "AutoModel": "code.B"}
    )
    with pytest.raises(ExtractionError, match=r"cannot load .*vit"):
        HubImage(str(folder))
    assert not (tmp_path / "exploded").exists()


def test_weights_that_lack_a_tensor_are_not_made_up(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    lost = "embeddings.patch_embeddings.projection.weight"
    save_file({k: v for k, v in weights.items() if k != lost}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ExtractionError, match=f"lack '{lost}' of ViTModel"):
        HubImage(str(folder)).load("cpu")


def test_half_precision_is_computed_in_full(folder: Path) -> None:
    weights = {name: tensor.to(torch.float16) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tiny.edit_json(folder / "config.json", dtype="float16")
    network = HubImage(str(folder)).load("cpu").network
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_what_is_nowhere_is_named_with_what_to_do(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ExtractionError, match=r"no folder 'no/such/folder' here, and it is no name on the hub; give a"):
        HubImage("no/such/folder")
    with pytest.raises(ExtractionError, match=r"no model 'nobody/nothing' in the cache.*hf download nobody/nothing,"):
        HubText("nobody/nothing")
    with pytest.raises(ExtractionError, match="hf download nobody/nothing --revision v2"):
        HubAudio("nobody/nothing@v2")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExtractionError, match=r"no 'config\.json' in '.*empty'"):
        HubImage(str(tmp_path / "empty"))


@pytest.mark.parametrize("name", ["hub_image", "hub_audio", "hub_text"])
def test_without_a_model_it_says_what_it_wants(name: str) -> None:
    with pytest.raises(ConfigError, match=f"wants to know which: {name}:local folder, or OWNER/NAME"):
        get_extractor(name)


def test_the_registry_makes_it_again_by_its_maker(folder: Path) -> None:
    spec = get_extractor(f"hub_image:{folder}").spec
    assert get_extractor(spec.maker).spec == spec
    assert pickle.loads(pickle.dumps(get_extractor(spec.maker))).spec == spec  # processes that share it are given it
    cleaned = get_extractor(f"hub_image:{folder}+nonblack").spec
    assert (cleaned.name, cleaned.made_by) == ("hub_image_vit_nonblack", f"hub_image:{folder}+nonblack")


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: mit\n---\n", "mit"),
        ("---\ntags: [a]\nlicense: 'cc-by-4.0'\n---\nlicense: no\n", "cc-by-4.0"),
        ("---\nlicense: other\nlicense_name: own-terms\n---\n", "own-terms"),
        ("---\nlicense: other\n---\n", "other"),
        ("license: mit\n", "unstated"),
        ("---\ntags: []\n---\n", "unstated"),
    ],
)
def test_the_licence_is_the_cards(tmp_path: Path, card: str, licence: str) -> None:
    assert licence_of(tmp_path) == "unstated"
    (tmp_path / "README.md").write_text(card, encoding="utf-8")
    assert licence_of(tmp_path) == licence


def test_a_folder_without_a_letter_in_its_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExtractionError, match=r"no letter a to z .* in '模型'.*rename the folder"):
        HubImage(str(tiny.vit(tmp_path / "模型")))


def test_it_loads_offline_and_silently(folder: Path) -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*args, **kwargs): raise OSError('no network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from features.extractors.registry import get_extractor\n"
        f"get_extractor({f'hub_image:{folder}'!r}).load('cpu')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


class _Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self._path), "w")
