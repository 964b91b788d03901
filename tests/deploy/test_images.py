"""Dockerfiles, compose files, gateway and the renderer's distribution, checked without an
engine.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from deploy_tools import DEPLOY, ROOT, accepted, run, tool

from orchestrator.client.retries import WAITS

NO_ACCESS: dict[str, str] = {}
WITH_TOKEN = {"LIPSYNC_AUTH_TOKENS": "a-token=demo"}

OUTSIDE = {name: value for name, value in os.environ.items() if not name.startswith("LIPSYNC_")}

SETS = {
    "base": ["docker-compose.yml"],
    "gpu": ["docker-compose.yml", "compose.gpu.yaml"],
    "demo": ["compose.demo.yaml"],
}


def config(
    files: list[str], access: dict[str, str], *options: str
) -> subprocess.CompletedProcess[str]:
    """`docker compose config` of some files."""
    named = [part for file in files for part in ("--file", file)]
    command = [
        tool("docker-compose"),
        "--project-directory",
        str(ROOT),
        *named,
        *options,
        "config",
        "--quiet",
    ]
    return subprocess.run(
        command, cwd=ROOT, env=OUTSIDE | access, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("profile", [(), ("--profile", "monitoring")], ids=["plain", "monitoring"])
@pytest.mark.parametrize("files", SETS.values(), ids=SETS)
def test_compose_accepts_every_overlay_and_profile(
    files: list[str], profile: tuple[str, ...]
) -> None:
    done = config(files, WITH_TOKEN, *profile)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("files", [SETS["base"], SETS["gpu"]], ids=["base", "gpu"])
def test_without_access_compose_ends_and_says_what_to_set(files: list[str]) -> None:
    done = config(files, NO_ACCESS)
    assert done.returncode == 1
    assert "set LIPSYNC_AUTH_TOKENS=TOKEN=USER" in done.stderr
    assert "docker compose -f compose.demo.yaml up" in done.stderr


def test_the_demo_needs_no_token_and_stays_on_loopback_whatever_is_set() -> None:
    command = [tool("docker-compose"), "--file", "compose.demo.yaml", "config"]
    environment = OUTSIDE | {"GATEWAY_ADDRESS": "0.0.0.0"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"host_ip: (\S+)", done.stdout)) == {"127.0.0.1"}


def test_a_signing_key_takes_the_place_of_tokens() -> None:
    assert config(SETS["base"], NO_ACCESS | {"LIPSYNC_AUTH_JWT_KEY": "k" * 32}).returncode == 0


def test_dockerfiles_are_clean() -> None:
    accepted("hadolint", *(str(file) for file in sorted(DEPLOY.rglob("Dockerfile"))))


def test_compose_files_have_no_finding_of_high_severity() -> None:
    accepted(
        "compose-lint",
        "check",
        "--fail-on",
        "high",
        "docker-compose.yml",
        "compose.gpu.yaml",
        "compose.demo.yaml",
        cwd=ROOT,
    )


def test_the_gateway_accepts_its_configuration() -> None:
    if re.search(r"version [12]\.", accepted("haproxy", "-v")):
        pytest.skip(
            "haproxy is older than 3.0, which knows no hash-key: the stack tests check the file "
            "in a container"
        )
    done = run("haproxy", "-c", "-f", str(DEPLOY / "gateway" / "haproxy.cfg"))
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_the_image_of_triton_starts_the_models_that_the_default_model_needs() -> None:
    loads = re.findall(r"--load-model=(\w+)", (DEPLOY / "triton" / "Dockerfile").read_text())
    assert loads == ["audio2motion", "tpsm", "tpsm_speech"]
    assert re.findall(r"--load-model=(\w+)", (ROOT / "compose.gpu.yaml").read_text()) == loads


def test_the_gateway_waits_longer_for_an_answer_than_a_rendering_may_take() -> None:
    from orchestrator.core.config import ServiceConfig

    waits_s = re.search(r"timeout server (\d+)s", (DEPLOY / "gateway" / "haproxy.cfg").read_text())
    assert waits_s is not None
    assert int(waits_s[1]) > ServiceConfig().render_timeout_s


def test_the_gateway_leaves_an_orchestrator_that_drains_before_a_client_calls_for_the_fourth_time() -> (
    None
):
    text = (DEPLOY / "gateway" / "haproxy.cfg").read_text()
    checks = re.search(r"inter (\d+)ms fastinter (\d+)ms fall (\d+)", text)
    assert checks is not None
    inter_ms, again_ms, failures = map(int, checks.groups())
    assert inter_ms + (failures - 1) * again_ms < 1000 * 7 * WAITS.first_s, (
        "waits double: 1, 2 and 4 times the first"
    )


DRAW = """
import hashlib
import cv2, numpy as np
from orchestrator.core import dlpack
from orchestrator.rendering.test_card import CARD_FACE, card_frame
from orchestrator.rendering.renderer_cache import RendererCache
motion = np.full((1, 11), 0.25, np.float32)
drawn = RendererCache().draw(motion, np.frombuffer(CARD_FACE, np.uint8)[None])
assert np.array_equal(drawn[0], card_frame(motion[0]))
class Tensor:
    from_dlpack = staticmethod(lambda name, capsule: capsule)
