"""Where a backbone's first weights come from, and what happens when they cannot be had."""

import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models import resnet50
from torchvision.models._api import Weights
from torchvision.models.feature_extraction import create_feature_extractor

from trainer import backbone_weights
from trainer.backbone_weights import load_weights, with_weights_at_hand
from trainer.backbones import build_body
from trainer.config import ConfigError, RunConfig, load_config

RESNET: dict[str, Any] = {"backbone": "resnet50"}


@pytest.fixture(scope="module")
def published(module_folder: Path) -> Path:
    """A file as torchvision publishes them: all of a classifier, its hash in the file's name."""
    torch.manual_seed(7)
    path = module_folder / "resnet50.pth"
    torch.save(resnet50().state_dict(), path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return path.rename(path.with_name(f"resnet50-{digest[:8]}.pth"))


@pytest.fixture
def server(published: Path) -> Iterator[str]:
    """The address of a real server of that file."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = partial(Quiet, directory=str(published.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def publish_at(monkeypatch: pytest.MonkeyPatch, cache: Path, url: str) -> None:
    """Let the weights of ResNet-50 be published at `url`, and keep those fetched in `cache`."""
    monkeypatch.setenv("TORCH_HOME", str(cache))
    weights = Weights(url=url, transforms=lambda: None, meta={})
    monkeypatch.setitem(backbone_weights._PUBLISHED, "resnet50", weights)


def loaded(**values: Any) -> dict[str, Tensor]:
    config = load_config({**RESNET, **values})
    body = build_body(config)
    load_weights(body, config)
    return body.state_dict()


def test_published_weights_are_fetched_once(
    published: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(RESNET)
    publish_at(monkeypatch, tmp_path, f"{server}/{published.name}")
    assert with_weights_at_hand(config) == (config, None)
    assert socket.getdefaulttimeout() is None
    publish_at(monkeypatch, tmp_path, f"http://127.0.0.1:1/{published.name}")  # nobody is there
    assert with_weights_at_hand(config) == (config, None)
    stored = torch.load(published, weights_only=True)
    for name, value in loaded().items():
        assert torch.equal(value, stored[name]), name


def test_a_files_weights_give_torchvisions_maps(published: Path) -> None:
    """Not only the names agree: strides and norms do, too."""
    config = load_config({**RESNET, "backbone_weights": str(published)})
    assert with_weights_at_hand(config) == (config, None)
    ours = build_body(config).eval()
    load_weights(ours, config)
    theirs = resnet50()
    theirs.load_state_dict(torch.load(published, weights_only=True))
    layers = create_feature_extractor(theirs.eval(), [f"layer{i}" for i in (1, 2, 3, 4)])
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        for mine, its in zip(ours(images), layers(images).values(), strict=True):
            torch.testing.assert_close(mine, its)


def address(server: str, published: Path, trouble: str) -> str:
    return {
        "refused": f"http://127.0.0.1:1/{published.name}",
        "not there": f"{server}/resnet50-00000000.pth",
        "no such host": f"http://weights.invalid/{published.name}",
    }[trouble]


@pytest.mark.parametrize("trouble", ["refused", "not there", "no such host"])
def test_without_weights_everything_trains_and_this_is_said(
    trouble: str, published: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_at(monkeypatch, tmp_path, address(server, published, trouble))
    asked = load_config({**RESNET, "trainable_layers": 3, "batch_norm": "affine"})
    config, warning = with_weights_at_hand(asked)
    assert config == asked.model_copy(
        update={"backbone_weights": "none", "trainable_layers": 5, "batch_norm": "trained"}
    )
    assert warning is not None
    for words in ("ImageNet weights of resnet50 cannot be had", "from scratch",
                  "trainable_layers=5, batch_norm=trained", "--backbone-weights FILE"):  # fmt: skip
        assert words in warning


def test_a_silent_server_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/resnet50-00000000.pth"
        publish_at(monkeypatch, tmp_path, url)
        monkeypatch.setattr(backbone_weights, "_SECONDS", 0.1)
        _, warning = with_weights_at_hand(load_config(RESNET))
    assert warning is not None
    assert "timed out" in warning


def test_a_damaged_file_is_not_taken(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / published.name
    damaged.write_bytes(published.read_bytes()[:-1000])
    publish_at(monkeypatch, tmp_path / "cache", damaged.as_uri())
    _, warning = with_weights_at_hand(load_config(RESNET))
    assert warning is not None
    assert "invalid hash value" in warning
    assert not list((tmp_path / "cache").rglob("*.pth"))


def test_from_scratch_on_request_is_said_too() -> None:
    config, warning = with_weights_at_hand(RunConfig(backbone_weights="none"))
    assert (config.trainable_layers, config.batch_norm) == (5, "trained")
    assert warning is not None
    assert warning.startswith("backbone_weights is none: the backbone trains from scratch")
    assert with_weights_at_hand(config) == (config, warning)


def test_the_demos_weights_come_with_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", None)  # no way to ask anybody
    assert with_weights_at_hand(RunConfig()) == (RunConfig(), None)


def write(path: Path, values: Any) -> str:
    torch.save(values, path)
    return str(path)


def test_files_that_do_not_fit(published: Path, tmp_path: Path) -> None:
    whole = torch.load(published, weights_only=True)
    some = {name: value for name, value in whole.items() if not name.startswith("layer4")}
    wide = some | {"conv1.weight": torch.zeros(64, 4, 7, 7)}
    for values, words in (
        ({"other": torch.zeros(1)}, "lacks 265 tensors of resnet50, the first is conv1.weight"),
        (some, "lacks 50 tensors of resnet50, the first is layer4.0.conv1.weight"),
        (wide, "is of another backbone than resnet50 .*conv1.weight"),
        ("text", "cannot be read"),
    ):
        with pytest.raises(ConfigError, match=words):
            loaded(backbone_weights=write(tmp_path / "weights.pth", values))
    with pytest.raises(ConfigError, match="cannot be read"):
        loaded(backbone_weights="/nowhere.pth")


def test_a_wrapped_state_dict_is_unwrapped(published: Path, tmp_path: Path) -> None:
    """As training scripts keep them: under "state_dict", names as of a parallel module."""
    whole = torch.load(published, weights_only=True)
    path = write(
        tmp_path / "last.pth", {"state_dict": {f"module.{n}": v for n, v in whole.items()}}
    )
    assert torch.equal(loaded(backbone_weights=path)["conv1.weight"], whole["conv1.weight"])
