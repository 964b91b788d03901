"""The page and its module where the service requires a token, and on a page of another origin."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from serving import serve

TOKEN = "a-token-of-ann"

PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Origin of another site."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "index.html").write_text("<!doctype html><title>Elsewhere</title>")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, elsewhere: str) -> Iterator[str]:
    """Address of a service with a token for `demo`, whose shipped face it opens, that lets the
    other site in.
    """
    storage: Path = tmp_path_factory.mktemp("guarded")
    configuration = storage / "lipsync.toml"
    configuration.write_text(
        f'allowed_origins = ["{elsewhere}"]\n[auth.tokens]\n"{TOKEN}" = "demo"\n'
    )
    with serve(storage, "--config", str(configuration)) as (url, _):
        yield f"{url}/"


def test_a_page_without_a_token_says_that_one_is_wanted_and_stops_calling(
    page: Page, guarded: str
) -> None:
    page.goto(guarded)
    expect(page.locator("#problem")).to_contain_text("asks for a token", timeout=PATIENCE_MS)
    assert page.evaluate("window.lipsync.client.state") == "closed"


def test_a_page_with_a_token_speaks(page: Page, guarded: str) -> None:
    page.goto(f"{guarded}#access_token={TOKEN}&user=demo")
    page.wait_for_function("window.lipsync?.stats.connection === 'open'", timeout=PATIENCE_MS)
    expect(page.locator("#placeholder")).to_be_hidden(timeout=PATIENCE_MS)
    page.locator('[data-sample="hello.wav"]').click()
    page.wait_for_function("window.lipsync.stats.turn.framesDrawn > 20", timeout=PATIENCE_MS)


SPEAK = """async ([service, token]) => {
  const { LipSyncClient } = await import(service + "demo/client.js");
  const client = new LipSyncClient(service.replace("http", "ws") + "v1/ws", { token });
  const problems = [];
  client.addEventListener("problem", ({ detail }) => problems.push(detail.errorCode));
  const refused = await client.connect().then(() => null, (error) => error.message);
  if (refused !== null) {
    await new Promise((resolve) => setTimeout(resolve, 0));
    return { refused, problems };
  }
  let frames = 0;
  client.addEventListener("frame", () => (frames += 1));
  const over = new Promise((resolve) => client.addEventListener("end", resolve));
  client.beginTurn({ userId: "demo", faceModelId: "demo", sampleRate: 16000 });
  for (let chunk = 0; chunk < 10; chunk += 1) client.sendAudio(new Int16Array(1600));
  client.endUtterance();
  await over;
  client.close();
  return { frames, problems };
}"""


def test_the_module_works_from_a_site_that_the_operator_named(
    page: Page, guarded: str, elsewhere: str
) -> None:
    page.goto(elsewhere)
    assert page.evaluate(SPEAK, [guarded, TOKEN]) == {"frames": 20, "problems": []}


CALL = """async ([service, token, method, path, body]) => {
  const headers = { Authorization: `Bearer ${token}` };
  if (body !== null) headers["Content-Type"] = "application/json";
  const answer = await fetch(service + path, { method, headers, body });
  return [answer.status, (await answer.json()).errorCode ?? null];
}"""


def test_a_site_that_the_operator_named_sends_its_token_in_the_header_deletes_and_posts_json(
    page: Page, guarded: str, elsewhere: str
) -> None:
    page.goto(elsewhere)
    faces = "v1/users/demo/face-models"
    assert page.evaluate(CALL, [guarded, TOKEN, "GET", faces, None]) == [200, None]
    assert page.evaluate(CALL, [guarded, TOKEN, "DELETE", f"{faces}/none", None]) == [
        404,
        "FACE_MODEL_NOT_FOUND",
    ]
    assert page.evaluate(CALL, [guarded, TOKEN, "POST", "v1/benchmark", "{}"]) == [
        400,
        "INVALID_MESSAGE",
    ]
    assert page.evaluate(CALL, [guarded, "nope", "GET", faces, None]) == [401, "UNAUTHORIZED"]


def test_a_refused_token_rejects_the_connection_and_is_told(
    page: Page, guarded: str, elsewhere: str
) -> None:
    page.goto(elsewhere)
    answer = page.evaluate(SPEAK, [guarded, "nope"])
    assert answer["problems"] == ["UNAUTHORIZED"]
    assert "token" in answer["refused"]
