"""`docs/models.md` has a card for each model, and it says what adapter, configuration and gate
say.
"""

from __future__ import annotations

import re

import pytest
from project_root import ROOT

from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.core.types import LipSyncModel
from orchestrator.inference.model_contract import TensorContract, read_repository
from orchestrator.models import ADAPTERS

PAGE = (ROOT / "docs" / "models.md").read_text()
CARDS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
CONTRACTS = read_repository(MODEL_REPOSITORY).models
SHARED = ("audio2motion", "tpsm", "tpsm_speech")
"""Described in the card of `tpsm`, whoever else asks them."""


def rows(text: str) -> dict[str, list[str]]:
    """The cells of a table's rows by the first cell without its marks."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    return {cells[0].split("`")[1] if "`" in cells[0] else cells[0]: cells[1:] for cells in lines}


def written(tensors: tuple[TensorContract, ...]) -> set[str]:
    return {
        f"`{tensor.name}` {tensor.datatype} [{', '.join(map(str, tensor.dims))}]"
        for tensor in tensors
    }


def tensors_of(cell: str) -> set[str]:
    return set(re.findall(r"`\w+` \w+ \[[^\]]*\]", cell))


@pytest.mark.parametrize("model", ADAPTERS, ids=str)
def test_every_model_has_a_card_with_its_look_ahead_and_licence(model: LipSyncModel) -> None:
    spec = ADAPTERS[model].spec
    assert model.value in CARDS, f"docs/models.md has no card '## {model.value}'"
    card, overview = rows(CARDS[model.value]), rows(PAGE.split("\n## ")[0])[model.value]
    look_ahead = f"{spec.look_ahead_ms if spec.triton_models else 0.0:.1f} ms"
    assert card["look-ahead"][0].startswith(look_ahead)
    assert overview[1] == look_ahead
    commercial = "yes" if spec.licences.commercial else "no"
    assert card["licence"][0].endswith(f"commercial use {commercial}")
    assert overview[-1] == commercial


@pytest.mark.parametrize("model", ADAPTERS, ids=str)
def test_a_card_has_every_network_with_the_tensors_of_its_configuration(
    model: LipSyncModel,
) -> None:
    card = rows(CARDS[model.value])
    for network in (*ADAPTERS[model].spec.triton_models, *ADAPTERS[model].spec.ensembles):
        if network in SHARED and model is not LipSyncModel.TPSM:
            continue
        inputs, outputs = card[network][0], card[network][1]
        assert tensors_of(inputs) == written(CONTRACTS[network].inputs), network
        assert tensors_of(outputs) == written(CONTRACTS[network].outputs), network
