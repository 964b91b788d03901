"""The browser's client on a blank page of the service's origin, and scripts that use it."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

PATIENCE_MS = 60_000
"""Limit for what must happen at all."""

_CLIENT = """
const { LipSyncClient, unpackMessage } = await import("/demo/client.js");
const client = new LipSyncClient(new URL("/v1/ws", location.href.replace("http", "ws")));
const problems = [];
client.addEventListener("problem", ({ detail }) => problems.push(detail.errorCode));
const next = (type, fits = () => true) => new Promise((resolve) => {
  client.addEventListener(type, function heard({ detail }) {
    if (!fits(detail)) return;
    client.removeEventListener(type, heard);
    resolve(detail);
  });
});
const resolution = { width: 128, height: 128 };
const config = { targetFps: 20, resolution, format: "jpeg", quality: 80 };
const speak = (chunks, faceModelId = "demo") => {
  const turnId = client.beginTurn({ userId: "demo", faceModelId, sampleRate: 16000, config });
  for (let chunk = 0; chunk < chunks; chunk += 1) client.sendAudio(new Int16Array(1600));
  client.endUtterance();
  return turnId;
};
"""
"""`next(type, fits)` resolves with an event's detail; `speak(chunks, face)` sends a silent turn of
that many 100 ms chunks and returns its id.
"""


def run_client(page: Page, url: str, setup: str, script: str) -> Any:
    """Result of a script, which runs with a connected `client`; the connection is closed after it.

    `setup` runs before the client connects; its names are the script's, beside `problems`, `next`
    and `speak`. Raises Playwright's error where the script throws or exceeds `PATIENCE_MS`.
    """
    page.goto(f"{url}demo/icon.svg")
    return page.evaluate(
        f"""async () => {{
          {_CLIENT}
          {setup}
          await client.connect();
          const late = new Error("it never came");
          const tooLong = new Promise((_, reject) => setTimeout(reject, {PATIENCE_MS}, late));
          const result = await Promise.race([tooLong, (async () => {{ {script} }})()]);
          client.close();
          return result;
        }}"""
    )
