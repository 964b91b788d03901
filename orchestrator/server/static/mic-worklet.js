// @ts-check
/** Audio thread: sends the microphone's samples to the page in chunks of 100 ms. */
class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this._chunk = new Float32Array(Math.round(sampleRate / 10));
    this._filled = 0;
    /** @type {number | null} context time of the first sample, seconds */
    this._startedAt = null;
  }

  /**
   * @param {Float32Array[][]} inputs one, of one channel; no channel while nothing is connected
   * @returns {boolean} true: stay alive
   */
  process([input]) {
    const samples = input[0];
    if (!samples) return true;
    this._startedAt ??= currentTime;
    for (let at = 0; at < samples.length;) at += this._take(samples.subarray(at));
    return true;
  }

  /**
   * Fill the chunk, and post it when it is full.
   * @param {Float32Array} samples
   * @returns {number} samples taken
   */
  _take(samples) {
    const room = this._chunk.length - this._filled;
    const taken = samples.subarray(0, room);
    this._chunk.set(taken, this._filled);
    this._filled += taken.length;
    if (this._filled === this._chunk.length) {
      this.port.postMessage({ samples: this._chunk.slice(), startedAt: this._startedAt });
      this._filled = 0;
    }
    return taken.length;
  }
}

registerProcessor("capture", Capture);
