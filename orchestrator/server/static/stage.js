/** The picture on the page: frames as they are due, the face at rest between turns, and a ring that follows the voice. */

/** Ring at full size for this loudness: speech at -18 dBFS reaches about half. */
const LOUD_RMS = 0.25;

/** From speech to rest and back: long enough to hide the jump, over before anybody waits for it. */
const FADE_MS = 120;

/** Resting pictures in memory at once: 8 MB at 512 px. */
const MAX_KEPT = 8;

export class Stage {
  constructor() {
    this._canvas = document.getElementById("face");
    this._frame = document.getElementById("frame");
    this._placeholder = document.getElementById("placeholder");
    this._painter = this._canvas.getContext("2d");
    this._analyser = null;
    this._samples = new Float32Array(512);
    this._face = "";
    this._kept = new Map();
    this._shown = null;
  }

  /** Draws a frame; the canvas keeps it until the next one. @param {ImageBitmap} image */
  paint(image) {
    this._draw(image, null);
    this._frame.style.setProperty("--level", this._level());
  }

  /** Shows the middle square of a face's photo, until the service sent that face's resting picture; `url` also names the face. @param {string} url */
  async showFace(url) {
    this._face = url;
    if (!this._kept.has(url)) await this._loadPhoto(url);
    if (this._face !== url) return;
    if (!this._kept.has(url)) this._placeholder.toggleAttribute("hidden", false);
    this.rest();
  }

  /** Keeps what a face comes to rest on, in the size of its frames. @param {string} url the face's @param {ImageBitmap} image closed in here */
  keep(url, image) {
    this._kept.get(url)?.close();
    this._kept.delete(url);
    this._kept.set(url, image);
    if (this._kept.size <= MAX_KEPT) return;
    const [oldest, picture] = this._kept.entries().next().value;
    this._kept.delete(oldest);
    picture.close();
  }

  /** The mouth closes: the face that was shown last, as it is between turns. */
  rest() {
    const picture = this._kept.get(this._face);
    if (picture && picture !== this._shown) this._draw(picture, picture);
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

  async _loadPhoto(url) {
    const photo = Object.assign(new Image(), { src: url });
    const arrived = await photo.decode().then(() => true, () => false);
    if (!arrived) return;
    const side = Math.min(photo.naturalWidth, photo.naturalHeight);
    const [left, top] = [(photo.naturalWidth - side) / 2, (photo.naturalHeight - side) / 2];
    const image = await createImageBitmap(photo, left, top, side, side);
    if (this._kept.has(url)) image.close();
    else this.keep(url, image);
  }

  /** @param {ImageBitmap | null} resting the picture, where it is one of rest */
  _draw(image, resting) {
    if (resting || this._shown) this._fadeAway();
    this._shown = resting;
    this._placeholder.toggleAttribute("hidden", true);
    this._resize(image.width, image.height);
    this._painter.drawImage(image, 0, 0);
  }

  /** What is seen now stays on top of what is drawn next, and fades; beneath what is fading already. */
  _fadeAway() {
    if (!this._placeholder.hasAttribute("hidden")) return;
    const veil = Object.assign(document.createElement("canvas"), { className: "fading", width: this._canvas.width, height: this._canvas.height });
    veil.ariaHidden = "true";
    veil.getContext("2d").drawImage(this._canvas, 0, 0);
    this._canvas.after(veil);
    const gone = () => veil.remove();
    veil.animate({ opacity: [1, 0] }, FADE_MS).finished.then(gone, gone);
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
