"""Compose, Kubernetes, Prometheus, the gateway and the pages state the same images, ports, probes,
models, times and limits.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from deploy_tools import DEPLOY, ROOT, accepted, from_package
from kubernetes_files import (
    BUILDS,
    COMPONENTS,
    KUBERNETES,
    Manifest,
    built,
    bytes_of,
    compose,
    container,
    of_kind,
    settings,
    strings_in,
    text_of,
    workloads,
)
from monitoring_files import RULES, recorded

from orchestrator.core.config import ServiceConfig
from orchestrator.core.config_loading import named_settings
from orchestrator.server.app import SHUTDOWN_TIMEOUT_S
from orchestrator.server.websocket import FAREWELL_S

DRAIN = "LIPSYNC_DRAIN_S"
MARGIN_S = FAREWELL_S + 2 * SHUTDOWN_TIMEOUT_S + 10
"""Beyond the drain: closing connections, cutting requests, and the end of the process."""

BUILT_IN = {"audio2motion", "tpsm", "tpsm_speech"}
HEALTH_PATHS = {
    "gateway": "/gateway-health",
    "orchestrator": "/readyz",
    "triton": "/v2/health/ready",
}
PORTS = {"gateway": {8000, 8404}, "orchestrator": {8080}, "triton": {8000, 8001, 8002}}
USERS = {"orchestrator": 10001, "triton": 1000}


def load_list(command: list[str]) -> set[str]:
    return {
        part.removeprefix("--load-model=") for part in command if part.startswith("--load-model=")
    }


def pod(workload: Manifest) -> Manifest:
    found: Manifest = workload["spec"]["template"]["spec"]
    return found


def selects(selector: Manifest, labels: Manifest) -> bool:
    return selector.items() <= labels.items()


def pod_labels(component: str) -> Manifest:
    labels: Manifest = workloads("base")[component]["spec"]["template"]["metadata"]["labels"]
    return labels


@pytest.mark.parametrize("component", COMPONENTS)
def test_compose_and_kubernetes_run_the_same_image(component: str) -> None:
    assert compose()[component]["image"] == container(workloads("base")[component])["image"]


@pytest.mark.parametrize("component", COMPONENTS)
def test_ports_are_the_same_everywhere(component: str) -> None:
    assert {
        port["containerPort"] for port in container(workloads("base")[component])["ports"]
    } == PORTS[component]
    service = of_kind("base", "Service")[component]["spec"]["ports"]
    assert {port["port"] for port in service} == PORTS[component] - {8404}, (
        "the gateway's metrics are for Prometheus alone"
    )


@pytest.mark.parametrize("component", ["orchestrator", "triton"])
def test_compose_exposes_these_ports(component: str) -> None:
    assert {int(port) for port in compose()[component]["expose"]} == PORTS[component]


def test_the_gateway_listens_on_these_ports() -> None:
    text = text_of("deploy/gateway/haproxy.cfg")
    assert {int(port) for port in re.findall(r"^\s*bind [^\s:]*:(\d+)", text, re.M)} == PORTS[
        "gateway"
    ]
    assert "backend orchestrators\n" in text, "a rule and a panel name it"
    assert compose()["gateway"]["ports"][0].endswith(":8000")


def test_prometheus_scrapes_these_ports() -> None:
    jobs = {
        job["job_name"]: job
        for job in from_package("yaml").safe_load(text_of("deploy/prometheus/prometheus.yml"))[
            "scrape_configs"
        ]
    }
    monitors = of_kind("overlays/keda", "PodMonitor")
    assert set(monitors) == set(COMPONENTS) == set(jobs) - {"prometheus"}
    for component, monitor in monitors.items():
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        ports = {
            port["name"]: port["containerPort"]
            for port in container(workloads("base")[component])["ports"]
        }
        targets = jobs[component].get("dns_sd_configs") or jobs[component]["static_configs"]
        assert (
            targets[0].get("port")
            or int(targets[0]["targets"][0].split(":")[1]) == ports[endpoint["port"]]
        )
        assert monitor["spec"]["jobLabel"] == "app.kubernetes.io/component"
        assert pod_labels(component)["app.kubernetes.io/component"] == component
        assert selects(monitor["spec"]["selector"]["matchLabels"], pod_labels(component))


@pytest.mark.parametrize("component", COMPONENTS)
def test_readiness_is_asked_at_the_same_path(component: str) -> None:
    path = HEALTH_PATHS[component]
    assert container(workloads("base")[component])["readinessProbe"]["httpGet"]["path"] == path
    assert any(path in text for text in strings_in(compose()[component]["healthcheck"]["test"]))


def test_liveness_does_not_depend_on_other_services() -> None:
    found = {name: container(each)["livenessProbe"] for name, each in workloads("base").items()}
    assert found["orchestrator"]["httpGet"]["path"] == "/healthz"
    assert found["triton"]["httpGet"]["path"] == "/v2/health/live"
    assert "tcpSocket" in found["gateway"]


def test_triton_has_ten_minutes_to_start() -> None:
    probe = container(workloads("base")["triton"])["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 600


@pytest.mark.parametrize("build", BUILDS)
def test_triton_loads_named_models_alone(build: str) -> None:
    command = container(workloads(build)["triton"])["command"]
    assert load_list(command) == BUILT_IN
    assert "--model-control-mode=explicit" in command


def test_compose_and_the_image_load_the_same_models() -> None:
    assert set(re.findall(r"--load-model=(\w+)", text_of("deploy/triton/Dockerfile"))) == BUILT_IN
    assert sorted(compose("compose.gpu.yaml")["triton"]["command"]) == sorted(
        container(workloads("overlays/gpu")["triton"])["command"]
    )


def test_engines_are_kept_where_the_models_write_them() -> None:
    mounts = {
        mount["name"]: mount["mountPath"]
        for mount in container(workloads("overlays/gpu")["triton"])["volumeMounts"]
    }
    assert compose("compose.gpu.yaml")["triton"]["volumes"] == [f"tensorrt:{mounts['tensorrt']}"]
    texts = [file.read_text() for file in ROOT.glob("model_repository/*/configs/tensorrt.pbtxt")]
    caches = {path for text in texts for path in re.findall(r'cache_path" value: "([^"]+)"', text)}
    assert caches == {mounts["tensorrt"]}


def test_kubernetes_waits_for_the_drain() -> None:
    assert (
        pod(workloads("base")["orchestrator"])["terminationGracePeriodSeconds"]
        >= int(settings("base")[DRAIN]) + MARGIN_S
    )


def test_compose_waits_for_the_drain() -> None:
    orchestrator = compose()["orchestrator"]
    grace_s = int(orchestrator["stop_grace_period"].removesuffix("s"))
    assert (
        grace_s >= float(orchestrator["environment"].get(DRAIN, settings("base")[DRAIN])) + MARGIN_S
    )


def test_kubernetes_gives_triton_as_long_to_end_as_compose_does() -> None:
    grace_s = int(compose()["triton"]["stop_grace_period"].removesuffix("s"))
    assert pod(workloads("base")["triton"])["terminationGracePeriodSeconds"] >= grace_s


def test_shared_memory_is_as_large() -> None:
    triton = workloads("base")["triton"]
    volumes = {volume["name"]: volume for volume in pod(triton)["volumes"]}
    (name,) = (
        mount["name"]
        for mount in container(triton)["volumeMounts"]
        if mount["mountPath"] == "/dev/shm"
    )
    memory = volumes[name]["emptyDir"]
    assert memory["medium"] == "Memory"
    assert bytes_of(memory["sizeLimit"]) == bytes_of(compose()["triton"]["shm_size"])


@pytest.mark.parametrize("component", sorted(USERS))
def test_users_are_those_of_the_images(component: str) -> None:
    assert pod(workloads("base")[component])["securityContext"]["runAsUser"] == USERS[component]
    assert f"USER {USERS[component]}" in text_of(f"deploy/{component}/Dockerfile")


@pytest.mark.parametrize("build", BUILDS)
def test_every_pod_is_confined(build: str) -> None:
    for workload in workloads(build).values():
        context, inner = pod(workload)["securityContext"], container(workload)["securityContext"]
        assert (context["runAsNonRoot"], context["seccompProfile"]) == (
            True,
            {"type": "RuntimeDefault"},
        )
        assert (
            inner["readOnlyRootFilesystem"],
            inner["allowPrivilegeEscalation"],
            inner["capabilities"],
        ) == (
            True,
            False,
            {"drop": ["ALL"]},
        )
        assert pod(workload)["automountServiceAccountToken"] is False
        assert container(workload)["resources"]["limits"].keys() >= {"cpu", "memory"}


def test_only_orchestrators_and_prometheus_reach_triton() -> None:
    ingress = of_kind("base", "NetworkPolicy")["triton"]["spec"]["ingress"]
    pods = [
        peer["podSelector"]["matchLabels"]
        for rule in ingress
        for peer in rule["from"]
        if "podSelector" in peer
    ]
    spaces = [
        peer["namespaceSelector"]["matchLabels"]
        for rule in ingress
        for peer in rule["from"]
        if "namespaceSelector" in peer
    ]
    assert pods == [
        {
            key: pod_labels("orchestrator")[key]
            for key in ("app.kubernetes.io/name", "app.kubernetes.io/component")
        }
    ]
    assert spaces == [{"kubernetes.io/metadata.name": "monitoring"}]
    assert "egress" not in of_kind("base", "NetworkPolicy")["triton"]["spec"]


@pytest.mark.parametrize("component", COMPONENTS)
def test_service_budget_and_policy_select_the_pods(component: str) -> None:
    labels = pod_labels(component)
    assert selects(of_kind("base", "Service")[component]["spec"]["selector"], labels)
    assert selects(
        of_kind("base", "PodDisruptionBudget")[component]["spec"]["selector"]["matchLabels"], labels
    )
    assert selects(
        of_kind("base", "NetworkPolicy")[component]["spec"]["podSelector"]["matchLabels"], labels
    )


def test_settings_are_those_of_the_service() -> None:
    known = {f"LIPSYNC_{field.name.upper()}" for field in fields(ServiceConfig)}
    given = settings("base")
    assert set(given) - known <= {DRAIN}
    ServiceConfig(
        **named_settings({}, {name: value for name, value in given.items() if name in known}, None)
    )


def test_a_bucket_takes_the_place_of_the_volume(tmp_path: Path) -> None:
    """In an overlay as docs/kubernetes.md shows it, since none of those that are shipped has this
    component.
    """
    parts = {"resources": "base", "components": "components/bucket"}
    paths = {
        key: [os.path.relpath(KUBERNETES / name, tmp_path.resolve())] for key, name in parts.items()
    }
    (tmp_path / "kustomization.yaml").write_text(json.dumps({"kind": "Kustomization"} | paths))
    built_here = list(
        from_package("yaml").safe_load_all(accepted("kubectl", "kustomize", str(tmp_path)))
    )
    assert "PersistentVolumeClaim" not in {each["kind"] for each in built_here}
    (orchestrator,) = (
        each
        for each in built_here
        if each["kind"] == "Deployment" and each["metadata"]["name"] == "orchestrator"
    )
    assert [volume["name"] for volume in pod(orchestrator)["volumes"]] == ["tmp"]
    assert [mount["name"] for mount in container(orchestrator)["volumeMounts"]] == ["tmp"]
    assert any(text == "my-faces" for text in strings_in([each.get("data") for each in built_here]))
    (policy,) = (
        each
        for each in built_here
        if each["kind"] == "NetworkPolicy" and each["metadata"]["name"] == "orchestrator"
    )
    reached = {
        (peer["ipBlock"]["cidr"], rule["ports"][0]["port"])
        for rule in policy["spec"]["egress"]
        for peer in rule.get("to", ())
        if "ipBlock" in peer
    }
    assert reached == {("169.254.169.252/32", 988), ("169.254.169.254/32", 80)}, (
        "where Workload Identity gets its credentials"
    )


def test_the_gateway_knows_the_variables_that_it_is_given() -> None:
    given = {each["name"] for each in container(workloads("base")["gateway"])["env"]} - {
        "NAMESPACE"
    }
    named = set(re.findall(r"\$\{(\w+)", text_of("deploy/gateway/haproxy.cfg")))
    assert given <= named
    assert set(compose()["gateway"]["environment"]) <= named


def test_the_gateway_has_a_place_for_every_orchestrator_of_a_rolling_update() -> None:
    """Kubernetes does not wait for pods that end, and those that drain are still names of the
    Service.
    """
    places = int(
        re.search(r"server-template \w+ 1-(\d+)", text_of("deploy/gateway/haproxy.cfg"))[1]
    )  # type: ignore[index]
    scaling = of_kind("overlays/keda", "ScaledObject")["orchestrator"]["spec"]
    surge = workloads("base")["orchestrator"]["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    assert 2 * scaling["maxReplicaCount"] + surge <= places
    assert f"{places} places" in text_of("docs/kubernetes.md")
    assert f"up to {places}," in text_of("docs/deploy.md")


def test_autoscaling_asks_recording_rules_at_the_thresholds_of_the_page() -> None:
    page = text_of("docs/monitoring.md")
    told = dict(re.findall(r"^\| `([\w:]+)` \|.*\| one more \w+ above ([\d.]+) \|$", page, re.M))
    scaled = of_kind("overlays/keda", "ScaledObject")
    asked = {
        each["spec"]["triggers"][0]["metadata"]["query"]: each["spec"]["triggers"][0]["metadata"][
            "threshold"
        ]
        for each in scaled.values()
    }
    assert asked == told
    assert set(asked) <= recorded()


def test_autoscaling_owns_the_number_of_pods() -> None:
    for name, scaled in of_kind("overlays/keda", "ScaledObject").items():
        workload = workloads("overlays/keda")[name]
        assert scaled["spec"]["scaleTargetRef"]["kind"] == workload["kind"]
        assert "replicas" not in workload["spec"]


def test_the_operator_gets_the_same_rules_as_prometheus() -> None:
    (rule,) = (each for each in built("overlays/keda") if each["kind"] == "PrometheusRule")
    groups: Any = from_package("yaml").safe_load(RULES.read_text())["groups"]
    assert rule["spec"]["groups"] == groups, "write it anew: python tools/prometheus_rule.py"


def test_compose_mounts_the_shipped_monitoring() -> None:
    mounts = {
        name: compose()[name]["volumes"] for name in ("prometheus", "alertmanager", "grafana")
    }
    for source in (text.split(":")[0] for text in strings_in(mounts) if text.startswith("./")):
        assert (ROOT / source).exists(), source
    assert any(
        text.startswith("./deploy/grafana/dashboards:/var/lib/grafana/dashboards")
        for text in mounts["grafana"]
    )


def test_the_page_states_the_times() -> None:
    page = text_of("docs/kubernetes.md")
    assert f"{DRAIN}={settings('base')[DRAIN]}" in page
    assert (
        "terminationGracePeriodSeconds: "
        f"{pod(workloads('base')['orchestrator'])['terminationGracePeriodSeconds']}" in page
    )
    assert DEPLOY.name in page
