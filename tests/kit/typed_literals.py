"""JSON held to TypeScript's types: unknown keys, wrong types and missing fields are errors of the
compiler.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from deploy_tools import ROOT, tool

NODE: Final = ROOT / "tests" / "deploy" / "node"
"""Its package.json has the types; `node_modules` is not committed."""

STRICT: Final = (
    "--noEmit",
    "--strict",
    "--skipLibCheck",
    "--module",
    "esnext",
    "--moduleResolution",
    "bundler",
    "--target",
    "es2022",
)

CUSTOM: Final = {
    "HTTPRoute": "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute",
    "ScaledObject": "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject",
    "PodMonitor": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor",
    "PrometheusRule": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule",
}
"""Modules with the types of custom kinds, generated from their CRDs; the type is called `I` and the
kind.
"""


def node() -> str:
    """Path of node. Skips the test where it or the packages are not installed."""
    program = tool("node")
    if not (NODE / "node_modules" / "typescript").exists():
        pytest.skip(f"npm packages are not installed: npm ci --prefix {NODE.relative_to(ROOT)}")
    return program


def compile_errors(
    folder: Path, imports: Sequence[str], literals: Sequence[tuple[str, str]]
) -> list[str]:
    """What the compiler says of `literals`, each a type and an expression; written to `folder`."""
    program = node()
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(NODE / "node_modules")
    lines = [
        *imports,
        *(
            f"export const literal{number}: {kind} = {text};"
            for number, (kind, text) in enumerate(literals)
        ),
    ]
    (folder / "literals.ts").write_text("\n".join(lines))
    compiler = NODE / "node_modules" / "typescript" / "bin" / "tsc"
    done = subprocess.run(
        [program, str(compiler), *STRICT, "literals.ts"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in done.stdout.splitlines() if "error TS" in line]


def custom_kind_errors(folder: Path, objects: Sequence[dict[str, Any]]) -> list[str]:
    """What the types of their custom resource definitions say of Kubernetes objects."""
    imports = [f'import type {{ I{kind} }} from "{module}";' for kind, module in CUSTOM.items()]
    return compile_errors(
        folder, imports, [(f"I{each['kind']}", json.dumps(each, indent=1)) for each in objects]
    )


def dashboard_errors(folder: Path, board: dict[str, Any]) -> list[str]:
    """What Grafana's own types say of a dashboard; an enum's value is written as its member, as
    TypeScript wants it.
    """
    text = json.dumps(board, indent=1).replace(
        '"mode": "absolute"', '"mode": ThresholdsMode.Absolute'
    )
    return compile_errors(
        folder,
        ['import { type Dashboard, ThresholdsMode } from "@grafana/schema";'],
        [("Partial<Dashboard>", text)],
    )
