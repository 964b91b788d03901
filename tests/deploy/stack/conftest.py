"""One engine and one set of images for all tests of this folder; each file has a stack of its
own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from compose_stack import TOKEN, Stack, compose_stack
from container_engine import Engine, container_engine
from deploy_tools import ROOT

KEPT = ROOT / "build" / "deploy"
"""Base trees and image layers stay from run to run; `rm -r build/deploy` frees 3 GB and more."""


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker Engine with stand-ins for the public base images."""
    with container_engine(KEPT / "engine") as running:
        running.build_stand_ins(KEPT / "trees")
        yield running


@pytest.fixture(scope="session")
def images(engine: Engine) -> Engine:
    """The engine with our two images, built as `docker compose build` builds them."""
    with compose_stack(engine, settings={"LIPSYNC_AUTH_TOKENS": f"{TOKEN}=demo"}) as stack:
        stack.compose("build")
    return engine


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings of orchestrators on a slow or busy machine: long deadlines, no admission control."""
    file = tmp_path_factory.mktemp("settings") / "lipsync.env"
    file.write_text("LIPSYNC_CHUNK_DEADLINE_MS=10000\nLIPSYNC_CAPACITY_PROBE=false\n")
    return file


@pytest.fixture(scope="module")
def stack(images: Engine, patient: Path) -> Iterator[Stack]:
    """Gateway, two orchestrators and Triton, healthy."""
    settings = {"LIPSYNC_AUTH_TOKENS": f"{TOKEN}=demo", "LIPSYNC_ENV_FILE": str(patient)}
    with compose_stack(images, settings=settings) as started:
        started.up()
        yield started
