/** The picture on the page: frames as they are due, the face at rest between turns, and a ring that follows the voice. */

/** Ring at full size for this loudness: speech at -18 dBFS reaches about half. */
const LOUD_RMS = 0.25;

export class Stage {
  constructor() {
    this._canvas = document.getElementById("face");
    this._frame = document.getElementById("frame");
    this._placeholder = document.getElementById("placeholder");
    this._painter = this._canvas.getContext("2d");
    this._analyser = null;
    this._samples = new Float32Array(512);
    this._poster = "";
  }

  /** Draws a frame; the canvas keeps it until the next one. @param {ImageBitmap} image */
  paint(image) {
    this._poster = "";
    this._resize(image.width, image.height);
    this._painter.drawImage(image, 0, 0);
    this._placeholder.toggleAttribute("hidden", true);
    this._frame.style.setProperty("--level", this._level());
  }

  /** Draws the middle square of a face at rest, unless frames or another face came first. @param {string} url */
  async showPoster(url) {
    this._poster = url;
    const poster = Object.assign(new Image(), { src: url });
    const arrived = await poster.decode().then(() => true, () => false);
    if (this._poster !== url) return;
    this._placeholder.toggleAttribute("hidden", arrived);
    if (!arrived) return;
    const side = Math.min(poster.naturalWidth, poster.naturalHeight);
    const [left, top] = [(poster.naturalWidth - side) / 2, (poster.naturalHeight - side) / 2];
    this._resize(side, side);
    this._painter.drawImage(poster, left, top, side, side, 0, 0, side, side);
  }

  /** @param {AudioNode} output what the ring follows from now on */
  listenTo(output) {
    this._analyser = new AnalyserNode(output.context, { fftSize: this._samples.length });
    output.connect(this._analyser);
  }

  /** Lets the ring rest. */
  calm() {
    this._analyser = null;
    this._frame.style.setProperty("--level", 0);
  }

  /** Setting a canvas's size clears it, so only when it differs. */
  _resize(width, height) {
    if (this._canvas.width === width && this._canvas.height === height) return;
    this._canvas.width = width;
    this._canvas.height = height;
  }

  _level() {
    if (!this._analyser) return 0;
    this._analyser.getFloatTimeDomainData(this._samples);
    const power = this._samples.reduce((sum, value) => sum + value * value, 0) / this._samples.length;
    return Math.min(1, Math.sqrt(power) / LOUD_RMS).toFixed(2);
  }
}
