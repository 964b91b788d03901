"""SadTalker's modules: upstream's keys and shapes, and the small networks against the records."""

from __future__ import annotations

import pytest
from project_root import ROOT

torch = pytest.importorskip(
    "torch", reason="torch is not installed; it comes with the extra 'export'"
)

from export.networks.sadtalker.catalogue import NETWORKS  # noqa: E402
from export.networks.sadtalker.graphs import byte_pictures, unit_picture  # noqa: E402
from export.networks.sadtalker.grids import identity_grid, translated, warped  # noqa: E402
from export.networks.sadtalker.mapping import HeadMotion, moved_key_points  # noqa: E402
from export.networks.sadtalker.spade import SpectralConv2d  # noqa: E402
from export.networks.sadtalker.verification import cheap_outputs  # noqa: E402
from export.reference import Reference  # noqa: E402

RECORDS = ROOT / "tests" / "data" / "reference" / "sadtalker"


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


def test_every_network_of_the_reference_is_built(reference: Reference) -> None:
    assert NETWORKS.keys() == reference.manifest["networks"].keys()


def test_hearing_aligning_and_the_small_networks_equal_upstream(reference: Reference) -> None:
    errors = {
        key: (reference.error(key, output), reference.tolerance(key))
        for key, output in cheap_outputs(reference)
    }
    assert {key: pair for key, pair in errors.items() if pair[0] > pair[1]} == {}


def test_the_warps_are_those_of_a_five_dimensional_sampler() -> None:
    torch.manual_seed(0)
    volume, shifts = torch.randn(2, 3, 6, 10, 8), torch.rand(2, 4, 3) * 2.0 - 1.0
    grids = identity_grid(volume) + shifts[:, :, None, None, None]
    sampled = [
        torch.nn.functional.grid_sample(volume, grids[:, k], align_corners=False) for k in range(4)
    ]
    torch.testing.assert_close(
        translated(volume, shifts), torch.stack(sampled, dim=1), rtol=0, atol=1e-5
    )
    flow = torch.rand(2, 6, 10, 8, 3) * 3.0 - 1.5
    expected = torch.nn.functional.grid_sample(volume, flow, align_corners=False)
    torch.testing.assert_close(warped(volume, flow), expected, rtol=0, atol=1e-5)


def test_a_folded_spectral_norm_gives_the_same_numbers() -> None:
    torch.manual_seed(0)
    convolution = SpectralConv2d(4, 6, 3)
    for tensor in convolution.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape))
    picture = torch.randn(1, 4, 5, 5)
    assert torch.equal(convolution.folded()(picture), convolution(picture))


def test_a_chosen_view_replaces_the_predicted_angles() -> None:
    bins, still = torch.randn(1, 66), torch.zeros(1, 45)
    motion = HeadMotion(bins, bins, bins, torch.tensor([[0.5, 0.25, 0.5]]), still)
    canonical = torch.rand(1, 15, 3)
    ahead = moved_key_points(canonical, motion, torch.zeros(1, 3))
    # Looking straight ahead only the vertical translation is left.
    torch.testing.assert_close(ahead, canonical + torch.tensor([0.0, 0.25, 0.0]))


def test_pictures_come_back_from_the_unit_range_byte_by_byte() -> None:
    picture = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).expand(-1, -1, -1, 3)
    assert torch.equal(byte_pictures(unit_picture(picture), frames=1)[:, 0], picture)
