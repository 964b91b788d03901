"""Prometheus, Alertmanager and a gateway as processes of their own, with the shipped rules and
intervals, at addresses of a test.
"""

from __future__ import annotations

import json
import math
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from deploy_tools import DEPLOY, from_package, running
from watched_server import until

GATEWAY: Final = """
global
  maxconn 200
defaults
  mode http
  timeout connect 2s
  timeout client 1m
  timeout server 1m
  timeout tunnel 1h
frontend public
  bind 127.0.0.1:{public}
  default_backend orchestrators
backend orchestrators
  option httpchk GET /healthz
  server o1 {orchestrator} check inter 1s
frontend metrics
  bind 127.0.0.1:{metrics}
  http-request use-service prometheus-exporter if {{ path /metrics }}
"""
"""With the proxy names of deploy/gateway/haproxy.cfg, which needs a newer HAProxy than some
distributions have.
"""


@dataclass(frozen=True)
class Monitored:
    """A running Prometheus and its Alertmanager."""

    prometheus: str
    alertmanager: str

    async def query(self, query: str) -> list[float]:
        """Values of an instant query, without those that are no number."""
        found = await self._asked(f"{self.prometheus}/api/v1/query", {"query": query})
        values = [float(series["value"][1]) for series in found["data"]["result"]]
        return [value for value in values if not math.isnan(value)]

    async def alerts(self) -> set[str]:
        """Names of the alerts that reached Alertmanager and are not over."""
        found = await self._asked(f"{self.alertmanager}/api/v2/alerts", {"active": "true"})
        return {alert["labels"]["alertname"] for alert in found}

    async def _asked(self, url: str, parameters: Mapping[str, str]) -> Any:
        async with (
            aiohttp.ClientSession() as http,
            http.get(url, params=dict(parameters), raise_for_status=True) as answer,
        ):
            return await answer.json()


@contextmanager
def gateway(folder: Path, orchestrator: str) -> Iterator[tuple[str, str]]:
    """HAProxy before one orchestrator (`host:port`); its public URL and the address of its
    metrics.
    """
    public, metrics = _free_ports(2)
    config = folder / "haproxy.cfg"
    config.write_text(GATEWAY.format(public=public, metrics=metrics, orchestrator=orchestrator))
    with running(folder / "haproxy.log", "haproxy", "-db", "-f", str(config)):
        yield f"http://127.0.0.1:{public}", f"127.0.0.1:{metrics}"


@asynccontextmanager
async def monitored(folder: Path, targets: Mapping[str, str]) -> AsyncIterator[Monitored]:
    """The shipped Prometheus with one address (`host:port`) for each job of `targets`, and its
    Alertmanager, both ready.
    """
    prometheus, alertmanager = _free_ports(2)
    config = folder / "prometheus.yml"
    config.write_text(
        json.dumps(
            _config(
                dict(targets) | {"prometheus": f"127.0.0.1:{prometheus}"},
                f"127.0.0.1:{alertmanager}",
            )
        )
    )
    with ExitStack() as stack:
        stack.enter_context(
            running(folder / "alertmanager.log", *_alertmanager(folder, alertmanager))
        )
        stack.enter_context(
            running(folder / "prometheus.log", *_prometheus(folder, config, prometheus))
        )
        urls = f"http://127.0.0.1:{prometheus}", f"http://127.0.0.1:{alertmanager}"
        for url in urls:
            await until(lambda url=url: _is_ready(url))
        yield Monitored(*urls)


def _config(targets: Mapping[str, str], alertmanager: str) -> dict[str, Any]:
    config: dict[str, Any] = from_package("yaml").safe_load(
        (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    )
    config["rule_files"] = [str(DEPLOY / "prometheus" / "rules.yml")]
    config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [alertmanager]}]}]
    config["scrape_configs"] = [
        {"job_name": job["job_name"], "static_configs": [{"targets": [targets[job["job_name"]]]}]}
        for job in config["scrape_configs"]
    ]
    return config


def _prometheus(folder: Path, config: Path, port: int) -> list[str]:
    listen = f"--web.listen-address=127.0.0.1:{port}"
    return [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        listen,
    ]


def _alertmanager(folder: Path, port: int) -> list[str]:
    config, storage = DEPLOY / "alertmanager" / "alertmanager.yml", folder / "alertmanager"
    listen = [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    return [
        "prometheus-alertmanager",
        f"--config.file={config}",
        f"--storage.path={storage}",
        *listen,
    ]


async def _is_ready(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{url}/-/ready") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def _free_ports(count: int) -> list[int]:
    """Ports that are free now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
