// @ts-check
/**
 * Frame scheduling: the frame on screen at each instant of the sound. It reads no browser clock, so
 * tests drive it.
 *
 * Media time is milliseconds from a turn's first sample. A frame is due at `mediaMs`, its
 * presentation timestamp; its sound is heard at `audioMs` (k/fps for frame k). They differ by the
 * service's correction. An offset is the sound's time minus the drawing time: positive, the picture
 * is ahead of the sound.
 */

/**
 * @typedef {object} Timed
 * @property {number} mediaMs
 * @property {number} audioMs
 */

/**
 * @template {Timed} Picture
 * @typedef {object} Tick
 * @property {Picture | null} drawn
 * @property {number} offsetMs of the drawn frame
 * @property {number} skipped frames that were due and not drawn
 */

/** A frame later than this is not drawn; about the length of a syllable. */
const MAX_LATE_MS = 200;

/**
 * Jitter buffer of decoded frames.
 * @template {Timed} Picture
 */
export class FramePlayer {
  /**
   * @param {(frame: Picture) => void} draw puts a frame on screen
   * @param {(frame: Picture) => void} release frees a frame that will not be drawn (again)
   */
  constructor(draw, release) {
    this._draw = draw;
    this._release = release;
    /** @type {Picture[]} by `mediaMs` */
    this._waiting = [];
  }

  /** Decoded frames that are not due yet. */
  get size() {
    return this._waiting.length;
  }

  /** Take a decoded frame; decoders may finish out of order. @param {Picture} frame */
  push(frame) {
    let at = this._waiting.length;
    while (at > 0 && this._waiting[at - 1].mediaMs > frame.mediaMs) at -= 1;
    this._waiting.splice(at, 0, frame);
  }

  /**
   * Draw the newest frame that is due; call it once per screen refresh.
   * @param {number} mediaMs the sound that is heard at this refresh
   * @param {number} refreshMs time between two refreshes; a frame goes to the nearest refresh
   * @returns {Tick<Picture>}
   */
  tick(mediaMs, refreshMs) {
    const dueMs = mediaMs + refreshMs / 2;
    let due = 0;
    while (due < this._waiting.length && this._waiting[due].mediaMs <= dueMs) due += 1;
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

  /** Release every waiting frame, as after an interruption. */
  clear() {
    this._waiting.splice(0).forEach(this._release);
  }
}

/** Beyond this a reading is a jump (device change, suspend), not jitter. */
const CLOCK_JUMP_MS = 80;

/** Readings over which jitter is averaged: about half a second of refreshes. */
const CLOCK_MEMORY = 30;

/** `currentTime` less an output timestamp is a latency only within these bounds. */
const MIN_LAG_S = -0.05;
const MAX_LAG_S = 2;

/**
 * AudioContext time that is heard at an instant of `performance.now()`.
 *
 * `getOutputTimestamp()` includes the output device's latency; without it, `currentTime` less
 * `outputLatency` is used. Single readings jitter by an audio buffer, hence the running mean.
 */
export class AudioClock {
  /** @param {AudioContext} context */
  constructor(context) {
    this._context = context;
    this._readings = 0;
    this._aheadMs = 0;
  }

  /** Take one reading; call it once per refresh. @param {number} nowMs `performance.now()` */
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

  /** @param {number} nowMs @returns {number} milliseconds of context time ahead of `nowMs` */
  _reading(nowMs) {
    const context = this._context;
    // Some browsers lack the method, or its figures, which their type does not say.
    const output = /** @type {Partial<AudioContext>} */ (context).getOutputTimestamp?.() ?? {};
    const { contextTime = NaN, performanceTime = 0 } = output;
    const lagS = context.currentTime - contextTime;
    if (performanceTime > 0 && lagS >= MIN_LAG_S && lagS < MAX_LAG_S) {
      return contextTime * 1000 - performanceTime;
    }
    const latencyS = context.outputLatency || context.baseLatency || 0;
    return (context.currentTime - latencyS) * 1000 - nowMs;
  }
}

/** Refresh intervals outside are pauses of a hidden tab: screens refresh at 60 to 240 Hz. */
const MIN_REFRESH_MS = 3;
const MAX_REFRESH_MS = 40;

/** Running mean of the time between two screen refreshes. */
export class RefreshMeter {
  constructor() {
    this.meanMs = 1000 / 60;
    /** @type {number | null} */
    this._last = null;
  }

  /** @param {number} now the refresh's time, milliseconds */
  note(now) {
    const passedMs = now - (this._last ?? now);
    this._last = now;
    if (passedMs > MIN_REFRESH_MS && passedMs < MAX_REFRESH_MS) {
      this.meanMs += (passedMs - this.meanMs) / 20;
    }
  }
}
