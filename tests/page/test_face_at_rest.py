"""Face at rest between turns and while no picture comes: its mouth is closed."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import skimage.data
from playwright.sync_api import Page, expect
from relay import relay

from orchestrator.core.paths import SAMPLES

PATIENCE_MS = 120_000
"""Limit for what must happen at all."""

PROBE = """() => {
  const small = new OffscreenCanvas(16, 16).getContext("2d", { willReadFrequently: true });
  // Mean grey of a grid over the lower middle of a picture.
  const grid = (picture) => {
    const { width, height } = picture;
    small.drawImage(picture, width * 0.3, height * 0.5, width * 0.4, height * 0.35, 0, 0, 16, 16);
    const { data } = small.getImageData(0, 0, 16, 16);
    const grey = (i) => (data[4 * i] + data[4 * i + 1] + data[4 * i + 2]) / 3;
    return Array.from({ length: 256 }, (_, i) => grey(i));
  };
  const canvas = document.getElementById("face");
  const apart = (one, other) => Math.max(...one.map((value, i) => Math.abs(value - other[i])));
  const probe = { posters: {}, messages: {}, fades: 0, grid, apart };
  probe.fromRest = (face) =>
    probe.posters[face] ? apart(grid(canvas), grid(probe.posters[face])) : NaN;
  probe.nextRefresh = () => new Promise(requestAnimationFrame);
  probe.untilOpen = async (face, grey) => {
    const { stats } = window.lipsync;
    const until = performance.now() + 120000;
    const speaks = () => stats.state === "speaking" && stats.turn.framesDrawn > 0;
    const sample = document.querySelector('[data-sample="how-it-works.wav"]');
    while (!(speaks() && probe.fromRest(face) > grey)) {
      // Where a busy machine was too late for every picture of a sample, it is spoken once more.
      if (stats.state === "idle" && stats.turn.metrics) sample.click();
      if (performance.now() > until) {
        throw new Error(`the mouth stays closed: ${JSON.stringify(stats.turn)}`);
      }
      await probe.nextRefresh();
    }
  };
  window.lipsync.client.addEventListener("poster", async ({ detail }) => {
    probe.messages[detail.faceModelId] = detail;
    const coded = new Blob([detail.data], { type: "image/jpeg" });
    probe.posters[detail.faceModelId] = await createImageBitmap(coded);
  });
  const fades = new MutationObserver((changes) => {
    for (const { addedNodes } of changes) probe.fades += addedNodes.length;
  });
  fades.observe(document.getElementById("frame"), { childList: true });
  window.probe = probe;
}"""
"""Compares the canvas with the resting pictures that the service sent."""

INTERRUPT = """async ([face, grey]) => {
  // Escape, pressed and looked at between two refreshes, so that no frame comes between.
  const { grid, apart, fromRest, untilOpen } = window.probe;
  const canvas = document.getElementById("face");
  await untilOpen(face, grey);
  const spoken = grid(canvas);
  dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
  const above = document.querySelector(".fading");
  const fade = above?.getAnimations()[0].effect;
  return {
    fromRest: fromRest(face),
    sides: [canvas.width, window.probe.posters[face].width],
    fromSpoken: above && apart(grid(above), spoken),
    fadesForMs: fade?.getTiming().duration,
    opacity: fade?.getKeyframes().map(({ opacity }) => opacity),
  };
}"""

OPEN = 12.0
"""Grey levels by which some spot around a speaking mouth differs from the mouth at rest."""

SAME = 0.5


def open_page(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_function("window.lipsync?.stats.connection === 'open'", timeout=PATIENCE_MS)
    expect(page.locator("#placeholder")).to_be_hidden(timeout=PATIENCE_MS)
    page.evaluate(PROBE)
    choose(page, "fps", "15")


def choose(page: Page, setting: str, value: str) -> None:
    page.locator(f'input[name="{setting}"][value="{value}"]').check(force=True)


def wait_for(page: Page, truth: str) -> None:
    page.wait_for_function(truth, timeout=PATIENCE_MS)


def interrupt(page: Page, face: str = "demo") -> dict[str, Any]:
    """Speak a sample and stop it while the mouth is open; returns what was on screen then."""
    page.locator('[data-sample="how-it-works.wav"]').click()
    seen: dict[str, Any] = page.evaluate(INTERRUPT, [face, OPEN])
    wait_for(page, "window.lipsync.stats.state === 'idle' && !document.querySelector('.fading')")
    return seen


def enrolled(page: Page, service: str) -> str:
    """Id of a visitor's own face; pages opened from now on offer it."""
    photo = simplejpeg.encode_jpeg(np.ascontiguousarray(skimage.data.astronaut()), 92)
    form: Any = {
        "consent": "true",
        "photo": {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": photo},
    }
    answer = page.request.post(
        f"{service}v1/users/visitor-1/face-models", multipart=form, timeout=PATIENCE_MS
    )
    assert answer.ok, answer.text()
    face: str = answer.json()["id"]
    stored = json.dumps({"userId": "visitor-1", "faceModelIds": [face]})
    page.add_init_script(f"localStorage.setItem('lipsync.faces', '{stored}')")
    return face


def long_speech(folder: Path) -> Path:
    """Sound enough to be still heard when a connection comes back on a slow machine."""
    path = folder / "long.wav"
    with wave.open(str(SAMPLES / "how-it-works.wav")) as clip, wave.open(str(path), "wb") as speech:
        speech.setparams(clip.getparams())
        speech.writeframes(4 * clip.readframes(clip.getnframes()))
    return path


@pytest.mark.parametrize("size", [256, 512])
@pytest.mark.parametrize("coding", ["jpeg", "h264"])
def test_a_face_that_is_interrupted_fades_to_its_resting_picture(
    page: Page, service: str, coding: str, size: int
) -> None:
    open_page(page, service)
    choose(page, "format", coding)
    choose(page, "size", str(size))
    seen = interrupt(page)
    assert seen["fromRest"] < SAME, "beneath, the face is at rest at once"
    assert seen["fromSpoken"] < SAME, "above, what was seen fades away"
    assert 100 <= seen["fadesForMs"] <= 150
    assert seen["opacity"] == ["1", "0"]
    assert seen["sides"] == [size, size]
    assert page.evaluate("window.probe.fromRest('demo')") < SAME, "and stays so"


def test_a_face_that_has_spoken_to_its_end_is_at_rest(page: Page, service: str) -> None:
    open_page(page, service)
    page.locator('[data-sample="hello.wav"]').click()
    wait_for(page, "window.lipsync.stats.turn.metrics && window.lipsync.stats.state === 'idle'")
    assert page.evaluate("window.probe.fromRest('demo')") < SAME


def test_a_face_whose_turn_was_lost_is_at_rest_and_the_page_goes_on_saying_why(
    page: Page, service: str
) -> None:
    with relay(service) as wire:
        open_page(page, wire.url)
        page.locator('[data-sample="how-it-works.wav"]').click()
        page.evaluate("window.probe.untilOpen('demo', 12)")
        page.evaluate(
            "window.lipsync.client._session._userId = 'somebody-else'"
        )  # the service refuses, as it does once the session is gone
        wire.cut()
        wait_for(
            page,
            "window.lipsync.stats.state === 'idle' && window.lipsync.stats.connection === 'open'",
        )
        assert page.evaluate("window.probe.fromRest('demo')") < SAME
        expect(page.locator("#problem")).to_contain_text("connection was lost", timeout=PATIENCE_MS)


def test_a_face_whose_pictures_stay_away_rests_and_then_speaks_on(
    page: Page, service: str, tmp_path: Path
) -> None:
    with relay(service) as wire:
        open_page(page, wire.url)
        choose(page, "size", "256")
        page.locator("#audio-file").set_input_files(long_speech(tmp_path))
        page.evaluate("window.probe.untilOpen('demo', 12)")
        with wire.away():
            wait_for(
                page,
                "window.lipsync.stats.state === 'speaking' && window.probe.fromRest('demo') < 0.5",
            )
            fades = page.evaluate("window.probe.fades")
        page.evaluate(
            "dispatchEvent(new Event('online'))"
        )  # as browsers tell it: the page then calls at once
        wait_for(page, "window.lipsync.stats.resumptions === 1")
        page.evaluate("window.probe.untilOpen('demo', 12)")
        assert page.evaluate("window.probe.fades") > fades, "from rest to speech it goes as softly"


def test_of_several_faces_each_comes_to_its_own_rest(page: Page, service: str) -> None:
    own = enrolled(page, service)
    open_page(page, service)
    assert interrupt(page)["fromRest"] < SAME
    choose(page, "face", own)
    assert interrupt(page, own)["fromRest"] < SAME
    assert page.evaluate("window.probe.fromRest('demo')") > OPEN
    choose(page, "face", "demo")
    wait_for(page, "window.probe.fromRest('demo') < 0.5")
    assert interrupt(page)["fromRest"] < SAME


def test_a_resting_picture_that_comes_late_is_not_shown_of_a_face_no_longer_chosen(
    page: Page, service: str
) -> None:
    own = enrolled(page, service)
    open_page(page, service)
    page.locator('[data-sample="hello.wav"]').click()
    wait_for(page, "window.probe.messages.demo && window.lipsync.stats.posters === 1")
    choose(page, "face", own)
    wait_for(page, "window.probe.fromRest('demo') > 12")
    script = """async () => {
      const { client, stats } = window.lipsync;
      stats.turn.framesDrawn = 0; // as when the other face was chosen before anything was drawn
      client.dispatchEvent(new CustomEvent("poster", { detail: window.probe.messages.demo }));
      while (stats.posters < 2) await window.probe.nextRefresh();
    }"""
    page.evaluate(script)
    assert page.evaluate("window.probe.fromRest('demo')") > OPEN


def test_what_is_said_of_a_service_that_is_away_goes_when_it_is_back(
    page: Page, service: str
) -> None:
    with relay(service) as wire:
        open_page(page, wire.url)
        with wire.away():
            wait_for(page, "window.lipsync.stats.connection !== 'open'")
            page.locator('[data-sample="hello.wav"]').click()
            expect(page.locator("#problem")).to_contain_text("away just now", timeout=PATIENCE_MS)
        wait_for(page, "window.lipsync.stats.connection === 'open'")
        expect(page.locator("#problem")).to_be_hidden(timeout=PATIENCE_MS)


def test_a_photo_that_loads_slowly_does_not_take_the_place_of_the_resting_picture(
    page: Page, service: str
) -> None:
    open_page(page, service)
    script = """async () => {
      const { Stage } = await import("/demo/stage.js");
      const stage = new Stage();
      const make = window.createImageBitmap;
      const face = "/v1/users/demo/face-models/demo/preview.jpg";
      window.createImageBitmap = async (...photo) => {
        stage.keep(face, await make(new ImageData(32, 32)));
        return make(...photo);
      };
      await stage.showFace(face);
      return document.getElementById("face").width;
    }"""
    assert page.evaluate(script) == 32
