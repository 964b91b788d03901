"""Names of models are data: one object per name, shipped or added."""

from __future__ import annotations

import copy
import pickle

import pytest

from orchestrator.core.types import SHIPPED_MODELS, LipSyncModel


def test_a_name_has_one_model() -> None:
    model = LipSyncModel("tpsm-neural")
    assert model is LipSyncModel.TPSM_NEURAL
    assert copy.deepcopy(model) is model
    assert pickle.loads(pickle.dumps(model)) is model


def test_a_models_value_is_plain_text() -> None:
    assert (LipSyncModel.TPSM.value, type(LipSyncModel.TPSM.value)) == ("tpsm", str)
    assert f"{LipSyncModel.TPSM}" == "tpsm"


@pytest.mark.parametrize("name", ["nobody", "TPSM", "", 5, None, []])
def test_an_unknown_name_is_no_model(name: object) -> None:
    with pytest.raises(ValueError, match="is not a known model"):
        LipSyncModel(name)


def test_an_added_name_is_known_from_then_on() -> None:
    model = LipSyncModel.own("added-in-a-test")
    assert LipSyncModel.own("added-in-a-test") is LipSyncModel("added-in-a-test") is model
    assert model in LipSyncModel.known()
    assert model not in SHIPPED_MODELS
    assert LipSyncModel.own("tpsm") is LipSyncModel.TPSM


@pytest.mark.parametrize("name", ["Glow", "-glow", "glow_2", "g" * 33, ""])
def test_a_name_of_bad_syntax_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 32 small letters"):
        LipSyncModel.own(name)
