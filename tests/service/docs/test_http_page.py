"""The examples of docs/http.md work, in the order of the page, and their answers have the shape
that it shows.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import cv2
import pytest
from http_service import http_service
from landmarker import require_face_landmarker
from project_root import ROOT

from orchestrator.core.paths import SAMPLES
from orchestrator.server.http.openapi import document
from orchestrator.server.http.routes import ROUTES

PAGE = (ROOT / "docs" / "http.md").read_text()
SAMPLE = SAMPLES / "hello.wav"
SERVER = "http://localhost:8080"


@dataclass(frozen=True)
class Example:
    """A command of the page and what stands below it."""

    command: str
    status: int | None
    """None where the page shows no answer."""
    answer: Any


def _examples() -> Iterator[Example]:
    blocks = re.findall(r"```sh\n(.*?)```(?:\n```json ?(\d*)\n(.*?)```)?", PAGE, re.DOTALL)
    for command, status, answer in blocks:
        yield Example(
            command.strip(),
            int(status or 200) if answer else None,
            json.loads(answer) if answer else None,
        )


EXAMPLES = list(_examples())


def _curl(command: str) -> argparse.Namespace:
    """Of curl, what the page uses."""
    parser = argparse.ArgumentParser()
    parser.add_argument("program", choices=["curl"])
    parser.add_argument("url")
    parser.add_argument("-X", dest="method")
    parser.add_argument("-F", dest="fields", action="append", default=[])
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-d", dest="data")
    parser.add_argument("-o", dest="output")
    return parser.parse_args(shlex.split(command))


def _body(options: argparse.Namespace, folder: Path) -> aiohttp.FormData | str | None:
    if not options.fields:
        return options.data
    form = aiohttp.FormData()
    for field in options.fields:
        name, _, value = field.partition("=")
        if value.startswith("@"):
            form.add_field(name, (folder / value[1:]).open("rb"), filename=value[1:])
        else:
            form.add_field(name, value)
    return form


def _fits(shown: Any, real: Any, path: str = "$") -> None:
    """The page's fields are there, of the same kind, and an error says the same words; other values
    may differ, and null stands for all.
    """
    if isinstance(shown, dict) and isinstance(real, dict):
        missing = shown.keys() - real.keys()
        assert not missing, f"{path} lacks {missing}"
        for key in shown:
            _fits(shown[key], real[key], f"{path}.{key}")
        told = {key: real[key] for key in ("errorMessage", "message") if key in shown}
        assert told == {key: shown[key] for key in told}, path
    elif isinstance(shown, list) and isinstance(real, list):
        assert len(real) >= len(shown), f"{path} is shorter than on the page"
        for index, (one, other) in enumerate(zip(shown, real, strict=False)):
            _fits(one, other, f"{path}[{index}]")
    elif shown is not None and real is not None:
        same = isinstance(shown, bool) == isinstance(real, bool) and (
            type(shown) is type(real) or {type(shown), type(real)} == {int, float}
        )
        assert same, f"{path} is {real!r}, on the page {shown!r}"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """`photo.jpg` and `speech.wav`, as the page's reader would have them."""
    data = pytest.importorskip(
        "skimage.data", reason="the portrait comes with scikit-image: make install-dev"
    )
    require_face_landmarker()
    cv2.imwrite(str(tmp_path / "photo.jpg"), data.astronaut()[:, :, ::-1])
    with wave.open(str(SAMPLE)) as source, wave.open(str(tmp_path / "speech.wav"), "wb") as target:
        target.setparams(source.getparams())
        target.writeframes(source.readframes(2 * source.getframerate()))
    return tmp_path


async def test_every_example_of_the_page_works_in_its_order(files: Path, tmp_path: Path) -> None:
    async with http_service(tmp_path / "storage") as url, aiohttp.ClientSession() as http:
        for example in EXAMPLES:
            options = _curl(example.command)
            body = _body(options, files)
            method = options.method or ("GET" if body is None else "POST")
            headers = dict(header.split(": ", 1) for header in options.headers)
            async with http.request(
                method, options.url.replace(SERVER, url), data=body, headers=headers
            ) as answer:
                if example.status is None:
                    assert answer.status in (200, 204), example.command
                else:
                    assert answer.status == example.status, (example.command, await answer.text())
                    _fits(example.answer, await answer.json(), example.command)
                if options.output:
                    assert len(await answer.read()) > 1000, example.command


def test_every_path_has_an_example_or_is_named() -> None:
    paths = set(document(ROUTES)["paths"])
    shown = {_curl(example.command).url.removeprefix(SERVER) for example in EXAMPLES}
    patterns = {path: re.compile(re.sub(r"\{\w+\}", "[^/]+", path)) for path in paths}
    lacking = [
        path
        for path, pattern in patterns.items()
        if not any(map(pattern.fullmatch, shown)) and f"`GET {path}`" not in PAGE
    ]
    assert not lacking
    assert all(any(pattern.fullmatch(url) for pattern in patterns.values()) for url in shown)


def test_every_example_says_what_the_description_says() -> None:
    methods = {
        (_curl(e.command).method or ("POST" if "-F" in e.command or "-d" in e.command else "GET"))
        for e in EXAMPLES
    }
    assert methods == {
        method.upper() for item in document(ROUTES)["paths"].values() for method in item
    }
