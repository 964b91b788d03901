"""Which networks take memory, and in which order they are loaded."""

from __future__ import annotations

from pathlib import Path

from orchestrator.cli.load_order import loaded_later
from orchestrator.cli.startup_models import BUILT_IN, loaded_first
from orchestrator.core.config import ServiceConfig
from orchestrator.core.types import LipSyncModel
from orchestrator.models import ADAPTERS

TPSM, WAV2LIP, NEURAL = LipSyncModel.TPSM, LipSyncModel.WAV2LIP, LipSyncModel.TPSM_NEURAL


def test_what_is_loaded_first_is_what_the_built_in_model_needs() -> None:
    assert (
        (*ADAPTERS[TPSM].spec.triton_models, *ADAPTERS[TPSM].spec.ensembles)
        == BUILT_IN
        == loaded_first(ServiceConfig())
    )


def test_every_network_of_every_model_is_loaded_and_the_default_models_come_first() -> None:
    networks = loaded_later(ServiceConfig(default_model=NEURAL))
    assert {name for adapter in ADAPTERS.values() for name in adapter.spec.triton_models} <= set(
        networks
    )
    assert "tpsm_neural_source" in networks, "networks that see the face alone"
    assert networks.index("tpsm_neural_frames") < networks.index("wav2lip")


def test_large_models_keep_no_smaller_ones_waiting(tmp_path: Path) -> None:
    for network, nbytes in (("wav2lip", 3000), ("tpsm_neural_frames", 2000), ("audio2motion", 10)):
        (tmp_path / network / "1").mkdir(parents=True)
        (tmp_path / network / "1" / "model.onnx").write_bytes(bytes(nbytes))
    networks = loaded_later(ServiceConfig(model_repository=tmp_path))
    assert networks[:3] == BUILT_IN
    assert networks.index("tpsm_neural_frames") < networks.index("wav2lip")


def test_only_the_models_that_were_named_take_memory() -> None:
    config = ServiceConfig(models=(WAV2LIP,), default_model=WAV2LIP)
    assert loaded_first(config) == ()
    assert loaded_later(config) == ADAPTERS[WAV2LIP].spec.triton_models


def test_models_that_licences_forbid_take_no_memory() -> None:
    assert set(loaded_later(ServiceConfig(commercial_safe=True))).isdisjoint(
        ADAPTERS[WAV2LIP].spec.triton_models
    )
