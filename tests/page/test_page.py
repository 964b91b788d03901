"""The page with the real service in a real browser: a visitor's actions and their results."""

from __future__ import annotations

import base64
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import skimage.data
from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from relay import relay

from orchestrator.core.paths import PAGE

SAMPLE = PAGE / "samples" / "hello.wav"

PATIENCE_MS = 120_000
"""Limit for what must happen at all; the page measures how fast it happens."""

MOUTH_CHANGE = """async (durationMs) => {
  // Mean grey of a grid over the lower middle of the face, watched from refresh to refresh.
  const canvas = document.getElementById("face");
  const small = new OffscreenCanvas(16, 16).getContext("2d", { willReadFrequently: true });
  const seen = [];
  const until = performance.now() + durationMs;
  while (performance.now() < until) {
    const { width, height } = canvas;
    small.drawImage(canvas, width * 0.3, height * 0.5, width * 0.4, height * 0.35, 0, 0, 16, 16);
    const { data } = small.getImageData(0, 0, 16, 16);
    const grey = (i) => (data[4 * i] + data[4 * i + 1] + data[4 * i + 2]) / 3;
    seen.push(Array.from({ length: 256 }, (_, i) => grey(i)));
    await new Promise(requestAnimationFrame);
  }
  const spread = (values) => {
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    return Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
  };
  return Math.max(...seen[0].map((_, i) => spread(seen.map((grid) => grid[i]))));
}"""
"""Grey levels by which the most moving spot around the mouth varies."""

MOST_OFFSET_MS = 45
"""Largest offset of 95 in 100 frames, either way."""

SMOOTH_MS = 25.0
"""Longest time between two refreshes of a screen that has nothing else to do."""

WATCH_REFRESHES = """() => {
  window.refreshGapsMs = [];
  let last = performance.now();
  const note = () => {
    const now = performance.now();
    window.refreshGapsMs.push(now - last);
    last = now;
    requestAnimationFrame(note);
  };
  requestAnimationFrame(note);
}"""

MOVES = 4.0
RESTS = 0.5


@pytest.fixture
def demo(page: Page, service: str) -> Page:
    """The page, connected; no test may leave an error in its console."""
    problems: list[str] = []
    page.on("console", lambda message: _note(message, problems))
    page.on("pageerror", lambda error: problems.append(str(error)))
    open_page(page, service)
    page.problems = problems  # type: ignore[attr-defined]
    return page


def _note(message: ConsoleMessage, problems: list[str]) -> None:
    if message.type in ("error", "warning"):
        problems.append(message.text)


