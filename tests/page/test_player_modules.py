"""Modules of the page alone: frame scheduling on a clock that the test moves, coding of sound."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from orchestrator.core.paths import PAGE


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def files() -> Iterator[str]:
    """The page's folder over HTTP: modules do not load from `file:`."""
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_QuietHandler, directory=str(PAGE))
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def module_page(page: Page, files: str) -> Page:
    """A blank page of the modules' origin."""
    page.goto(f"{files}icon.svg")
    return page


PLAYER = """
const { FramePlayer } = await import("/player.js");
const drawn = [], released = [];
const player = new FramePlayer(
  (frame) => drawn.push(frame.mediaMs),
  (frame) => released.push(frame.mediaMs),
);
const fill = (...times) =>
  times.forEach((mediaMs) => player.push({ mediaMs, audioMs: mediaMs, image: null }));
"""


def run_player(page: Page, script: str) -> Any:
    return page.evaluate(f"async () => {{ {PLAYER} {script} }}")


def test_each_frame_is_drawn_at_the_refresh_nearest_to_its_time(module_page: Page) -> None:
    script = """
    fill(0, 40, 80, 120);
    const shown = [];
    for (let ms = -50; ms < 200; ms += 10) {
      const { drawn, offsetMs } = player.tick(ms, 10);
      if (drawn) shown.push([drawn.mediaMs, ms, offsetMs]);
    }
    return shown;
    """
    assert run_player(module_page, script) == [[0, 0, 0], [40, 40, 0], [80, 80, 0], [120, 120, 0]]


def test_a_picture_shown_early_has_a_positive_offset_and_one_shown_late_a_negative_one(
    module_page: Page,
) -> None:
    script = "fill(100, 200); return [player.tick(95, 16).offsetMs, player.tick(230, 16).offsetMs];"
    assert run_player(module_page, script) == [5, -30]


def test_a_frame_is_shown_when_the_service_says_and_its_offset_is_that_of_its_sound(
    module_page: Page,
) -> None:
    script = """
    player.push({ mediaMs: 112, audioMs: 100, image: null });
    return [player.tick(100, 16).drawn, player.tick(112, 16).offsetMs];
    """
    assert run_player(module_page, script) == [None, -12]


MESSAGES = """async () => {
  const { packMessage, unpackMessage } = await import("/client.js");
  const sent = { type: "lipsync_audio", name: "Zoë" };
  const [header, payload] = unpackMessage(packMessage(sent, new Uint8Array([1, 2, 255])).buffer);
  return [header, Array.from(payload)];
}"""


def test_a_binary_message_comes_apart_as_it_was_put_together(module_page: Page) -> None:
    assert module_page.evaluate(MESSAGES) == [{"type": "lipsync_audio", "name": "Zoë"}, [1, 2, 255]]


def test_an_early_frame_waits(module_page: Page) -> None:
    assert run_player(
        module_page, "fill(100); return [player.tick(50, 16).drawn, player.size];"
    ) == [None, 1]


def test_frames_whose_time_has_passed_give_way_to_the_newest_one_due(module_page: Page) -> None:
    script = (
        "fill(0, 40, 80, 120); const t = player.tick(90, 16); return [t.drawn.mediaMs, "
        "t.skipped, player.size, released];"
    )
    assert run_player(module_page, script) == [80, 2, 1, [0, 40, 80]]


def test_a_frame_later_than_a_syllable_is_not_drawn_at_all(module_page: Page) -> None:
    script = (
        "fill(0); const t = player.tick(300, 16); return [t.drawn, t.skipped, drawn, released];"
    )
    assert run_player(module_page, script) == [None, 1, [], [0]]


def test_frames_decoded_out_of_order_are_drawn_in_order(module_page: Page) -> None:
    script = "fill(80, 0, 40); [0, 40, 80].forEach((ms) => player.tick(ms, 16)); return drawn;"
    assert run_player(module_page, script) == [0, 40, 80]


def test_clearing_the_player_frees_every_waiting_picture(module_page: Page) -> None:
    assert run_player(
        module_page, "fill(0, 40); player.clear(); return [player.size, released];"
    ) == [0, [0, 40]]


CLOCK = """
const { AudioClock } = await import("/player.js");
const context = { currentTime: 0, outputLatency: 0.03, output: {} };
context.getOutputTimestamp = () => context.output;
const clock = new AudioClock(context);
"""


def run_clock(page: Page, script: str) -> Any:
    return page.evaluate(f"async () => {{ {CLOCK} {script} }}")


def test_the_clock_follows_the_output_timestamp_and_smooths_its_jitter(module_page: Page) -> None:
    script = """
    for (let i = 0; i < 100; i++) {
      const now = 5000 + i * 16, jitter = i % 2 ? 4 : -4;
      context.currentTime = (now - 4000 + jitter) / 1000 + 0.02;
      context.output = { contextTime: (now - 4000 + jitter) / 1000, performanceTime: now };
      clock.read(now);
    }
    return clock.heardAt(7000) * 1000;
    """
    assert run_clock(module_page, script) == pytest.approx(3000, abs=0.5)


def test_the_clock_takes_a_jump_at_once(module_page: Page) -> None:
    script = """
    for (const [now, heard] of [[1000, 500], [1016, 516], [1032, 900]]) {
      const contextTime = heard / 1000;
      const output = { contextTime, performanceTime: now };
      Object.assign(context, { currentTime: contextTime, output });
      clock.read(now);
    }
    return clock.heardAt(1032) * 1000;
    """
    assert run_clock(module_page, script) == pytest.approx(900)


def test_the_clock_subtracts_the_output_latency_where_there_is_no_timestamp(
    module_page: Page,
) -> None:
    script = (
        "context.currentTime = 2; context.getOutputTimestamp = undefined; clock.read(1000); "
        "return clock.heardAt(1000) * 1000;"
    )
    assert run_clock(module_page, script) == pytest.approx(1970)


def test_the_codec_string_comes_from_the_parameter_set_of_the_stream(module_page: Page) -> None:
    script = """async () => {
      const { codecOf } = await import("/decoder.js");
      const delimiter = [0, 0, 0, 1, 0x09, 0x10];
      const parameters = [0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1e, 0xd9, 0, 0, 1, 0x68, 0xce];
      const delta = [0, 0, 0, 1, 0x41, 0x9a, 0x00, 0x00];
      return [[...delimiter, ...parameters], delta].map((bytes) => codecOf(new Uint8Array(bytes)));
    }"""
    assert module_page.evaluate(script) == ["avc1.42C01E", None]


def test_samples_become_16_bit_without_wrapping_around(module_page: Page) -> None:
    script = """async () => {
      const { toInt16, toMono } = await import("/audio-source.js");
      const stereo = new AudioBuffer({ length: 2, numberOfChannels: 2, sampleRate: 16000 });
      stereo.copyToChannel(new Float32Array([0.5, 1]), 0);
      stereo.copyToChannel(new Float32Array([-0.5, 1]), 1);
      const clipped = toInt16(new Float32Array([0, 1, -1, 1.7, -1.7]));
      return [Array.from(clipped), Array.from(toMono(stereo))];
    }"""
    assert module_page.evaluate(script) == [[0, 32767, -32767, 32767, -32768], [0, 1]]
