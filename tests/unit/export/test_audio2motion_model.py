"""The committed network keeps its contract: names, shapes, batches, and a mouth that rests when
nobody speaks.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from project_root import ROOT
from scipy.signal import lfilter

from export.audio2motion import serving
from orchestrator.rendering.motion import CLOSED, MOUTH_PARAMETERS, OPEN, aperture

MODEL = ROOT / serving.MODEL


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    return serving.open_model(MODEL)


def test_tensors_are_named_and_shaped_as_the_configuration_says(
    session: onnxruntime.InferenceSession,
) -> None:
    (mel,), (motion,) = session.get_inputs(), session.get_outputs()
    assert (mel.name, mel.shape, mel.type) == ("mel", ["batch", 88, 80], "tensor(float)")
    assert (motion.name, motion.shape, motion.type) == (
        "motion",
        ["batch", 16, len(MOUTH_PARAMETERS)],
        "tensor(float)",
    )


def test_the_file_is_small_and_speaks_of_nothing_but_the_network() -> None:
    data = MODEL.read_bytes()
    assert len(data) < 2_500_000
    assert b"/work" not in data and b"/tmp" not in data and b".py" not in data


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_a_window_gives_the_same_alone_and_in_company(
    session: onnxruntime.InferenceSession, batch: int
) -> None:
    mel = np.random.default_rng(1).normal(-8, 4, (8, 88, 80)).astype(np.float32)
    together = session.run(["motion"], {"mel": mel[:batch]})[0]
    alone = np.concatenate([session.run(["motion"], {"mel": row[None]})[0] for row in mel[:batch]])
    assert together == pytest.approx(alone, abs=1e-5)
    assert together.min() >= 0 and together.max() <= 1


def test_digital_silence_leaves_the_mouth_shut(session: onnxruntime.InferenceSession) -> None:
    mouth = serving.mouth_of(session, np.zeros(16000, np.float32))
    assert mouth[:, OPEN].max() < 0.03
    assert mouth[:, CLOSED].max() < 0.5


@pytest.mark.parametrize("dbfs", [-80, -60, -40])
def test_steady_noise_leaves_the_mouth_shut(
    session: onnxruntime.InferenceSession, dbfs: int
) -> None:
    noise = np.random.default_rng(2).normal(0, 10 ** (dbfs / 20), 32000).astype(np.float32)
    assert serving.mouth_of(session, noise)[:, OPEN].max() < 0.06


def test_windows_follow_on_one_another_without_a_seam(
    session: onnxruntime.InferenceSession,
) -> None:
    rng = np.random.default_rng(3)
    mel = rng.normal(-8, 3, (200, 80)).astype(np.float32)
    windows = serving.windows_of(mel)
    assert windows.shape == (13, 88, 80)
    assert np.array_equal(windows[5][66:82], mel[80:96]), (
        "steps 0-15 lie on frames 66-81 of their window"
    )


def spoken_ah() -> np.ndarray:
    """Half a second of nothing, 0.35 s of a vowel by formants of Peterson and Barney (1952) on a
    falling pitch, and nothing.
    """
    count = 5600
    pulses = np.diff(np.floor(np.cumsum(np.linspace(140, 95, count)) / 16000), prepend=0.0)
    wave = lfilter([1.0], [1.0, -0.97], pulses)
    for formant_hz, bandwidth_hz in ((730, 90), (1090, 110), (2440, 170)):
        radius = np.exp(-np.pi * bandwidth_hz / 16000)
        wave = lfilter(
            [1 - radius],
            [1.0, -2 * radius * np.cos(2 * np.pi * formant_hz / 16000), radius**2],
            wave,
        )
    at = np.arange(count)
    wave *= np.minimum(1.0, np.minimum(at, count - at) / 480)
    return np.concatenate(
        [np.zeros(8000), 0.15 * wave / np.abs(wave).max(), np.zeros(16000)]
    ).astype(np.float32)


def test_a_vowel_opens_the_mouth_and_it_shuts_after(session: onnxruntime.InferenceSession) -> None:
    gap = aperture(serving.mouth_of(session, spoken_ah()))
    assert gap[:45].max() < 0.1
    assert gap[50:85].max() > 0.3
    assert gap[85 + 15 :].max() < 0.1, "shut 150 ms after the sound"


def test_the_network_in_torch_has_the_window_of_the_contract() -> None:
    torch = pytest.importorskip("torch", reason="torch (the export extra) is not installed")
    from export.audio2motion.network import MouthNet

    network = MouthNet(16).eval()
    with torch.no_grad():
        assert network(torch.zeros(3, 88, 80)).shape == (3, 16, 7)
        crop = torch.randn(1, 96, 80)
        assert torch.allclose(network(crop)[:, 16:], network(crop[:, 16:]), atol=1e-5), (
            "a window sees no more than itself"
        )
