"""TPSM's networks: upstream's tensor names, and every stage before the picture network equal to
upstream's records.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from project_root import ROOT

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e .[export]")

from export.networks.tpsm_neural import verification  # noqa: E402
from export.networks.tpsm_neural.pictures import quantise_picture, resize_picture  # noqa: E402
from export.networks.tpsm_neural.splines import apply_splines, fit_splines, solve  # noqa: E402
from export.reference import Reference  # noqa: E402
from orchestrator.models.tpsm_neural.motion import motion_scale, relative_points  # noqa: E402

FOLDER = ROOT / "tests" / "data" / "reference" / "tpsm"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(FOLDER, seed=1)


def test_every_network_of_the_manifest_has_a_module() -> None:
    assert set(verification.NETWORKS) == set(MANIFEST["networks"])


@pytest.mark.parametrize("network", sorted(MANIFEST["networks"]))
def test_tensor_names_and_shapes_are_those_of_the_checkpoint(network: str) -> None:
    with torch.device("meta"):
        tensors = verification.NETWORKS[network]().state_dict()
    assert {key: list(tensor.shape) for key, tensor in tensors.items()} == {
        key: spec["shape"] for key, spec in MANIFEST["networks"][network]["state"].items()
    }


@pytest.mark.parametrize(
    "outputs",
    [verification.preprocessing, verification.synthetic_stages, verification.relative_motion],
)
def test_what_has_no_weights_equals_upstream(
    reference: Reference, outputs: Callable[[Reference], verification.Outputs]
) -> None:
    for key, output in outputs(reference):
        assert reference.error(key, output) <= reference.tolerance(key), key


def test_bytes_are_rounded_as_upstream_rounds_them(reference: Reference) -> None:
    assert np.array_equal(
        quantise_picture(reference.records["demo.standard"][0]), reference.records["post.ubyte"]
    )


def test_unrolled_solver_is_as_accurate_as_lapack_on_stiff_systems() -> None:
    """By the mean of the systems' largest errors: the largest of all depends on the processor's
    instructions.
    """
    generator = torch.Generator().manual_seed(3)
    left, right = (
        torch.linalg.qr(torch.randn(200, 8, 8, generator=generator))[0] for _ in range(2)
    )
    stiff = left @ torch.diag(torch.logspace(0, -4, 8)) @ right
    target = torch.rand(200, 8, 2, generator=generator)
    truth = torch.linalg.solve(stiff.double(), target.double())
    answers = (solve(stiff, target), torch.linalg.solve(stiff, target))
    own_error, lapack_error = ((answer - truth).abs().amax(dim=(1, 2)).mean() for answer in answers)
    assert own_error < 3 * lapack_error


def test_splines_of_unmoved_points_leave_the_picture_nearly_where_it_is() -> None:
    corners = torch.tensor([[[[-0.8, -0.8], [0.8, -0.8], [0.0, 0.1], [-0.8, 0.8], [0.8, 0.8]]]])
    moved = apply_splines(fit_splines(corners, corners), torch.zeros(1, 1, 2))
    assert moved.abs().max() < 0.05


def test_relative_motion_grows_with_the_size_of_the_source_face() -> None:
    initial = np.random.default_rng(1).uniform(-0.3, 0.3, (50, 2)).astype(np.float32)
    source = (2 * initial + 0.1).astype(np.float32)
    scale = motion_scale(source, initial)
    moved = relative_points(source, initial + np.float32(0.05), initial, scale)
    assert scale == pytest.approx(2.0, rel=1e-5)
    assert moved - source == pytest.approx(0.1, abs=1e-5)


@pytest.mark.parametrize("shape", [(256, 256, 3), (97, 130, 4), (700, 300, 3)])
def test_pictures_of_any_size_become_the_networks_size(shape: tuple[int, int, int]) -> None:
    resized = resize_picture(np.full(shape, 51, np.uint8))
    assert resized.shape == (256, 256, 3)
    assert resized == pytest.approx(0.2, abs=1e-6)
