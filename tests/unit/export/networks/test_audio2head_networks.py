"""Audio2Head's modules: upstream's keys and shapes, constants, and its cheap stages against the
records.
"""

from __future__ import annotations

import numpy as np
import pytest
from project_root import ROOT

torch = pytest.importorskip(
    "torch", reason="torch is not installed; it comes with the extra 'export'"
)

from export.networks.audio2head import verification  # noqa: E402
from export.networks.audio2head.dense_motion import motion_grids  # noqa: E402
from export.networks.audio2head.key_points import KeyPoints, inverse_2x2, soft_key_points  # noqa: E402
from export.networks.audio2head.kp_detector import KpDetector  # noqa: E402
from export.networks.audio2head.layers import coordinate_grid  # noqa: E402
from export.networks.audio2head.pipeline import NETWORKS, frame_bytes  # noqa: E402
from export.reference import Reference  # noqa: E402

RECORDS = ROOT / "tests" / "data" / "reference" / "audio2head"


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(RECORDS, seed=1)


@pytest.mark.parametrize("network", NETWORKS)
def test_an_audio2head_network_has_upstream_s_tensors(reference: Reference, network: str) -> None:
    with torch.device("meta"):
        own = NETWORKS[network]().state_dict()
    wanted = {
        key: tuple(spec["shape"])
        for key, spec in reference.manifest["networks"][network]["state"].items()
    }
    assert {key: tuple(tensor.shape) for key, tensor in own.items()} == wanted


@pytest.mark.parametrize("outputs", [verification.feature_outputs, verification.pose_box_outputs])
def test_audio2head_s_features_and_boxes_equal_upstream_s(
    reference: Reference, outputs: object
) -> None:
    for key, output in outputs(reference):  # type: ignore[operator]
        assert reference.error(key, output) <= reference.tolerance(key), key


def test_audio2head_s_key_points_of_a_picture_equal_upstream_s(reference: Reference) -> None:
    network = reference.fill(KpDetector(), "kp_detector")
    with torch.no_grad():
        logits, jacobian_maps = network.maps(torch.from_numpy(reference.inputs["source_image"]))
        points = soft_key_points(logits, jacobian_maps)
    for key, output in (
        ("pred_feature", logits),
        ("value", points.value),
        ("jacobian", points.jacobian),
    ):
        assert reference.error(f"kp_detector.{key}", output.numpy()) <= reference.tolerance(
            f"kp_detector.{key}"
        ), key


def test_jacobians_start_from_the_identity_and_the_kernel_sums_to_one() -> None:
    network = KpDetector()
    assert network.jacobian.bias.reshape(10, 2, 2)[3].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert float(network.down.weight.sum()) == pytest.approx(3.0)


def test_the_closed_form_is_the_inverse() -> None:
    matrices = torch.eye(2) + 0.3 * torch.rand(
        5, 10, 2, 2, generator=torch.Generator().manual_seed(1)
    )
    torch.testing.assert_close(
        inverse_2x2(matrices) @ matrices, torch.eye(2).expand(5, 10, 2, 2), atol=1e-5, rtol=0
    )


def test_key_points_that_stay_leave_the_grid_where_it_is() -> None:
    generator = torch.Generator().manual_seed(2)
    points = KeyPoints(
        torch.rand(1, 10, 2, generator=generator),
        torch.eye(2) + 0.2 * torch.rand(1, 10, 2, 2, generator=generator),
    )
    grids = motion_grids(8, points, points)
    torch.testing.assert_close(
        grids, coordinate_grid(8, 8).expand(1, 11, 8, 8, 2), atol=1e-5, rtol=0
    )


def test_a_frame_s_bytes_are_truncated() -> None:
    assert frame_bytes(torch.full((1, 3, 1, 1), 0.999)).tolist() == [[[[254, 254, 254]]]]
    assert frame_bytes(torch.ones(1, 3, 1, 1)).dtype == np.uint8
