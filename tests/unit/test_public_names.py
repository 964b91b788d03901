"""The names that `import orchestrator` offers, and what that import costs."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

import orchestrator
from orchestrator.sessions import service


def _printed(program: str) -> str:
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_the_service_is_importable_from_the_package() -> None:
    from orchestrator import LipSyncService

    assert LipSyncService is service.LipSyncService


def test_the_version_is_that_of_the_installed_package() -> None:
    assert orchestrator.__version__ == importlib.metadata.version("lipsync-service")


def test_every_offered_name_exists() -> None:
    assert all(hasattr(orchestrator, name) for name in orchestrator.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'LipSink'"):
        _ = orchestrator.LipSink


def test_importing_the_package_imports_nothing_else_of_it_and_no_dependency() -> None:
    imported = (
        "import sys; before = set(sys.modules); import orchestrator; "
        "print(*sorted(name for name in set(sys.modules) - before "
        "if name.partition('.')[0] not in sys.stdlib_module_names))"
    )
    assert _printed(imported) == "orchestrator"


def test_the_first_use_of_the_service_imports_it() -> None:
    program = (
        "import sys, orchestrator; assert 'numpy' not in sys.modules; "
        "print(orchestrator.LipSyncService.__name__, 'numpy' in sys.modules)"
    )
    assert _printed(program) == "LipSyncService True"


def test_onnx_runtime_reports_nothing_to_its_vendor() -> None:
    program = "import os; os.environ.pop('ORT_DISABLE_TELEMETRY', None); import orchestrator; "
    assert _printed(program + "print(os.environ['ORT_DISABLE_TELEMETRY'])") == "1"
