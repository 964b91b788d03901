"""Wav2Lip's modules: upstream's keys and shapes, and its cheap stages against the records."""

from __future__ import annotations

import numpy as np
import pytest
from project_root import ROOT

torch = pytest.importorskip(
    "torch", reason="torch is not installed; it comes with the extra 'export'"
)

from export.networks.wav2lip import verification  # noqa: E402
from export.networks.wav2lip.detection import faces  # noqa: E402
from export.networks.wav2lip.frames import padded  # noqa: E402
from export.networks.wav2lip.generator import Generator  # noqa: E402
from export.networks.wav2lip.quality_discriminator import QualityDiscriminator  # noqa: E402
from export.networks.wav2lip.s3fd import S3fd  # noqa: E402
from export.networks.wav2lip.syncnet import SyncNet  # noqa: E402
from export.reference import Reference  # noqa: E402

RECORDS = ROOT / "tests" / "data" / "reference" / "wav2lip"
NETWORKS = {
    "generator": Generator,
    "syncnet": SyncNet,
    "visual_quality_disc": QualityDiscriminator,
    "s3fd": S3fd,
}


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(RECORDS, seed=1)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_has_upstream_s_tensors(reference: Reference, network: str) -> None:
    with torch.device("meta"):
        own = NETWORKS[network]().state_dict()
    wanted = {
        key: tuple(spec["shape"])
        for key, spec in reference.manifest["networks"][network]["state"].items()
    }
    assert {key: tuple(tensor.shape) for key, tensor in own.items()} == wanted


@pytest.mark.parametrize(
    "outputs",
    [verification.mel_outputs, verification.frame_outputs, verification.detection_outputs],
)
def test_what_needs_no_network_equals_upstream(reference: Reference, outputs: object) -> None:
    for key, output in outputs(reference):  # type: ignore[operator]
        assert reference.error(key, output) <= reference.tolerance(key), key


def test_a_padded_face_ends_at_the_frame() -> None:
    np.testing.assert_array_equal(padded(np.array([5, 3, 90, 95]), (100, 120, 3)), [5, 3, 90, 100])


def test_boxes_come_best_first_and_overlapping_ones_go() -> None:
    classes, offsets = torch.full((1, 2, 8, 8), -5.0), torch.zeros(1, 4, 8, 8)
    classes[:, 0] = 5.0
    for row, column, strength in ((1, 1, 6.0), (1, 2, 9.0), (6, 6, 7.0), (6, 1, 4.0)):
        classes[0, 1, row, column] = strength
    assert faces([(classes, offsets)]).tolist() == [[2, 0, 18, 14], [18, 18, 34, 34]]


def test_a_picture_without_a_face_gives_none() -> None:
    classes = torch.stack((torch.full((8, 8), 9.0), torch.full((8, 8), -9.0)))[None]
    assert faces([(classes, torch.zeros(1, 4, 8, 8))]).shape == (0, 4)
