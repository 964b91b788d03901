"""Checkpoints load from every layout they are published in; other files are refused with a message
a person understands.
"""

from __future__ import annotations

import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="torch is not installed; it comes with the extra 'export'"
)
onnx = pytest.importorskip("onnx", reason="onnx is not installed; it comes with the extra 'export'")

from safetensors_file import save_safetensors  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from export.containers import WrongCheckpointError  # noqa: E402
from export.seeded import seeded_state  # noqa: E402
from export.weights import Checkpoint, WeightsSource  # noqa: E402

SOURCE = WeightsSource(
    "the toy network", ("generator", "net"), origin="example.org/toy", licence="research only"
)


class Toy(nn.Module):
    """One convolution, a batch norm and a linear layer."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.out = nn.Linear(width, 2)

    def forward(self, picture: Tensor) -> Tensor:
        result: Tensor = self.out(self.norm(self.conv(picture)).mean((2, 3)))
        return result


def seeded(module: nn.Module | None = None) -> dict[str, Tensor]:
    """The toy's tensors by the weight rule."""
    tensors = {
        key: {"shape": list(value.shape), "dtype": str(value.dtype)[6:]}
        for key, value in (module or Toy()).state_dict().items()
    }
    return {
        key: torch.from_numpy(np.array(value))
        for key, value in seeded_state(tensors, seed=1, gain=1.0).items()
    }


def save(path: Path, value: Any) -> None:
    torch.save(value, path)


def save_old(path: Path, value: Any) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


def save_torchscript(path: Path, tensors: dict[str, Tensor]) -> None:
    module = Toy().eval()
    module.load_state_dict(tensors)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of torch call the format outdated
        torch.jit.script(module).save(path)


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in tensors.items()}


LAYOUTS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "zip": (lambda path: save(path, seeded()), "PyTorch zip archive", ""),
    "old pickle": (lambda path: save_old(path, seeded()), "PyTorch pickle of the old format", ""),
    "ordered dict": (lambda path: save(path, OrderedDict(seeded())), "PyTorch zip archive", ""),
    "TorchScript": (lambda path: save_torchscript(path, seeded()), "TorchScript archive", ""),
    "parallel": (lambda path: save(path, prefixed("module.", seeded())), "PyTorch zip archive", ""),
    "state_dict beside an optimizer": (
        lambda path: save_old(
            path,
            {
                "state_dict": prefixed("module.", seeded()),
                "optimizer": {"state": {0: {"step": 1}}},
                "global_step": 7,
            },
        ),
        "PyTorch pickle of the old format",
        "state_dict",
    ),
    "section": (
        lambda path: save(
            path, {"kp_detector": {"x": torch.ones(1)}, "generator": seeded(), "epoch": 3}
        ),
        "PyTorch zip archive",
        "generator",
    ),
    "numbers of numpy": (
        lambda path: save(
            path, {"state_dict": seeded(), "best_loss": np.float64(0.5), "steps": np.int64(3)}
        ),
        "PyTorch zip archive",
        "state_dict",
    ),
    "section of another name": (
        lambda path: save(path, {"net": seeded()}),
        "PyTorch zip archive",
        "net",
    ),
    "section in a wrapper": (
        lambda path: save(path, {"model": {"generator": seeded()}}),
        "PyTorch zip archive",
        "model.generator",
    ),
    "model": (
        lambda path: save(path, {"model": seeded(), "lr": 0.1}),
        "PyTorch zip archive",
        "model",
    ),
    "safetensors": (lambda path: save_safetensors(path, seeded()), "safetensors file", ""),
    "safetensors of several networks": (
        lambda path: save_safetensors(
            path,
            prefixed("generator.", seeded())
            | prefixed("audio2exp.", {"conv.weight": torch.ones(1)}),
        ),
        "safetensors file",
        "generator",
    ),
    "without counters": (
        lambda path: save(
            path, {key: value for key, value in seeded().items() if "num_batches" not in key}
        ),
        "PyTorch zip archive",
        "",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_fills_the_network(layout: str, tmp_path: Path) -> None:
    write, container, section = LAYOUTS[layout]
    write(tmp_path / "anything.bin")
    module = Toy()
    record = Checkpoint(tmp_path / "anything.bin").load(module, SOURCE)
    assert all(torch.equal(module.state_dict()[key], value) for key, value in seeded().items())
    assert (record.container, record.section) == (container, section)
    assert (record.origin, record.licence, len(record.sha256)) == (
        "example.org/toy",
        "research only",
        64,
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_single(dtype: Any, tmp_path: Path) -> None:
    half = {
        key: value.to(dtype) if value.is_floating_point() else value
        for key, value in seeded().items()
    }
    save_safetensors(tmp_path / "half.safetensors", half)
    module = Toy()
    Checkpoint(tmp_path / "half.safetensors").load(module, SOURCE)
    assert module.conv.weight.dtype == torch.float32
    assert torch.equal(module.conv.weight, half["conv.weight"].float())


class Attack:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return print, ("this must not be printed",)


def truncated(path: Path, write: Callable[[Path], None]) -> None:
    write(path)
    path.write_bytes(path.read_bytes()[:-200])


def save_onnx(path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    copied = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])], "graph", [value], [copied]
    )
    onnx.save(onnx.helper.make_model(graph), path)


