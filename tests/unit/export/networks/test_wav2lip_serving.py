"""Wav2Lip as it is served: bytes at the borders, only the rows that are shown."""

from __future__ import annotations

import pytest
from project_root import ROOT

torch = pytest.importorskip(
    "torch", reason="torch is not installed; it comes with the extra 'export'"
)

from export.networks.wav2lip import onnx  # noqa: E402
from export.networks.wav2lip.generator import Generator  # noqa: E402
from export.networks.wav2lip.serving import FIRST_PAINTED_ROW, ServedMouth  # noqa: E402
from export.reference import Reference  # noqa: E402
from orchestrator.models.wav2lip.face import FADE_IN  # noqa: E402


@pytest.fixture(scope="module")
def generator() -> Generator:
    return (
        Reference(ROOT / "tests" / "data" / "reference" / "wav2lip", seed=1)
        .fill(Generator(), "generator")
        .requires_grad_(False)
    )


def test_the_mask_shows_painted_rows_alone() -> None:
    cubic_reach = 2
    assert FIRST_PAINTED_ROW + cubic_reach <= FADE_IN[0] * 96


def test_the_rows_that_are_shown_are_upstream_s_bytes_and_the_others_the_face_s(
    generator: Generator,
) -> None:
    torch.manual_seed(2)
    mel, face = (
        torch.rand(1, 16, 80) * 8.0 - 4.0,
        torch.randint(0, 256, (1, 96, 96, 3), dtype=torch.uint8),
    )
    crop = face.flip(-1).permute(0, 3, 1, 2) / 255.0
    masked = crop.clone()
    masked[:, :, 48:] = 0.0
    painted = generator(mel.transpose(1, 2)[:, None], torch.cat((masked, crop), dim=1))
    expected = (painted * 255.0).to(torch.uint8).permute(0, 2, 3, 1).flip(-1)
    shown = ServedMouth(generator).eval()(mel, face)
    assert (shown.int() - expected.int())[:, FIRST_PAINTED_ROW:].abs().max() <= 1
    assert torch.equal(shown[:, :FIRST_PAINTED_ROW], face[:, :FIRST_PAINTED_ROW])


def test_folding_leaves_no_norm_after_a_transposed_convolution(generator: Generator) -> None:
    folded = onnx.folded(generator)
    assert len([key for key in folded.state_dict() if key.endswith("running_var")]) == 45 - 1
    torch.manual_seed(3)
    mel, face = torch.rand(1, 1, 80, 16), torch.rand(1, 6, 96, 96)
    assert torch.allclose(generator(mel, face), folded(mel, face), atol=1e-5)
