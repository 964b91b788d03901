/** Puts what was measured on the page, in words and as dots. */

import { drawOffsets } from "./chart.js";

const element = (id) => document.getElementById(id);

const number = (value, unit) => (value === null || Number.isNaN(value) ? "–" : `${value.toFixed(0)} ${unit}`);

/** With a true minus sign, and never a signed zero. */
const signed = (ms) => `${["−", "", "+"][Math.sign(Math.round(ms)) + 1]}${Math.abs(Math.round(ms))} ms`;

/** @param {import("./stats.js").Stats} stats */
export function showNumbers(stats) {
  const { turn } = stats;
  const { p50, p95 } = turn.avOffsetMs;
  const live = turn.source === "microphone";
  element("n-model").textContent = stats.model ?? "–";
  element("n-fps").textContent = stats.state === "idle" && stats.fps === 0 ? "–" : `${stats.fps} / s`;
  element("n-first").textContent = number(turn.firstFrameMs, "ms");
  element("n-latency-label").textContent = live ? "Speech to picture" : "Press to speech";
  element("n-latency").textContent = number(live ? turn.liveLatencyMs : turn.startDelayMs, "ms");
  element("n-bytes").textContent = stats.bytesPerSecond ? number(stats.bytesPerSecond / 1000, "kB/s") : "–";
  element("n-offset").textContent = p50 === null ? "–" : signed(p50);
  element("n-spread").textContent = p95 === null ? "" : `95% within ${Math.round(p95)}`;
  drawOffsets(element("chart"), turn.offsets);
}
