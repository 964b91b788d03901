// @ts-check
/** Measured figures on the page, in words and as dots. */

import { drawOffsets } from "./chart.js";
import { element } from "./dom.js";

/** @import { Stats } from "./stats.js" */

/**
 * @param {number | null} value
 * @param {string} unit
 */
function number(value, unit) {
  return value === null || Number.isNaN(value) ? "–" : `${value.toFixed(0)} ${unit}`;
}

/** With a true minus sign, and never a signed zero. @param {number} ms */
function signed(ms) {
  return `${["−", "", "+"][Math.sign(Math.round(ms)) + 1]}${Math.abs(Math.round(ms))} ms`;
}

/**
 * Show the newest figures.
 * @param {Stats} stats
 */
export function showNumbers(stats) {
  const { turn, bytesPerSecond, fps } = stats;
  const { p50, p95 } = turn.avOffsetMs;
  const live = turn.source === "microphone";
  element("n-model").textContent = stats.model ?? "–";
  element("n-fps").textContent = stats.state === "idle" && fps === 0 ? "–" : `${fps} / s`;
  element("n-first").textContent = number(turn.firstFrameMs, "ms");
  element("n-latency-label").textContent = live ? "Speech to picture" : "Press to speech";
  element("n-latency").textContent = number(live ? turn.liveLatencyMs : turn.startDelayMs, "ms");
  element("n-bytes").textContent = bytesPerSecond ? number(bytesPerSecond / 1000, "kB/s") : "–";
  element("n-offset").textContent = p50 === null ? "–" : signed(p50);
  element("n-spread").textContent = p95 === null ? "" : `95% within ${Math.round(p95)}`;
  drawOffsets(element("chart", HTMLCanvasElement), turn.offsets);
}
