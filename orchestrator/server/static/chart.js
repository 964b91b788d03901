/** A strip of dots: how far each drawn picture was from its sound, against the span in which people notice nothing. */

/** Milliseconds; positive, the picture is ahead. */
const UNNOTICED = { ahead: 15, behind: -45 };
const RANGE_MS = 60;

/** Dots that fit: the last five seconds or so. */
const SHOWN = 100;

/**
 * @param {HTMLCanvasElement} canvas its colours come from the CSS variables --band, --dot and --line
 * @param {number[]} offsets newest last
 */
export function drawOffsets(canvas, offsets) {
  const scale = devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const y = (ms) => height / 2 - (Math.max(-RANGE_MS, Math.min(RANGE_MS, ms)) / RANGE_MS) * (height / 2 - 3);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  context.fillStyle = style.getPropertyValue("--band");
  context.fillRect(0, y(UNNOTICED.ahead), width, y(UNNOTICED.behind) - y(UNNOTICED.ahead));
  context.fillStyle = style.getPropertyValue("--line");
  context.fillRect(0, y(0) - 0.5, width, 1);
  context.fillStyle = style.getPropertyValue("--dot");
  const recent = offsets.slice(-SHOWN);
  recent.forEach((offset, index) => {
    context.beginPath();
    context.arc(width - ((recent.length - index - 0.5) * width) / SHOWN, y(offset), 1.75, 0, 2 * Math.PI);
    context.fill();
  });
}
