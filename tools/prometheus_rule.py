"""Write deploy/prometheus/rules.yml as a PrometheusRule of the Prometheus operator: `python
tools/prometheus_rule.py`.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

DEPLOY = Path(__file__).parent.parent / "deploy"

HEAD = """\
# deploy/prometheus/rules.yml for the Prometheus operator, written by tools/prometheus_rule.py.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: lipsync
spec:
"""


def prometheus_rule() -> str:
    """The manifest as YAML text."""
    return HEAD + indent((DEPLOY / "prometheus" / "rules.yml").read_text(), "  ")


if __name__ == "__main__":
    (DEPLOY / "kubernetes" / "components" / "monitoring" / "rules.yaml").write_text(
        prometheus_rule()
    )
