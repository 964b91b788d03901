"""Licence policy: `commercial_safe` admits models whose code and weights allow commercial use."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from orchestrator.core.config import ConfigError, ServiceConfig
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import LipSyncModel
from orchestrator.models.base import Licences, ModelAdapter


def why_refused(model: LipSyncModel, licences: Licences, *, commercial_safe: bool) -> str:
    """Reason against a model, with its licences; empty if it may be served."""
    if licences.commercial or not commercial_safe:
        return ""
    return (
        f"{model.value} is refused by commercial_safe (code: {licences.code}; weights: "
        f"{licences.weights})"
    )


def refused_models(
    adapters: Mapping[LipSyncModel, ModelAdapter], *, commercial_safe: bool
) -> dict[LipSyncModel, str]:
    """Models that must not be served, each with the reason."""
    reasons = {
        model: why_refused(model, adapter.spec.licences, commercial_safe=commercial_safe)
        for model, adapter in adapters.items()
    }
    return {model: reason for model, reason in reasons.items() if reason}


def best_permitted(
    adapters: Mapping[LipSyncModel, ModelAdapter], among: Collection[LipSyncModel] | None = None
) -> LipSyncModel:
    """Model of the best quality with commercial licences, of those `among` which to choose."""
    permitted = [adapter.spec for adapter in adapters.values() if adapter.spec.licences.commercial]
    fitting = [spec for spec in permitted if among is None or spec.model in among]
    return max(fitting, key=lambda spec: spec.quality).model


def check_models(
    config: ServiceConfig, adapters: Mapping[LipSyncModel, ModelAdapter], *, chain_is_named: bool
) -> None:
    """Raise `ConfigError` if the configuration names a model that `commercial_safe` refuses. The
    default chain skips such models instead.
    """
    refused = refused_models(adapters, commercial_safe=config.commercial_safe)
    if config.default_model in refused:
        raise ConfigError(
            f"default_model: {refused[config.default_model]}; use {best_permitted(adapters).value}"
        )
    for key, models in {
        "models": config.models,
        "fallback_chain": config.fallback_chain if chain_is_named else (),
    }.items():
        banned = [refused[model] for model in models if model in refused]
        if banned:
            rest = (
                ",".join(model.value for model in models if model not in refused)
                or best_permitted(adapters).value
            )
            raise ConfigError(f"{key}: {'; '.join(banned)}; use {rest}")


def refused_preference(
    model: LipSyncModel, reason: str, licences: Licences, alternative: LipSyncModel
) -> LipSyncError:
    """Error for a client that prefers a refused model: the session continues with `alternative`."""
    return LipSyncError(
        LipSyncErrorCode.MODEL_LOAD_FAILED,
        f"modelPreference: {reason}; {alternative.value} speaks instead",
        fallback_available=True,
        details={
            "field": "modelPreference",
            "model": model.value,
            "licence": {"code": licences.code, "weights": licences.weights},
            "alternative": alternative.value,
        },
    )
