"""Command-line options, environment and file become one configuration."""

from __future__ import annotations

import argparse
import os
from dataclasses import fields
from typing import Any

from orchestrator.config import ConfigError, ServiceConfig
from orchestrator.config_layers import named_settings


def settings(options: argparse.Namespace) -> ServiceConfig:
    """The configuration of this run; raises `ConfigError`."""
    named = _named(options)
    config = ServiceConfig(**named)
    if config.commercial_safe:
        from orchestrator.licences import check_models
        from orchestrator.models import ADAPTERS

        check_models(config, ADAPTERS, chain_is_named="fallback_chain" in named)
    return config


def _named(options: argparse.Namespace) -> dict[str, Any]:
    known = {entry.name for entry in fields(ServiceConfig)}
    flags = {name: value for name, value in vars(options).items() if name in known}
    try:
        return named_settings(flags, os.environ, options.config)
    except ConfigError:
        import orchestrator.models  # noqa: F401 - a model of one's own has its name from its adapter; ours need not wait for the adapters

        return named_settings(flags, os.environ, options.config)
