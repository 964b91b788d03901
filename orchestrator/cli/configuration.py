"""Configuration of a run, from command-line options, environment and file."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any

from orchestrator.core.config import ConfigError, ServiceConfig
from orchestrator.core.config_loading import KEYS, REMOVED_KEYS, named_settings


def settings(options: argparse.Namespace) -> ServiceConfig:
    """Build and check the configuration, as far as that needs no service.

    Raises `ConfigError`, also for bad keys of the authenticator and for licences that
    `commercial_safe` refuses.
    """
    flags = {
        name: value for name, value in vars(options).items() if name in KEYS or name in REMOVED_KEYS
    }
    named = named_settings(flags, os.environ, options.config)
    config = _config(named)
    if config.asks_for_tokens:
        from orchestrator.server.auth import authenticator_of

        authenticator_of(config)
    if config.commercial_safe:
        from orchestrator.models import ADAPTERS
        from orchestrator.pipeline.licence_policy import check_models

        check_models(config, ADAPTERS, chain_is_named="fallback_chain" in named)
    return config


def _config(named: Mapping[str, Any]) -> ServiceConfig:
    try:
        return ServiceConfig(**named)
    except ConfigError:
        import orchestrator.models  # noqa: F401 - names the added models; slow, and rarely needed

        return ServiceConfig(**named)
