"""Merge command-line options, environment and file to one configuration."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any

from orchestrator.core.config import ConfigError, ServiceConfig
from orchestrator.core.config_loading import GONE, KEYS, named_settings


def settings(options: argparse.Namespace) -> ServiceConfig:
    """The configuration of this run.

    Raises `ConfigError` for every fault that can be found without starting a service.
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
        # A custom model is known once its adapter is imported; the shipped names need no import.
        import orchestrator.models  # noqa: F401

        return ServiceConfig(**named)
