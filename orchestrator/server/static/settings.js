// @ts-check
/** Picture settings of the page: coding, size, frames per second. */

import { h264Obstacle } from "./decoder.js";
import { element, find } from "./dom.js";

/** @import { Format } from "./client/messages.js" */

const JPEG_QUALITY = 80;

/** @param {string} name @returns {string} */
function chosen(name) {
  return find(document, `input[name="${name}"]:checked`, HTMLInputElement).value;
}

/** @param {Format} format */
function formatInput(format) {
  return find(document, `input[value="${format}"]`, HTMLInputElement);
}

/** Chosen settings, as the wire's `config`. */
export function pictureConfig() {
  const side = Number(chosen("size"));
  return {
    targetFps: Number(chosen("fps")),
    resolution: { width: side, height: side },
    format: /** @type {Format} */ (chosen("format")),
    quality: JPEG_QUALITY,
  };
}

/** Choose JPEG, where H.264 turned out not to work. */
export function useJpeg() {
  formatInput("jpeg").checked = true;
}

/** Enable H.264, or show why this browser cannot decode it. */
export async function offerH264() {
  const input = formatInput("h264");
  const obstacle = await h264Obstacle();
  input.disabled = obstacle !== "";
  input.parentElement?.setAttribute("title", obstacle);
  element("h264-reason").textContent = obstacle && `H.264 is not available: ${obstacle}`;
  element("h264-reason").hidden = obstacle === "";
}
