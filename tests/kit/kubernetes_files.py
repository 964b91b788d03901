"""The Kubernetes manifests as kustomize builds them, and the Compose files beside them, as data."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from deploy_tools import DEPLOY, ROOT, accepted, from_package

KUBERNETES: Final = DEPLOY / "kubernetes"
BUILDS: Final = ("base", "overlays/cpu", "overlays/gpu", "overlays/keda")
CUSTOM_KINDS: Final = frozenset({"HTTPRoute", "PodMonitor", "PrometheusRule", "ScaledObject"})
COMPONENTS: Final = ("gateway", "orchestrator", "triton")
WORKLOADS: Final = frozenset({"Deployment", "StatefulSet"})

Manifest = dict[str, Any]


@functools.cache
def built_text(build: str) -> str:
    """YAML that kustomize makes of a folder below deploy/kubernetes."""
    return accepted("kubectl", "kustomize", str(KUBERNETES / build))


def built(build: str) -> list[Manifest]:
    """The same as objects."""
    return [each for each in from_package("yaml").safe_load_all(built_text(build)) if each]


def of_kind(build: str, *kinds: str) -> dict[str, Manifest]:
    """Objects of these kinds by name."""
    return {each["metadata"]["name"]: each for each in built(build) if each["kind"] in kinds}


def workloads(build: str) -> dict[str, Manifest]:
    """Deployments and StatefulSets by name."""
    return of_kind(build, *WORKLOADS)


def container(workload: Manifest) -> Manifest:
    """Its only container."""
    (only,) = workload["spec"]["template"]["spec"]["containers"]
    found: Manifest = only
    return found


def settings(build: str) -> dict[str, str]:
    """The orchestrators' environment, without secrets."""
    (found,) = (
        each["data"]
        for name, each in of_kind(build, "ConfigMap").items()
        if name.startswith("orchestrator-settings")
    )
    return dict(found)


def compose(name: str = "docker-compose.yml") -> dict[str, Manifest]:
    """Services of a Compose file, its variables at their defaults. Skips the test where there is no
    such file.
    """
    file = ROOT / name
    if not file.exists():
        pytest.skip(f"{name} does not exist")
    services: dict[str, Manifest] = from_package("yaml").safe_load(
        _with_defaults(file.read_text())
    )["services"]
    return services


def _with_defaults(text: str) -> str:
    return re.sub(r"\$\{\w+:?-([^${}]*)\}", r"\1", text)


def bytes_of(size: str) -> int:
    """Of Compose (`1gb`) or Kubernetes (`1Gi`)."""
    number, unit = re.fullmatch(r"(\d+)([kmg])i?b?", size.lower()).groups()  # type: ignore[union-attr]
    return int(number) * {"k": 2**10, "m": 2**20, "g": 2**30}[unit]


def text_of(path: str) -> str:
    """A file of the checkout. Skips the test where it does not exist."""
    file: Path = ROOT / path
    if not file.exists():
        pytest.skip(f"{path} does not exist")
    return file.read_text()


def strings_in(value: Any) -> Iterator[str]:
    """Every string within an object."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings_in(each)