def open_page(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_function("window.lipsync?.stats.connection === 'open'", timeout=PATIENCE_MS)
    expect(page.locator("#placeholder")).to_be_hidden(timeout=PATIENCE_MS)


def drop(page: Page, file: Path, media_type: str) -> None:
    """Drop a file on the page, as a mouse would."""
    script = """([base64, name, type]) => {
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([bytes], name, { type }));
      for (const event of ["dragenter", "dragover", "drop"]) {
        dispatchEvent(new DragEvent(event, { dataTransfer }));
      }
    }"""
    page.evaluate(script, [base64.b64encode(file.read_bytes()).decode(), file.name, media_type])


def choose(page: Page, name: str, value: str) -> None:
    page.locator(f'input[name="{name}"][value="{value}"]').check(force=True)


def wait_for_state(page: Page, state: str) -> None:
    page.wait_for_function(
        "(state) => window.lipsync.stats.state === state", arg=state, timeout=PATIENCE_MS
    )


def turn(page: Page) -> dict[str, Any]:
    """The turn's numbers, as `stats.js` describes them."""
    script = """() => { const { turn, problems } = window.lipsync.stats;
      const { avOffsetMs, liveLatencyMs } = turn;
      return { ...turn, avOffsetMs, liveLatencyMs, problems };
    }"""
    numbers: dict[str, Any] = page.evaluate(script)
    return numbers


def duration_s(path: Path) -> float:
    with wave.open(str(path)) as clip:
        return clip.getnframes() / clip.getframerate()


def test_the_page_loads_without_a_console_error_and_shows_the_face(demo: Page) -> None:
    expect(demo.locator("#placeholder")).to_be_hidden()
    expect(demo.locator("#connection")).to_have_text("Connected")
    assert demo.problems == []  # type: ignore[attr-defined]


def test_the_page_asks_nobody_but_the_service(page: Page, service: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    open_page(page, service)
    page.wait_for_load_state("networkidle")
    assert {
        url for url in asked if not url.startswith((service, service.replace("http", "ws")))
    } == set()


def test_every_control_has_a_name_for_a_screen_reader(demo: Page) -> None:
    script = """() => {
      const controls = "button, input:not([hidden]), summary, a, canvas:not([aria-hidden])";
      const label = (control) => control.labels?.[0]?.textContent.trim();
      const name = (control) => control.ariaLabel || control.textContent.trim() || label(control);
      const nameless = [...document.querySelectorAll(controls)].filter((control) => !name(control));
      return nameless.map((control) => control.outerHTML);
    }"""
    assert demo.evaluate(script) == []


@pytest.mark.parametrize(
    ("coding", "size", "fps"), [("jpeg", 256, 20), ("h264", 512, 25), ("h264", 256, 15)]
)
def test_a_sample_speaks_to_its_last_frame(
    demo: Page, coding: str, size: int, fps: int, record_property: Callable[[str, object], None]
) -> None:
    choose(demo, "format", coding)
    choose(demo, "size", str(size))
    choose(demo, "fps", str(fps))
    demo.evaluate(WATCH_REFRESHES)
    at_rest = demo.evaluate(MOUTH_CHANGE, 300)
    demo.locator('[data-sample="hello.wav"]').click()
    wait_for_state(demo, "speaking")
    speaking = demo.evaluate(MOUTH_CHANGE, 3000)
    wait_for_state(demo, "idle")
    numbers = turn(demo)
    gaps_ms = np.array(demo.evaluate("window.refreshGapsMs"))
    record_property(
        "turn",
        {name: value for name, value in numbers.items() if name not in ("offsets", "latencies")},
    )
    assert numbers["problems"] == []
    whole, spared = numbers["metrics"]["framesGenerated"], numbers["metrics"]["framesDropped"]
    assert whole == pytest.approx(duration_s(SAMPLE) * fps, abs=1)
    assert numbers["framesReceived"] == whole - spared
    assert spared <= whole / 4, "the most that a machine is spared which cannot keep up"
    assert numbers["framesDecoded"] == numbers["framesReceived"]
    assert numbers["framesDrawn"] + numbers["framesSkipped"] == numbers["framesDecoded"]
    assert numbers["sequenceGaps"] == 0
    assert demo.evaluate("document.getElementById('face').width") == size
    assert at_rest < RESTS
    assert speaking > MOVES
    # A browser that is kept from drawing shows what is newest when it draws again, and no more
    # often than that.
    assert numbers["avOffsetMs"]["p95"] < MOST_OFFSET_MS + max(
        0.0, np.percentile(gaps_ms, 95) - SMOOTH_MS
    )
    assert (
        numbers["reports"]
        >= int(1000 * duration_s(SAMPLE) / (1000 + max(gaps_ms.max(), SMOOTH_MS))) - 1
    )
    assert numbers["metrics"]["avOffsetMs"] is not None
    assert demo.evaluate("window.lipsync.stats.posters") >= 1
    assert demo.problems == []  # type: ignore[attr-defined]


def test_a_dropped_recording_speaks_once_the_browser_may_play_it(demo: Page) -> None:
    # Scripts of the test count as presses to the browser, so it cannot tell by itself that nothing
    # was pressed.
    demo.evaluate(
        "Object.defineProperty(navigator, 'userActivation', { value: { hasBeenActive: false } })"
    )
    drop(demo, SAMPLE, "audio/wav")
    expect(demo.locator("#note")).to_have_text("Press anywhere to hear it.")
    demo.locator("h1").click()
    wait_for_state(demo, "speaking")
    wait_for_state(demo, "idle")
    assert turn(demo)["framesReceived"] == pytest.approx(duration_s(SAMPLE) * 25, abs=1)
    assert demo.problems == []  # type: ignore[attr-defined]


def test_a_chosen_recording_speaks(demo: Page) -> None:
    demo.locator("h1").click()
    demo.locator("#audio-file").set_input_files(SAMPLE)
    wait_for_state(demo, "speaking")


def test_another_model_taking_over_is_noted(demo: Page) -> None:
    demo.locator('[data-sample="how-it-works.wav"]').click()
    wait_for_state(demo, "speaking")
    demo.evaluate("window.lipsync.client.switchModel('static')")
    expect(demo.locator("#note")).to_have_text("static draws now, as asked", timeout=PATIENCE_MS)
    expect(demo.locator("#n-model")).to_have_text("static")
    assert demo.evaluate("window.lipsync.stats.switches") == [
        {"from": "tpsm", "to": "static", "reason": "REQUESTED"}
    ]


def test_a_file_that_is_no_sound_is_refused_in_words(demo: Page, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF no sound in here")
    demo.locator("h1").click()
    demo.locator("#audio-file").set_input_files(broken)
    expect(demo.locator("#problem")).to_contain_text("cannot read that file as sound")


def test_the_microphone_moves_the_face(
    launch: Callable[..., Browser], service: str, record_property: Callable[[str, object], None]
) -> None:
    microphone = f"--use-file-for-fake-audio-capture={SAMPLE}"
    browser = launch(
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", microphone
    )
    page = browser.new_context().new_page()
    open_page(page, service)
    page.locator("#microphone").click()
    wait_for_state(page, "listening")
    moved = page.evaluate(MOUTH_CHANGE, 3000)
    page.wait_for_function("window.lipsync.stats.turn.framesDrawn > 40", timeout=PATIENCE_MS)
    page.locator("#microphone").click()
    wait_for_state(page, "idle")
    numbers = turn(page)
    record_property("liveLatencyMs", numbers["liveLatencyMs"])
    assert moved > MOVES
    assert numbers["problems"] == []
    assert numbers["liveLatencyMs"] > 0


def test_stop_silences_face_and_stream(
    demo: Page, record_property: Callable[[str, object], None]
) -> None:
    demo.locator('[data-sample="how-it-works.wav"]').click()
    wait_for_state(demo, "speaking")
    demo.wait_for_function("window.lipsync.stats.turn.framesDrawn > 20", timeout=PATIENCE_MS)
    demo.keyboard.press("Escape")
    wait_for_state(demo, "idle")
    after = demo.evaluate(MOUTH_CHANGE, 1000)
    demo.wait_for_function(
        "performance.now() - window.lipsync.stats.turn.lastReceivedAt > 2000", timeout=PATIENCE_MS
    )
    numbers = turn(demo)
    record_property("stoppedAfterMs", numbers["lastReceivedAt"] - numbers["interruptedAt"])
    assert numbers["lastDrawnAt"] <= numbers["interruptedAt"]
    spoken = duration_s(PAGE / "samples" / "how-it-works.wav") * 25
    assert numbers["framesReceived"] < 0.8 * spoken, "none but those that were on their way"
    assert after < RESTS
    assert demo.problems == []  # type: ignore[attr-defined]


def test_a_second_sample_takes_over_from_the_first(demo: Page) -> None:
    demo.locator('[data-sample="how-it-works.wav"]').click()
    wait_for_state(demo, "speaking")
    demo.locator('[data-sample="hello.wav"]').click()
    demo.wait_for_function("window.lipsync.stats.turn.id === 'turn-002'", timeout=PATIENCE_MS)
    wait_for_state(demo, "idle")
    numbers = turn(demo)
    assert numbers["framesReceived"] == pytest.approx(duration_s(SAMPLE) * 25, abs=1)
    assert numbers["problems"] == []


def test_a_dropped_photo_needs_consent_and_one_without_a_face_is_refused_with_reasons(
    demo: Page, tmp_path: Path
) -> None:
    photo = tmp_path / "wall.jpg"
    grain = np.random.default_rng(1).integers(90, 160, (480, 480, 3), dtype=np.uint8)
    photo.write_bytes(simplejpeg.encode_jpeg(grain, 85))
    drop(demo, photo, "image/jpeg")
    expect(demo.locator("#photo-preview")).to_be_visible()
    expect(demo.locator("#create-face")).to_be_disabled()
    demo.locator("#consent").check()
    demo.locator("#create-face").click()
    expect(demo.locator("#refused li").first).to_be_visible(timeout=PATIENCE_MS)
    assert demo.locator("#refused li").first.inner_text().strip() != ""
    demo.keyboard.press("Escape")
    expect(demo.locator("#enrol")).to_be_hidden()


def test_a_photo_becomes_a_face_that_speaks_and_can_be_deleted(demo: Page, tmp_path: Path) -> None:
    photo = tmp_path / "portrait.jpg"
    photo.write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(skimage.data.astronaut()), 92))
    demo.locator("#add-face").click()
    demo.locator("#photo-file").set_input_files(photo)
    demo.locator("#consent").check()
    demo.locator("#create-face").click()
    expect(demo.locator("#enrol")).to_be_hidden(timeout=PATIENCE_MS)
    expect(demo.get_by_label("Your face 1", exact=True)).to_be_checked()
    demo.locator('[data-sample="hello.wav"]').click()
    wait_for_state(demo, "speaking")
    assert demo.evaluate(MOUTH_CHANGE, 3000) > MOVES
    demo.get_by_label("Delete Your face 1").click()
    expect(demo.locator('input[name="face"]')).to_have_count(1)
    demo.reload()
    expect(demo.locator('input[name="face"]')).to_have_count(1)
    assert demo.problems == []  # type: ignore[attr-defined]


def test_a_face_the_service_no_longer_has_is_not_offered(page: Page, service: str) -> None:
    stored = '{"userId": "visitor-1", "faceModelIds": ["long-gone"]}'
    page.add_init_script(f"localStorage.setItem('lipsync.faces', '{stored}')")
    open_page(page, service)
    expect(page.locator('input[name="face"]')).to_have_count(1)


def test_h264_is_greyed_out_with_the_reason_where_the_browser_cannot_decode_it(
    page: Page, service: str
) -> None:
    page.add_init_script("delete window.VideoDecoder")
    open_page(page, service)
    expect(page.locator('input[value="h264"]')).to_be_disabled()
    expect(page.locator("#h264-reason")).to_contain_text("WebCodecs")


def test_a_turn_goes_on_after_a_dropped_connection(
    page: Page, service: str, record_property: Callable[[str, object], None]
) -> None:
    with relay(service) as wire:
        open_page(page, wire.url)
        page.locator('[data-sample="how-it-works.wav"]').click()
        wait_for_state(page, "speaking")
        page.wait_for_function("window.lipsync.stats.turn.framesDrawn > 20", timeout=PATIENCE_MS)
        with wire.away():
            page.wait_for_function(
                "window.lipsync.stats.connection !== 'open'", timeout=PATIENCE_MS
            )
        page.wait_for_function("window.lipsync.stats.resumptions === 1", timeout=PATIENCE_MS)
        drawn = turn(page)["framesDrawn"]
        wait_for_state(page, "idle")
        numbers = turn(page)
        record_property(
            "turn",
            {
                name: value
                for name, value in numbers.items()
                if name not in ("offsets", "latencies")
            },
        )
        assert numbers["problems"] == []
        assert numbers["sequenceGaps"] == 0
        assert numbers["framesDrawn"] > drawn + 20
        assert numbers["metrics"]["framesGenerated"] == pytest.approx(
            duration_s(PAGE / "samples" / "how-it-works.wav") * 25, abs=1
        )
        page.locator('[data-sample="hello.wav"]').click()
        wait_for_state(page, "speaking")
        wait_for_state(page, "idle")
        assert turn(page)["framesReceived"] == pytest.approx(duration_s(SAMPLE) * 25, abs=1)


def test_a_session_that_the_service_let_go_of_is_told_and_the_next_turn_speaks(
    page: Page, service: str
) -> None:
    with relay(service) as wire:
        open_page(page, wire.url)
        page.locator('[data-sample="how-it-works.wav"]').click()
        wait_for_state(page, "speaking")
        page.evaluate(
            "window.lipsync.client._session._userId = 'somebody-else'"
        )  # the service refuses, as it does once the session is gone
        wire.cut()
        expect(page.locator("#problem")).to_contain_text("connection was lost")
        wait_for_state(page, "idle")
        page.locator('[data-sample="hello.wav"]').click()
        wait_for_state(page, "speaking")
        wait_for_state(page, "idle")
        assert turn(page)["framesReceived"] == pytest.approx(duration_s(SAMPLE) * 25, abs=1)


def test_a_queued_turn_counts_its_own_time_and_each_turn_ends_once(demo: Page) -> None:
    said = demo.evaluate(
        """async () => {
          const { client } = window.lipsync;
          const frames = {}, ends = [];
          client.addEventListener("frame", ({ detail: { turnId, mediaMs } }) =>
            (frames[turnId] ??= []).push(mediaMs));
          const resolution = { width: 128, height: 128 };
          const config = { targetFps: 20, resolution, format: "jpeg", quality: 80 };
          const speak = () => {
            client.beginTurn({ userId: "demo", faceModelId: "demo", sampleRate: 16000, config });
            for (let chunk = 0; chunk < 10; chunk += 1) client.sendAudio(new Int16Array(1600));
            client.endUtterance();
          };
          const listen = (resolve) => client.addEventListener("end", ({ detail }) => {
            if (ends.push(detail.turnId) === 2) resolve();
          });
          const over = new Promise(listen);
          speak();
          speak();
          await over;
          return { frames, ends };
        }"""
    )
    assert said["ends"] == ["turn-001", "turn-002"]
    assert said["frames"] == {
        "turn-001": list(range(0, 1000, 50)),
        "turn-002": list(range(0, 1000, 50)),
    }


def test_the_model_wished_for_while_the_connection_is_away_draws_once_it_is_back(
    page: Page, service: str
) -> None:
    with relay(service) as wire:
        open_page(page, wire.url)
        page.locator('[data-sample="how-it-works.wav"]').click()
        wait_for_state(page, "speaking")
        with wire.away():
            page.wait_for_function(
                "window.lipsync.stats.connection !== 'open'", timeout=PATIENCE_MS
            )
            page.evaluate("window.lipsync.client.switchModel('static')")
        page.wait_for_function(
            "window.lipsync.stats.switches.some(({ to }) => to === 'static')", timeout=PATIENCE_MS
        )
        wait_for_state(page, "idle")
