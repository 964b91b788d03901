"""Which models may draw the next frames, best first. Pure: everything it weighs is an argument."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from orchestrator.types import LipSyncModel


def candidates(
    *,
    preference: LipSyncModel | None,
    default: LipSyncModel,
    chain: Sequence[LipSyncModel],
    usable: Collection[LipSyncModel],
) -> list[LipSyncModel]:
    """The preference, the default, then the chain: those of them that are usable, each once, and `static` last.

    `usable`: the face supports it, its Triton models are ready and its circuit is closed.
    """
    wanted = [model for model in (preference, default, *chain) if model is not None and model in usable]
    ordered = [model for model in dict.fromkeys(wanted) if model is not LipSyncModel.STATIC]
    if preference is LipSyncModel.STATIC:
        return [LipSyncModel.STATIC]
    return [*ordered, LipSyncModel.STATIC]
