"""Command-line options, environment and file become one configuration."""

from __future__ import annotations

import argparse
import os
from dataclasses import fields

from orchestrator.config import ServiceConfig, load_config


def settings(options: argparse.Namespace) -> ServiceConfig:
    """The configuration of this run; raises `ConfigError`."""
    known = {entry.name for entry in fields(ServiceConfig)}
    flags = {name: value for name, value in vars(options).items() if name in known}
    return load_config(flags, os.environ, options.config)
