"""Command-line options, environment and file become one configuration."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any

from orchestrator.core.config import ConfigError, ServiceConfig
from orchestrator.core.config_loading import GONE, KEYS, named_settings


def settings(options: argparse.Namespace) -> ServiceConfig:
    """The configuration of this run, tried as far as that takes no service; raises
    `ConfigError`.
    """
    flags = {name: value for name, value in vars(options).items() if name in KEYS or name in GONE}
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
        import orchestrator.models  # noqa: F401 - a model of one's own has its name from its adapter; ours need not wait for the adapters

        return ServiceConfig(**named)
