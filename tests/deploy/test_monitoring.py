"""Prometheus' configuration, rules and alerts, Alertmanager's routes and Grafana's dashboard are
valid and name metrics that exist.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deploy_tools import DEPLOY, ROOT, accepted, from_package, run
from monitoring_files import (
    DASHBOARD,
    GATEWAY,
    NVIDIA,
    PROMETHEUS,
    RULES,
    alerts,
    dashboard,
    exported,
    metrics_in,
    one_line,
    panel_queries,
    recorded,
    rules,
)
from typed_literals import dashboard_errors

PROMETHEUS_FILE = DEPLOY / "prometheus" / "prometheus.yml"
CASES = DEPLOY / "prometheus" / "rules_test.yml"
ALERT_WITHIN_S = 60


def duration_s(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([smhd])", text).groups()  # type: ignore[union-attr]
    return int(number) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[unit]


def test_prometheus_accepts_its_configuration() -> None:
    assert "SUCCESS" in accepted("promtool", "check", "config", str(PROMETHEUS_FILE))


def test_prometheus_accepts_the_rules() -> None:
    assert f"{len(rules())} rules found" in accepted("promtool", "check", "rules", str(RULES))


def test_alerts_fire_and_stay_silent_as_their_unit_tests_say() -> None:
    accepted("promtool", "test", "rules", CASES.name, cwd=CASES.parent)


def test_a_wrong_threshold_fails_the_unit_tests(tmp_path: Path) -> None:
    text = RULES.read_text()
    assert text.count("slots_used:ratio > 0.9") == 1
    (tmp_path / RULES.name).write_text(
        text.replace("slots_used:ratio > 0.9", "slots_used:ratio > 0.95")
    )
    (tmp_path / CASES.name).write_text(CASES.read_text())
    assert run("promtool", "test", "rules", CASES.name, cwd=tmp_path).returncode != 0


def test_each_alert_has_a_firing_and_a_silent_case() -> None:
    cases = from_package("yaml").safe_load(CASES.read_text())["tests"]
    checks = [check for case in cases for check in case.get("alert_rule_test", ())]
    assert {check["alertname"] for check in checks if check["exp_alerts"]} == set(alerts())
    assert {check["alertname"] for check in checks if not check["exp_alerts"]} == set(alerts())


def test_alertmanager_accepts_its_configuration_and_routes_every_severity() -> None:
    file = str(DEPLOY / "alertmanager" / "alertmanager.yml")
    accepted("amtool", "check-config", file)
    for severity, receiver in {"page": "pager", "ticket": "operators"}.items():
        assert (
            accepted(
                "amtool",
                "config",
                "routes",
                "test",
                f"--config.file={file}",
                f"severity={severity}",
            ).strip()
            == receiver
        )
    assert {rule["labels"]["severity"] for rule in alerts().values()} == {"page", "ticket"}


@pytest.mark.parametrize(
    "name",
    ["LipsyncDefaultModelAway", "LipsyncNoInstance", "LipsyncGatewayEmpty", "LipsyncTritonDown"],
)
def test_an_outage_is_told_within_a_minute(name: str) -> None:
    """The target changes right after a scrape, that after an evaluation, and `for` ends right after
    one.
    """
    settings = from_package("yaml").safe_load(PROMETHEUS_FILE.read_text())["global"]
    scrape_s, evaluation_s = (
        duration_s(settings["scrape_interval"]),
        duration_s(settings["evaluation_interval"]),
    )
    assert (
        scrape_s + evaluation_s + duration_s(alerts()[name]["for"]) + evaluation_s <= ALERT_WITHIN_S
    )


def test_the_monitoring_page_states_every_alert_as_it_is() -> None:
    rows = re.findall(
        r"^\| `(Lipsync\w+)` \| (\w+) \| `(.*?)`(?: for (\w+))? \| (.*) \|$",
        (ROOT / "docs" / "monitoring.md").read_text(),
        re.M,
    )
    told = {
        name: (severity, query.replace("\\|", "|"), hold, action)
        for name, severity, query, hold, action in rows
    }
    assert told == {name: _as_told(rule) for name, rule in alerts().items()}


def _as_told(rule: dict[str, Any]) -> tuple[str, str, str, str]:
    return (
        rule["labels"]["severity"],
        one_line(rule["expr"]),
        rule.get("for", ""),
        rule["annotations"]["action"],
    )


def test_the_operations_page_lists_the_same_alerts() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    assert re.findall(r"^\| `(Lipsync\w+)` \|", page, re.M) == list(alerts())


def test_the_monitoring_page_lists_the_recording_rules() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    assert set(re.findall(r"^\| `(\w+:[\w:]+)` \|", page, re.M)) == recorded()


def test_every_metric_of_rules_and_dashboard_exists() -> None:
    queries = [rule["expr"] for rule in rules()] + [query for _, query in panel_queries()]
    used = set().union(*(metrics_in(query) for query in queries))
    unknown = used - exported() - recorded() - NVIDIA - GATEWAY - PROMETHEUS
    assert not unknown


def test_every_query_of_the_dashboard_parses() -> None:
    parser = from_package("promql_parser")
    for _, query in panel_queries():
        parser.parse(query)
    with pytest.raises(ValueError, match="paren"):
        parser.parse("sum(rate(lipsync_frames_total[5m])")


def test_grafanas_own_model_reads_the_dashboard_without_loss() -> None:
    models = from_package("grafana_foundation_sdk.models.dashboard")
    encoder = from_package("grafana_foundation_sdk.cog.encoder").JSONEncoder
    board = dashboard()
    back = json.loads(encoder().encode(models.Dashboard.from_json(board)))
    assert list(_lost(board, back)) == []


def _lost(ours: Any, theirs: Any, place: str = "dashboard") -> Iterator[str]:
    """Places of what is in `ours` and not in `theirs`, which may hold defaults beside it."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            yield from _lost(value, theirs.get(key), f"{place}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _lost(mine, other, f"{place}[{number}]")
    elif ours != theirs:
        yield place


def test_panels_are_numbered_described_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel.get("description") for panel in panels if panel["type"] != "row")
    taken = [(x, y) for panel in panels for x, y in _cells(panel["gridPos"])]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24, "Grafana's grid is 24 wide"


def _cells(place: dict[str, int]) -> list[tuple[int, int]]:
    return [(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])]


def test_provisioning_names_the_folder_and_the_data_source_of_the_dashboard() -> None:
    yaml, folder = from_package("yaml"), DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    (variable,) = dashboard()["templating"]["list"]
    assert (variable["query"], variable["current"]["value"]) == (source["type"], source["uid"])
    (provider,) = yaml.safe_load((folder / "dashboards" / "lipsync.yml").read_text())["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    assert DASHBOARD.parent == DEPLOY / "grafana" / "dashboards"


def test_grafanas_types_accept_the_dashboard_and_refuse_a_mistake(tmp_path: Path) -> None:
    assert dashboard_errors(tmp_path, dashboard()) == []
    assert dashboard_errors(tmp_path, dashboard() | {"schemaVersion": "forty"})
    assert dashboard_errors(tmp_path, dashboard() | {"panel": []})
