"""Rules and dashboard of the deployment, as data, and the metrics that they may name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from deploy_tools import DEPLOY, from_package

from orchestrator.core.metrics import Metrics

RULES: Final = DEPLOY / "prometheus" / "rules.yml"
DASHBOARD: Final = DEPLOY / "grafana" / "dashboards" / "lipsync.json"

SUFFIXES: Final = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
    "gauge": ("",),
}

NVIDIA: Final = frozenset(
    "nv_inference_" + name
    for name in (
        *("request_success", "request_failure", "count", "exec_count", "pending_request_count"),
        *(
            f"{part}_duration_us"
            for part in ("request", "queue", "compute_input", "compute_infer", "compute_output")
        ),
    )
) | {
    "nv_gpu_utilization",
    "nv_gpu_memory_used_bytes",
    "nv_gpu_memory_total_bytes",
    "nv_gpu_power_usage",
}
"""Triton's own;
https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/metrics.html
"""

GATEWAY: Final = frozenset(
    {
        "haproxy_backend_active_servers",
        "haproxy_frontend_current_sessions",
        "haproxy_frontend_http_responses_total",
    }
)
"""HAProxy's own, of its Prometheus exporter (addons/promex/README in its source)."""

PROMETHEUS: Final = frozenset({"up"})


def rules() -> list[dict[str, Any]]:
    """Recording rules and alerts in their order."""
    groups = from_package("yaml").safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> set[str]:
    """Names of the recording rules."""
    return {rule["record"] for rule in rules() if "record" in rule}


def dashboard() -> dict[str, Any]:
    """The Grafana dashboard."""
    board: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return board


def panel_queries(rate_interval: str = "1m") -> Iterator[tuple[str, str]]:
    """Panel title and PromQL of every target; Grafana's `$__rate_interval` is replaced."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$__rate_interval", rate_interval)


def exported() -> set[str]:
    """Sample names of the service's own metrics."""
    families = Metrics().registry.collect()
    return {family.name + suffix for family in families for suffix in SUFFIXES[family.type]}


def metrics_in(query: str) -> set[str]:
    """Metric and recording rule names that a query selects, by Prometheus' own grammar."""
    parser = from_package("promql_parser")
    return set(_selected(parser.parse(query), parser))


def _selected(node: Any, parser: Any) -> Iterator[str]:
    if isinstance(node, parser.VectorSelector):
        yield node.name or "".join(
            matcher.value for matcher in node.matchers.matchers if matcher.name == "__name__"
        )
    if isinstance(node, parser.MatrixSelector):
        yield from _selected(node.vector_selector, parser)
    for part in ("expr", "lhs", "rhs", "param"):
        inner = getattr(node, part, None)
        if inner is not None:
            yield from _selected(inner, parser)
    for inner in getattr(node, "args", None) or ():
        yield from _selected(inner, parser)


def one_line(text: str) -> str:
    """Text with each run of white space as one blank."""
    return re.sub(r"\s+", " ", text).strip()
