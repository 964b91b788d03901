"""The Kubernetes manifests are valid for the versions they are meant for, and a typing mistake in
them is found.
"""

from __future__ import annotations

import copy
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from deploy_tools import DEPLOY, ROOT, accepted, run
from kubernetes_files import BUILDS, CUSTOM_KINDS, Manifest, built, built_text
from typed_literals import NODE, custom_kind_errors, node

VERSIONS = ("1.33", "1.37")
UNKNOWN = re.compile(r"WARN .* Couldn't find schema for kind (\w+) ")
PLANTED = "planted.yaml"
EXCEPTIONS = Path(__file__).parent / "checkov_exceptions.toml"


def complaints(manifests: str, version: str, folder: Path) -> list[str]:
    """Of `kubernetes-validate`, but those of custom kinds."""
    file = folder / "manifests.yaml"
    file.write_text(manifests)
    done = run("kubernetes-validate", "--strict", "-k", version, str(file))
    lines = [
        line
        for line in (done.stdout + done.stderr).splitlines()
        if line and not line.startswith("INFO")
    ]
    return [
        line for line in lines if not ((kind := UNKNOWN.match(line)) and kind[1] in CUSTOM_KINDS)
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("build", BUILDS)
def test_built_in_kinds_follow_their_schemas(build: str, version: str, tmp_path: Path) -> None:
    assert complaints(built_text(build), version, tmp_path) == []


MISTAKES = {
    "maxUnavailable: 1": "maxUnavailabel: 1",  # PodDisruptionBudget
    "maxSurge: 1": "maxSurg: 1",  # Deployment
    "podSelector: {}": "podSelektor: {}",  # NetworkPolicy
    "medium: Memory": "mediun: Memory",  # StatefulSet
    "clusterIP: None": "clusterIp: None",  # Service
    "storage: 10Gi\n---": "storage: 10Gi\n  volumMode: Block\n---",  # PersistentVolumeClaim
}
"""One for each kind: of an object the validator names one mistake."""


@pytest.mark.parametrize("build", BUILDS)
def test_a_typo_in_each_built_in_kind_is_found(build: str, tmp_path: Path) -> None:
    text = built_text(build)
    for right, wrong in MISTAKES.items():
        assert right in text
        text = text.replace(right, wrong)
    found = "".join(complaints(text, VERSIONS[-1], tmp_path))
    assert [
        wrong
        for wrong in (
            "maxUnavailabel",
            "maxSurg",
            "podSelektor",
            "mediun",
            "clusterIp",
            "volumMode",
        )
        if wrong not in found
    ] == []


def test_an_unknown_kind_is_found(tmp_path: Path) -> None:
    assert complaints(
        built_text("base").replace("kind: StatefulSet", "kind: StatefullSet"),
        VERSIONS[-1],
        tmp_path,
    )


def custom() -> list[Manifest]:
    return [each for each in built("overlays/keda") if each["kind"] in CUSTOM_KINDS]


def test_every_custom_kind_is_built() -> None:
    assert {each["kind"] for each in custom()} == CUSTOM_KINDS


def test_custom_kinds_follow_their_types(tmp_path: Path) -> None:
    assert custom_kind_errors(tmp_path, custom()) == []


def test_custom_kinds_follow_their_schemas() -> None:
    assert schema_errors(custom()) == ""


def schema_errors(objects: list[Manifest]) -> str:
    """Of the custom resource definitions' JSON schemas: required fields, values and formats."""
    command = [node(), str(NODE / "custom_kinds.js")]
    done = subprocess.run(
        command, input=json.dumps(objects), capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout


TYPOS: dict[str, tuple[list[Any], str]] = {
    "HTTPRoute": (["spec", "rules", 0, "backendRefs"], "backendRef"),
    "PodMonitor": (["spec", "podMetricsEndpoints", 0, "interval"], "intervall"),
    "PrometheusRule": (["spec", "groups", 0, "rules", 0, "expr"], "exprs"),
    "ScaledObject": (["spec", "maxReplicaCount"], "maxReplicas"),
}


def test_a_typo_in_each_custom_kind_is_found(tmp_path: Path) -> None:
    objects = copy.deepcopy({each["kind"]: each for each in custom()})
    for kind, (path, wrong) in TYPOS.items():
        parent: Any = objects[kind]
        for step in path[:-1]:
            parent = parent[step]
        parent[wrong] = parent.pop(path[-1])
    found = "".join(custom_kind_errors(tmp_path, list(objects.values())))
    assert [wrong for _, wrong in TYPOS.values() if wrong not in found] == []


def test_a_missing_field_of_a_custom_kind_is_found() -> None:
    objects = copy.deepcopy([each for each in custom() if each["kind"] == "ScaledObject"])
    del objects[0]["spec"]["scaleTargetRef"]
    assert "must have required property" in schema_errors(objects)


def exceptions() -> list[dict[str, Any]]:
    """Findings that are accepted, each with its reason."""
    found: list[dict[str, Any]] = tomllib.loads(EXCEPTIONS.read_text())["exception"]
    return found


def checkov() -> str:
    """Path of the program, in an environment of its own: it pins other packages. Skips the test
    where there is none.
    """
    found = shutil.which(
        "checkov",
        path=os.pathsep.join(
            (str(Path(sys.prefix) / "tools" / "checkov" / "bin"), os.environ["PATH"])
        ),
    )
    if found is None:
        environment = ".venv/tools/checkov"
        pytest.skip(
            f"checkov is not installed: python -m venv {environment} && {environment}/bin/pip "
            "install -r requirements/checkov.txt"
        )
    return found


def findings(folder: Path, framework: str) -> set[tuple[str, str, str]]:
    """Checks of checkov that fail, each with its file and resource; nothing is downloaded."""
    flags = ("--skip-download", "--quiet", "--compact", "--soft-fail", "--output", "json")
    reports = json.loads(
        accepted(checkov(), "--directory", str(folder), "--framework", framework, *flags)
    )
    results = [
        report["results"]
        for report in (reports if isinstance(reports, list) else [reports])
        if "results" in report
    ]
    return {
        (Path(each["file_path"]).name, each["check_id"], each["resource"])
        for result in results
        for each in result["failed_checks"]
    }


@pytest.fixture(scope="module")
def of_manifests(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str, str]]:
    """Findings in every build, and in one with privileged containers."""
    folder = tmp_path_factory.mktemp("manifests")
    for build in BUILDS:
        (folder / f"{build.replace('/', '-')}.yaml").write_text(built_text(build))
    (folder / PLANTED).write_text(
        built_text("base").replace("allowPrivilegeEscalation: false", "privileged: true")
    )
    return findings(folder, "kubernetes")


def unreasoned(
    found: set[tuple[str, str]], framework: str
) -> tuple[set[tuple[str, str]], set[str]]:
    """Findings without an exception, and exceptions without a finding."""
    allowed = [
        (each["check"], resource)
        for each in exceptions()
        if each["framework"] == framework
        for resource in each["resources"]
    ]
    matches = {
        (check, name): [
            each for each in found if each[0] == check and fnmatch.fnmatch(each[1], name)
        ]
        for check, name in allowed
    }
    covered = {each for group in matches.values() for each in group}
    return found - covered, {
        f"{check} {name}" for (check, name), group in matches.items() if not group
    }


def test_checkov_finds_nothing_in_the_manifests_beyond_reasoned_exceptions(
    of_manifests: set[tuple[str, str, str]],
) -> None:
    found = {(check, resource) for file, check, resource in of_manifests if file != PLANTED}
    assert unreasoned(found, "kubernetes") == (set(), set())


def test_checkov_finds_a_privileged_container(of_manifests: set[tuple[str, str, str]]) -> None:
    assert "CKV_K8S_16" in {check for file, check, _ in of_manifests if file == PLANTED}


def test_checkov_finds_nothing_in_the_images_beyond_reasoned_exceptions() -> None:
    assert list(DEPLOY.rglob("Dockerfile"))
    found = {(check, resource) for _, check, resource in findings(DEPLOY, "dockerfile")}
    assert unreasoned(found, "dockerfile") == (set(), set())


def test_every_exception_has_a_reason() -> None:
    assert all(len(each["reason"]) > 20 for each in exceptions())


def test_the_page_names_every_build_and_component() -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    components = [folder.name for folder in (DEPLOY / "kubernetes" / "components").iterdir()]
    assert [
        name
        for name in (*BUILDS, *(f"components/{each}" for each in components))
        if name not in page
    ] == []