class Backend: pass
Backend.Tensor = Tensor
dlpack.to_tensor(Backend, "frames", drawn)
print(np.__version__.split(".")[0])
"""


@pytest.fixture(scope="module")
def rendering_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution that Triton's image installs, made as its Dockerfile makes it."""
    folder = tmp_path_factory.mktemp("rendering")
    rendering, model = (
        DEPLOY / "triton" / "rendering",
        ROOT / "model_repository" / "tpsm" / "1" / "model.py",
    )
    subprocess.run(
        [sys.executable, rendering / "collect.py", model, ROOT, folder / "package"], check=True
    )
    accepted("uv", "build", "--quiet", "--wheel", "--out-dir", str(folder), str(folder / "package"))
    return next(folder.glob("*.whl"))


def test_the_renderer_draws_where_only_numpy_1_and_opencv_are_installed(
    rendering_wheel: Path, tmp_path: Path
) -> None:
    python = tmp_path / "bare" / "bin" / "python"
    accepted("uv", "venv", "--quiet", "--python", sys.executable, str(tmp_path / "bare"))
    accepted(
        "uv",
        "pip",
        "install",
        "--quiet",
        "--python",
        str(python),
        "numpy==1.26.4; python_version < '3.13'",
        "numpy<2.2",
    )
    accepted(
        "uv",
        "pip",
        "install",
        "--quiet",
        "--python",
        str(python),
        "--require-hashes",
        "--no-deps",
        "-r",
        "requirements/triton.txt",
        cwd=ROOT,
    )
    accepted(
        "uv",
        "pip",
        "install",
        "--quiet",
        "--python",
        str(python),
        "--no-deps",
        str(rendering_wheel),
    )
    listed = accepted("uv", "pip", "list", "--quiet", "--format", "freeze", "--python", str(python))
    assert {line.partition("==")[0] for line in listed.splitlines()} == {
        "lipsync-rendering",
        "numpy",
        "opencv-python-headless",
    }
    drawn = subprocess.run(
        [python, "-I", "-c", DRAW],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert drawn.returncode == 0, drawn.stderr


def test_the_renderer_has_the_version_and_the_bounds_of_the_service() -> None:
    service = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    renderer = tomllib.loads((DEPLOY / "triton" / "rendering" / "pyproject.toml").read_text())[
        "project"
    ]
    assert renderer["version"] == service["version"]
    upper = {line.split(">=")[0]: line.split(",")[-1] for line in service["dependencies"]}
    assert all(
        line.split(",")[-1] == upper[line.split(">=")[0]] for line in renderer["dependencies"]
    )
