// @ts-check
/**
 * Strip of dots: lip-sync offset of each drawn frame, against the span that viewers do not notice.
 */

import { painterOf } from "./dom.js";

/** Milliseconds; positive, the picture is ahead. */
const UNNOTICED = { ahead: 15, behind: -45 };
const RANGE_MS = 60;

/** Dots that fit: about the last five seconds. */
const MAX_DOTS = 100;

/**
 * Draw the newest offsets.
 * @param {HTMLCanvasElement} canvas its colours come from the CSS variables --band, --dot, --line
 * @param {number[]} offsets milliseconds, newest last
 */
export function drawOffsets(canvas, offsets) {
  const { width, height } = fitToScreen(canvas);
  const context = painterOf(canvas);
  const style = getComputedStyle(canvas);
  /** @param {number} ms */
  const y = (ms) => {
    const clamped = Math.max(-RANGE_MS, Math.min(RANGE_MS, ms));
    return height / 2 - (clamped / RANGE_MS) * (height / 2 - 3);
  };
  context.clearRect(0, 0, width, height);
  context.fillStyle = style.getPropertyValue("--band");
  context.fillRect(0, y(UNNOTICED.ahead), width, y(UNNOTICED.behind) - y(UNNOTICED.ahead));
  context.fillStyle = style.getPropertyValue("--line");
  context.fillRect(0, y(0) - 0.5, width, 1);
  context.fillStyle = style.getPropertyValue("--dot");
  const recent = offsets.slice(-MAX_DOTS);
  recent.forEach((offset, index) => {
    const x = width - ((recent.length - index - 0.5) * width) / MAX_DOTS;
    context.beginPath();
    context.arc(x, y(offset), 1.75, 0, 2 * Math.PI);
    context.fill();
  });
}

/**
 * Give the canvas the screen's resolution, and scale its drawing to CSS pixels.
 * @param {HTMLCanvasElement} canvas
 * @returns {{width: number, height: number}} CSS pixels
 */
function fitToScreen(canvas) {
  const scale = devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  painterOf(canvas).setTransform(scale, 0, 0, scale, 0, 0);
  return { width, height };
}
