// @ts-check
/**
 * Picture on the page: frames as they are due, the face at rest between turns, and a ring that
 * follows the voice.
 */

import { element, painterOf } from "./dom.js";

/** Loudness of the full ring: speech at -18 dBFS reaches about half. */
const LOUD_RMS = 0.25;

/** Fade from speech to rest and back: hides the jump, and is too short to delay anything. */
const FADE_MS = 120;

/** Resting pictures in memory at once: 8 MB at 512 px. */
const MAX_KEPT = 8;

/** Samples over which loudness is measured. */
const LEVEL_SAMPLES = 512;

/** The canvas and what surrounds it. */
export class Stage {
  constructor() {
    this._canvas = element("face", HTMLCanvasElement);
    this._frame = element("frame");
    this._placeholder = element("placeholder", SVGSVGElement);
    this._painter = painterOf(this._canvas);
    /** @type {AnalyserNode | null} */
    this._analyser = null;
    this._samples = new Float32Array(LEVEL_SAMPLES);
    /** Photo's address of the face that was shown last. */
    this._face = "";
    /** @type {Map<string, ImageBitmap>} resting pictures by the address of the face's photo */
    this._kept = new Map();
    /** @type {ImageBitmap | null} resting picture on the canvas */
    this._shown = null;
  }

  /** Draw a frame; the canvas keeps it until the next one. @param {ImageBitmap} image */
  paint(image) {
    this._draw(image, null);
    this._frame.style.setProperty("--level", this._level());
  }

  /**
   * Show the middle square of a face's photo, until the service sent its resting picture.
   * @param {string} url the photo's address, which also names the face
   */
  async showFace(url) {
    this._face = url;
    if (!this._kept.has(url)) await this._loadPhoto(url);
    if (this._face !== url) return;
    if (!this._kept.has(url)) this._placeholder.toggleAttribute("hidden", false);
    this.rest();
  }

  /**
   * Keep a face's resting picture, in the size of its frames; evict the oldest one.
   * @param {string} url the face's
   * @param {ImageBitmap} image closed in here
   */
  keep(url, image) {
    this._kept.get(url)?.close();
    this._kept.delete(url);
    this._kept.set(url, image);
    if (this._kept.size <= MAX_KEPT) return;
    const [[oldest, picture]] = this._kept;
    this._kept.delete(oldest);
    picture.close();
  }

  /** Show the face that was shown last at rest, with its mouth closed. */
  rest() {
    const picture = this._kept.get(this._face);
    if (picture && picture !== this._shown) this._draw(picture, picture);
  }

  /** @param {AudioNode} output what the ring follows from now on */
  listenTo(output) {
    this._analyser = new AnalyserNode(output.context, { fftSize: this._samples.length });
    output.connect(this._analyser);
  }

  /** Let the ring rest. */
  calm() {
    this._analyser = null;
    this._frame.style.setProperty("--level", "0");
  }

  /** @param {string} url */
  async _loadPhoto(url) {
    const photo = Object.assign(new Image(), { src: url });
    // Without a photo the placeholder is shown.
    const arrived = await photo.decode().then(
      () => true,
      () => false,
    );
    if (!arrived) return;
    const { naturalWidth: width, naturalHeight: height } = photo;
    const side = Math.min(width, height);
    const [left, top] = [(width - side) / 2, (height - side) / 2];
    const image = await createImageBitmap(photo, left, top, side, side);
    if (this._kept.has(url)) image.close();
    else this.keep(url, image);
  }

  /**
   * @param {ImageBitmap} image
   * @param {ImageBitmap | null} resting the same, where it is a resting picture
   */
  _draw(image, resting) {
    if (resting || this._shown) this._fadeAway();
    this._shown = resting;
    this._placeholder.toggleAttribute("hidden", true);
    this._resize(image.width, image.height);
    this._painter.drawImage(image, 0, 0);
  }

  /** Fade the present picture on top of the next one, beneath pictures that fade already. */
  _fadeAway() {
    if (!this._placeholder.hasAttribute("hidden")) return;
    const { width, height } = this._canvas;
    const veil = document.createElement("canvas");
    Object.assign(veil, { className: "fading", width, height, ariaHidden: "true" });
    painterOf(veil).drawImage(this._canvas, 0, 0);
    this._canvas.after(veil);
    const gone = () => veil.remove();
    veil.animate({ opacity: [1, 0] }, FADE_MS).finished.then(gone, gone);
  }

  /**
   * Setting a canvas's size clears it, so set it only when it differs.
   * @param {number} width
   * @param {number} height
   */
  _resize(width, height) {
    if (this._canvas.width === width && this._canvas.height === height) return;
    this._canvas.width = width;
    this._canvas.height = height;
  }

  /** @returns {string} loudness of the voice now, 0 to 1, as the style sheet reads it */
  _level() {
    if (!this._analyser) return "0";
    this._analyser.getFloatTimeDomainData(this._samples);
    const power = this._samples.reduce((sum, value) => sum + value * value, 0);
    const rms = Math.sqrt(power / this._samples.length);
    return Math.min(1, rms / LOUD_RMS).toFixed(2);
  }
}
