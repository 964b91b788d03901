/**
 * Decides which frame is on screen at which instant of the sound; knows no browser clock of its own, so tests drive it.
 *
 * Media time is milliseconds from a turn's first sample. A frame is due at `mediaMs`, its sound is heard at `audioMs` (k/fps
 * for frame k); they differ by what the service corrects. An offset is the sound's time minus the drawing time: positive, the
 * picture is ahead of the sound.
 */

/** A frame later than this tells the viewer nothing any more; about the length of a syllable. */
const MAX_LATE_MS = 200;

export class FramePlayer {
  /**
   * @param {(frame: {image: any, mediaMs: number, audioMs: number}) => void} draw puts a frame on screen
   * @param {(frame: {image: any, mediaMs: number}) => void} release frees a frame that will not be drawn (again)
   */
  constructor(draw, release) {
    this._draw = draw;
    this._release = release;
    this._waiting = [];
  }

  /** Frames that are decoded and wait for their time. */
  get size() {
    return this._waiting.length;
  }

  /** Takes a decoded frame; decoders may finish out of order. */
  push(frame) {
    let at = this._waiting.length;
    while (at > 0 && this._waiting[at - 1].mediaMs > frame.mediaMs) at -= 1;
    this._waiting.splice(at, 0, frame);
  }

  /**
   * Draws the newest frame that is due, once per screen refresh.
   * @param {number} mediaMs the sound that is heard at this refresh
   * @param {number} refreshMs time between two refreshes; a frame goes to the refresh nearest to its due time
   * @returns {{drawn: object | null, offsetMs: number, skipped: number}} `offsetMs` of the drawn frame
   */
  tick(mediaMs, refreshMs) {
    let due = 0;
    while (due < this._waiting.length && this._waiting[due].mediaMs <= mediaMs + refreshMs / 2) due += 1;
    const candidates = this._waiting.splice(0, due);
    const drawn = candidates.pop() ?? null;
    candidates.forEach(this._release);
    if (!drawn) return { drawn: null, offsetMs: 0, skipped: 0 };
    const offsetMs = drawn.audioMs - mediaMs;
    if (offsetMs < -MAX_LATE_MS) {
      this._release(drawn);
      return { drawn: null, offsetMs: 0, skipped: candidates.length + 1 };
    }
    this._draw(drawn);
    this._release(drawn);
    return { drawn, offsetMs, skipped: candidates.length };
  }

  /** Forgets every waiting frame, as after an interruption. */
  clear() {
    this._waiting.splice(0).forEach(this._release);
  }
}

/** Beyond this a reading is a jump (device change, suspend), not jitter. */
const CLOCK_JUMP_MS = 80;

/** Readings over which jitter is averaged: about half a second of refreshes. */
const CLOCK_MEMORY = 30;

/**
 * What of the AudioContext's time line is heard at a given instant of `performance.now()`.
 *
 * Reads `getOutputTimestamp()`, which counts the output device's latency in, and otherwise `currentTime` less
 * `outputLatency`. Single readings jitter by an audio buffer, hence the running mean.
 */
export class AudioClock {
  /** @param {AudioContext} context */
  constructor(context) {
    this._context = context;
    this._readings = 0;
    this._aheadMs = 0;
  }

  /** Takes one reading; call it once per refresh. @param {number} nowMs `performance.now()` */
  read(nowMs) {
    const aheadMs = this._reading(nowMs);
    const jumped = Math.abs(aheadMs - this._aheadMs) > CLOCK_JUMP_MS;
    this._readings = jumped ? 1 : Math.min(CLOCK_MEMORY, this._readings + 1);
    this._aheadMs += (aheadMs - this._aheadMs) / this._readings;
  }

  /** @param {number} performanceMs @returns {number} seconds of context time heard then */
  heardAt(performanceMs) {
    return (performanceMs + this._aheadMs) / 1000;
  }

  _reading(nowMs) {
    const context = this._context;
    const output = context.getOutputTimestamp?.() ?? {};
    const lagS = context.currentTime - output.contextTime;
    if (output.performanceTime > 0 && lagS >= -0.05 && lagS < 2) return output.contextTime * 1000 - output.performanceTime;
    return (context.currentTime - (context.outputLatency || context.baseLatency || 0)) * 1000 - nowMs;
  }
}
