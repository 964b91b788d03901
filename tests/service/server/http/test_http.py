"""The HTTP side: health, models, faces enrolled from photos, and the page."""

from __future__ import annotations

import asyncio
import json
import struct
from pathlib import Path
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest
import skimage.data
from ws_client import connect, syllables


def astronaut_jpeg() -> bytes:
    return cv2.imencode(".jpg", cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR))[
        1
    ].tobytes()


def form(photo: bytes | None, **fields: str) -> aiohttp.FormData:
    data = aiohttp.FormData()
    if photo is not None:
        data.add_field("photo", photo, filename="photo.jpg", content_type="image/jpeg")
    for name, value in fields.items():
        data.add_field(name, value, content_type="text/plain")
    return data


async def post_photo(
    url: str, data: aiohttp.FormData, user: str = "anna"
) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/v1/users/{user}/face-models", data=data) as answer,
    ):
        return answer.status, await answer.json()


async def get(url: str, path: str) -> tuple[int, str, bytes]:
    async with aiohttp.ClientSession() as http, http.get(url + path) as answer:
        return answer.status, answer.content_type, await answer.read()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/demo/style.css", "text/css"),
        ("/healthz", "application/json"),
        ("/readyz", "application/json"),
        ("/metrics", "text/plain"),
        ("/v1/health", "application/json"),
        ("/v1/models", "application/json"),
        ("/v1/models/tpsm/performance", "application/json"),
        ("/v1/users/demo/face-models", "application/json"),
        ("/v1/users/demo/face-models/demo", "application/json"),
        ("/v1/users/demo/face-models/demo/preview.jpg", "image/jpeg"),
    ],
)
async def test_every_path_answers(service_url: str, path: str, kind: str) -> None:
    status, content_type, body = await get(service_url, path)
    assert (status, content_type) == (200, kind)
    assert body


async def test_health_tells_how_frames_are_drawn(service_url: str) -> None:
    async with connect(service_url) as client:
        await client.speak(syllables(1.0))
        await client.until("response_end")
    generation = json.loads((await get(service_url, "/v1/health"))[2])["generation"]
    assert generation["framesGenerated"] >= 20
    assert generation["averageGenerationTimeMs"] > 0
    assert (generation["framesDropped"], generation["modelSwitches"]) == (0, 0)


async def test_a_photo_becomes_a_face_that_speaks(service_url: str) -> None:
    status, face = await post_photo(
        service_url, form(astronaut_jpeg(), consent="true", id="portrait")
    )
    assert status == 201
    assert (face["id"], face["userId"]) == ("portrait", "anna")
    assert 0 < face["qualityScore"] <= 100
    async with connect(service_url) as client:
        await client.speak(syllables(0.5), userId="anna", faceModelId="portrait")
        await client.until("response_end")
    assert {frame["model"] for frame in client.frames()} == {"tpsm"}


async def test_the_maps_of_an_enrolled_face_are_stored_for_every_size_before_anybody_asks(
    service_url: str, tmp_path: Path
) -> None:
    await post_photo(service_url, form(astronaut_jpeg(), consent="true", id="portrait"))
    async with asyncio.timeout(60.0):
        while _sizes_of_stored_maps(tmp_path) != ["128", "256", "512"]:  # noqa: ASYNC110 - a task of the application's own
            await asyncio.sleep(0.01)


def _sizes_of_stored_maps(storage: Path) -> list[str]:
    return sorted(
        file.name.split(".")[2]
        for file in storage.glob("face-models/anna/portrait/derived/face-maps.*.bin")
    )


async def test_an_enrolled_face_can_be_deleted(service_url: str) -> None:
    await post_photo(service_url, form(astronaut_jpeg(), consent="true", id="portrait"))
    path = "/v1/users/anna/face-models/portrait"
    async with aiohttp.ClientSession() as http, http.delete(service_url + path) as answer:
        assert answer.status == 204
    assert (await get(service_url, path))[0] == 404


async def test_an_empty_id_as_browsers_send_it_is_none(service_url: str) -> None:
    status, face = await post_photo(service_url, form(astronaut_jpeg(), consent="true", id=""))
    assert (status, face["id"][:5]) == (201, "face-")


def line_png(width: int, height: int) -> bytes:
    return cv2.imencode(".png", np.full((height, width, 3), 90, np.uint8))[1].tobytes()


def png_of_30_megapixels() -> bytes:
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(
        ">I4sIIBBBBB", 13, b"IHDR", 6000, 5000, 8, 2, 0, 0, 0
    )
    return header + bytes(64)


@pytest.mark.parametrize(
    ("photo", "fields", "status", "told"),
    [
        (None, {"consent": "true"}, 400, "photo"),
        (astronaut_jpeg(), {}, 400, "consent"),
        (astronaut_jpeg(), {"consent": "no"}, 400, "consent"),
        (astronaut_jpeg(), {"consent": "true", "id": "../up"}, 400, "id"),
        (b"not a picture", {"consent": "true"}, 422, "NOT_A_PICTURE"),
        (astronaut_jpeg()[:4000], {"consent": "true"}, 422, "PICTURE_DAMAGED"),
        (png_of_30_megapixels(), {"consent": "true"}, 422, "PICTURE_TOO_LARGE"),
        (
            cv2.imencode(".jpg", np.full((512, 512, 3), 90, np.uint8))[1].tobytes(),
            {"consent": "true"},
            422,
            "NO_FACE",
        ),
        (line_png(20_000, 1), {"consent": "true"}, 422, "NO_FACE"),
        (line_png(1, 20_000), {"consent": "true"}, 422, "NO_FACE"),
    ],
    ids=[
        "no photo",
        "no consent",
        "consent refused",
        "traversal",
        "text",
        "truncated",
        "30 megapixels",
        "no face",
        "a line",
        "a column",
    ],
)
async def test_a_photo_that_cannot_be_used_is_refused_with_a_reason(
    service_url: str, photo: bytes | None, fields: dict[str, str], status: int, told: str
) -> None:
    answered, body = await post_photo(service_url, form(photo, **fields))
    assert answered == status
    reasons = [reason["code"] for reason in body["details"].get("reasons", [])]
    assert told in (body["details"].get("field"), *reasons), body


@pytest.mark.parametrize(
    "path",
    [
        "/v1/users/anna/face-models/nobody",
        "/v1/users/demo/face-models/nobody/preview.jpg",
        "/v1/models/magic/performance",
    ],
)
async def test_what_is_not_there_is_404(service_url: str, path: str) -> None:
    assert (await get(service_url, path))[0] == 404


async def test_a_foreign_page_may_not_connect(service_url: str) -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(
                f"{service_url}/v1/ws", headers={"Origin": "https://evil.example"}
            )
    assert refused.value.status == 403


async def test_the_demo_face_cannot_be_replaced(service_url: str) -> None:
    status, error = await post_photo(
        service_url, form(astronaut_jpeg(), consent="true", id="demo"), user="demo"
    )
    assert (status, error["details"]["field"]) == (400, "id")


async def test_the_demo_face_cannot_be_deleted(service_url: str) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.delete(f"{service_url}/v1/users/demo/face-models/demo") as answer,
    ):
        assert answer.status >= 400
    assert (await get(service_url, "/v1/users/demo/face-models/demo"))[0] == 200