def save_picture(path: Path) -> None:
    path.write_bytes(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())


def save_numpy(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.ones(2))


def without(key: str) -> dict[str, Tensor]:
    return {name: value for name, value in seeded().items() if name != key}


PAGE = (
    "<!DOCTYPE html>\n<html><head><title>Quota exceeded</title></head><body>Too many "
    "users</body></html>"
)
WRONG: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "empty": (lambda path: path.write_bytes(b""), ("empty (0 bytes)", "expected PyTorch weights")),
    "text": (
        lambda path: path.write_text("Please see the README."),
        ("a text file that begins with 'Please see",),
    ),
    "web page": (
        lambda path: path.write_text(PAGE),
        ("a web page titled 'Quota exceeded'", "page of the host"),
    ),
    "truncated zip": (
        lambda path: truncated(path, lambda file: save(file, seeded())),
        ("cut short", "download it again"),
    ),
    "truncated old pickle": (
        lambda path: truncated(path, lambda file: save_old(file, seeded())),
        ("cut short or damaged",),
    ),
    "truncated safetensors": (
        lambda path: truncated(path, lambda file: save_safetensors(file, seeded())),
        ("cut short or damaged",),
    ),
    "picture": (save_picture, ("a JPEG picture",)),
    "ONNX": (save_onnx, ("an ONNX model",)),
    "code in a zip": (
        lambda path: save(path, {"state_dict": Attack()}),
        ("would run code", "print", "save its state dict alone"),
    ),
    "code in an old pickle": (
        lambda path: save_old(path, {"state_dict": Attack()}),
        ("would run code", "refused"),
    ),
    "plain pickle": (lambda path: path.write_bytes(pickle.dumps(Attack())), ("a Python pickle",)),
    "Git LFS pointer": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
        ("git lfs pull",),
    ),
    "other archive": (save_numpy, ("zip archive of other files (a.npy)",)),
    "random bytes": (lambda path: path.write_bytes(bytes(range(200, 256)) * 9), ("no known kind",)),
    "one tensor": (
        lambda path: save(path, torch.ones(2)),
        ("holds one Tensor", "a dict of tensors"),
    ),
    "wrong network": (
        lambda path: save(path, {"conv1_1.weight": torch.ones(64, 3, 3, 3)}),
        (
            "looks like the S3FD face detector",
            "does not fit the toy network",
            "missing: conv.weight [4, 3, 3, 3]",
        ),
    ),
    "missing": (
        lambda path: save(path, without("norm.running_mean")),
        ("1 missing: norm.running_mean [4]",),
    ),
    "unknown": (
        lambda path: save(path, seeded() | {"extra.bias": torch.ones(3)}),
        ("1 unknown: extra.bias [3]",),
    ),
    "wrong shapes": (
        lambda path: save(path, seeded(Toy(width=5))),
        ("7 of another shape: conv.weight is [5, 3, 3, 3], expected [4, 3, 3, 3]", "and 4 more"),
    ),
    "optimizer only": (
        lambda path: save(
            path,
            {
                "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []},
                "epoch": 9,
            },
        ),
        (
            "an optimizer's state without the network",
            "optimizer, epoch",
            "the toy network under generator or net",
        ),
    ),
    "undefined numbers": (
        lambda path: save(path, seeded() | {"out.bias": torch.tensor([1.0, float("nan")])}),
        ("undefined numbers in out.bias",),
    ),
    "folder": (lambda path: path.mkdir(), ("is a folder",)),
    "nothing": (lambda path: None, ("is not there",)),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_is_refused_in_words(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write, words = WRONG[kind]
    path = tmp_path / "wav2lip_gan.pth"
    write(path)
    module = Toy()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(WrongCheckpointError) as refusal:
        Checkpoint(path).load(module, SOURCE)
    message = str(refusal.value)
    assert "wav2lip_gan.pth" in message
    assert [word for word in words if word not in message] == [], message
    assert len(message) < 800
    assert "must not be printed" not in capsys.readouterr().out
    assert all(torch.equal(module.state_dict()[key], value) for key, value in before.items())
