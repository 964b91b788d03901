"""`python -m export NAME` refuses what it cannot do in words that a person understands, and checks
`config.pbtxt` against the graph.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from export import command
from export.__main__ import main as dispatch
from orchestrator.core.paths import MODEL_REPOSITORY


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of the arguments --checkpoint --seeded is required"),
        (["--seeded", "1", "--checkpoint", "a.pth"], "not allowed with"),
        (["--seeded", "one"], "invalid int value: 'one'"),
        (["--seeded", "1", "--batches", "0,3"], "batches are at least 1"),
        (["--seeded", "1", "--format", "caffe"], "invalid choice: 'caffe'"),
        (["--seeded", "1", "--precision", "int8"], "invalid choice: 'int8'"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main("wav2lip", arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_an_unknown_model_is_answered_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert dispatch(["wav2lips"]) == 2
    usage = capsys.readouterr().err
    assert all(name in usage for name in (*command.MODELS, "verify", "check", "audio2motion"))


def test_a_check_without_exported_networks_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed; it comes with the extra 'export'")
    assert dispatch(["check", "--repository", str(tmp_path), "--networks", "wav2lip"]) == 1
    assert "wav2lip: not exported" in capsys.readouterr().out


class TestWithTorch:
    """What needs the exporters' packages."""

    @pytest.fixture(autouse=True)
    def packages(self) -> None:
        pytest.importorskip(
            "torch", reason="torch is not installed; it comes with the extra 'export'"
        )
        pytest.importorskip(
            "onnx", reason="onnx is not installed; it comes with the extra 'export'"
        )

    def test_an_unknown_network_is_answered_with_the_known_ones(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert command.main("wav2lip", ["--seeded", "1", "--networks", "wav2lip_sync"]) == 1
        assert (
            "no network wav2lip_sync; this model has wav2lip, wav2lip_syncnet"
            in capsys.readouterr().out
        )

    def test_an_engine_without_tensorrt_is_refused_at_once(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        if find_spec("tensorrt") and find_spec("polygraphy"):
            pytest.skip("TensorRT is installed here: the engine would be built")
        assert (
            command.main(
                "wav2lip", ["--seeded", "1", "--format", "tensorrt", "--repository", str(tmp_path)]
            )
            == 1
        )
        assert (
            "needs an NVIDIA GPU and `pip install 'lipsync-service[export,gpu]'`"
            in capsys.readouterr().out
        )
        assert list(tmp_path.iterdir()) == []

    def test_a_missing_checkpoint_is_named(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "wav2lip_gan.pth"
        assert (
            command.main("wav2lip", ["--checkpoint", str(path), "--repository", str(tmp_path)]) == 1
        )
        assert f"{path} is not there; expected a checkpoint file" in capsys.readouterr().out

    def test_another_network_s_checkpoint_is_called_by_its_name(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        import torch

        path = tmp_path / "wav2lip_gan.pth"
        torch.save(
            {
                "state_dict": {
                    "module.face_encoder.0.conv_block.0.weight": torch.zeros(32, 15, 7, 7)
                }
            },
            path,
        )
        assert (
            command.main("wav2lip", ["--checkpoint", str(path), "--repository", str(tmp_path)]) == 1
        )
        assert (
            "looks like Wav2Lip's SyncNet and does not fit Wav2Lip's generator"
            in capsys.readouterr().out
        )
        assert not (tmp_path / "wav2lip").exists()

    def test_a_second_file_that_holds_nothing_wanted_is_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        import torch

        from export.networks.tpsm_neural.sources import NETWORKS
        from export.sources import seeded_networks

        avd = seeded_networks(NETWORKS, ["avd_network"], seed=1)["avd_network"].module
        torch.save({"avd_network": avd.state_dict()}, tmp_path / "a.pth")
        torch.save({"other": {"x": torch.zeros(1)}}, tmp_path / "b.pth")
        files = ["--checkpoint", str(tmp_path / "a.pth"), "--checkpoint", str(tmp_path / "b.pth")]
        assert (
            command.main(
                "tpsm-neural",
                [*files, "--networks", "tpsm_neural_avd", "--repository", str(tmp_path / "models")],
            )
            == 1
        )
        assert "b.pth holds no network that is still needed" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("was", "becomes", "message"),
        [
            (
                'name: "points" data_type: TYPE_FP32',
                'name: "key_points" data_type: TYPE_FP32',
                "outputs ['key_points'], the graph has ['points']",
            ),
            (
                "TYPE_FP32 dims: [ 50, 2 ]",
                "TYPE_FP16 dims: [ 50, 2 ]",
                "source_points is float16 ['batch', 50, 2], in the graph float32",
            ),
            (
                "dims: [ 50, 2 ]",
                "dims: [ 68, 2 ]",
                "source_points is float32 ['batch', 68, 2], in the graph float32 ['batch', 50, 2]",
            ),
            (
                'backend: "onnxruntime"',
                'backend: "python"',
                "backend 'python', expected 'onnxruntime'",
            ),
        ],
    )
    def test_a_configuration_that_is_not_the_graph_s_is_named_and_nothing_is_left(
        self,
        was: str,
        becomes: str,
        message: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        folder = tmp_path / "tpsm_neural_avd"
        shutil.copytree(
            MODEL_REPOSITORY / folder.name,
            folder,
            ignore=shutil.ignore_patterns("1", "parity.json"),
        )
        config = (folder / "config.pbtxt").read_text()
        (folder / "config.pbtxt").write_text(config.replace(was, becomes))
        assert (
            command.main(
                "tpsm-neural",
                ["--seeded", "1", "--networks", folder.name, "--repository", str(tmp_path)],
            )
            == 1
        )
        assert message in capsys.readouterr().out
        assert list((folder / "1").iterdir()) == []
        assert not (folder / "parity.json").exists()
