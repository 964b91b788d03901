// @ts-check
/**
 * Playout of one turn: sound and picture start together, a playout delay after the first picture is
 * decoded. From then on the sound is the clock.
 */

import { DecodeQueue } from "./decoder.js";
import { AudioClock, FramePlayer } from "./player.js";

/** @import { AudioSource } from "./audio-source.js" */
/** @import { Frame } from "./client/events.js" */
/** @import { Format } from "./client/messages.js" */
/** @import { Stats } from "./stats.js" */

/**
 * @typedef {Omit<Frame, "data"> & {image: ImageBitmap}} DecodedFrame
 *
 * @typedef {object} TurnSetup
 * @property {string} id
 * @property {AudioContext} context running, or about to
 * @property {AudioSource} source
 * @property {Format} format
 * @property {number} playoutDelayMs of a clip, from the first picture; absorbs network jitter
 * @property {number} pressedAt `performance.now()` of the click that began it
 *
 * @typedef {object} TurnHooks
 * @property {(frame: DecodedFrame) => void} draw
 * @property {() => void} onStarted sound and picture are scheduled
 * @property {() => void} onStill no picture came for a while in mid-turn
 * @property {(error: unknown) => void} onDecodeError
 */

/** Playout delay of the microphone: low latency is worth more there than smooth motion. */
const LIVE_PLAYOUT_DELAY_MS = 40;

/** Lateness that viewers begin to notice. */
export const LATE_MS = 45;

/** So many late pictures in a row are no hiccup: a live picture's schedule then moves back. */
const MAX_LATE_IN_A_ROW = 5;

/** Longest wait for sound and picture to begin. */
const START_TIMEOUT_MS = 5000;

/** A face still for longer seems stuck in the middle of a word; late pictures come sooner. */
const STILL_MS = 500;

/** One turn from the first chunk to the last picture. */
export class SpokenTurn {
  /**
   * @param {TurnSetup} setup
   * @param {Stats} stats
   * @param {TurnHooks} hooks
   */
  constructor({ id, context, source, format, playoutDelayMs, pressedAt }, stats, hooks) {
    this.id = id;
    this.source = source;
    this._context = context;
    this._playoutDelayMs = this.isLive ? LIVE_PLAYOUT_DELAY_MS : playoutDelayMs;
    this._pressedAt = pressedAt;
    this._stats = stats;
    this._hooks = hooks;
    this._clock = new AudioClock(context);
    /** @type {FramePlayer<DecodedFrame>} */
    this._player = new FramePlayer(hooks.draw, (frame) => frame.image.close());
    this._queue = new DecodeQueue(format, {
      onImage: (frame, image) => this._onImage(frame, image),
      onError: hooks.onDecodeError,
      waiting: () => this._player.size,
    });
    /** @type {number | null} context time of sample 0, seconds */
    this._startAt = null;
    /** @type {number | null} `performance.now()` of the first chunk */
    this._firstChunkAt = null;
    /** @type {number | null} `performance.now()` of the last picture; null while still */
    this._drawnAt = null;
    this._ended = false;
    this._lateInARow = 0;
  }

  /** True for the microphone. */
  get isLive() {
    return this.source.kind === "microphone";
  }

  /** To be called with each chunk that is sent. */
  noteChunk() {
    this._firstChunkAt ??= performance.now();
  }

  /** @returns {number} milliseconds; NaN before the first chunk */
  get sinceFirstChunkMs() {
    return performance.now() - (this._firstChunkAt ?? NaN);
  }

  /** @param {Frame} frame */
  push(frame) {
    this._queue.push(frame);
  }

  /** The service sent every frame. */
  end() {
    this._queue.end();
    this._ended = true;
  }

  /**
   * Show what is due at a screen refresh.
   * @param {number} now the refresh's time
   * @param {number} refreshMs time between two refreshes
   */
  refresh(now, refreshMs) {
    if (this._context.state === "running") this._clock.read(performance.now());
    this._startWhenReady();
    if (this._startAt !== null) this._show(this._heardMs(this._startAt, now), refreshMs);
    this._queue.pump();
  }

  /**
   * Reason why the turn does not begin.
   * @returns {{errorCode: string, errorMessage: string} | null} null while it may still begin
   */
  get startProblem() {
    const since = this._firstChunkAt ?? this._pressedAt;
    if (this._startAt !== null || performance.now() - since < START_TIMEOUT_MS) return null;
    if (this._player.size > 0) {
      const errorMessage = "This browser did not open its sound output.";
      return { errorCode: "NO_SOUND", errorMessage };
    }
    const errorMessage = "The service took the sound but sent no picture for five seconds.";
    return { errorCode: "TIMEOUT", errorMessage };
  }

  /**
   * True once every frame was shown, and a clip was heard to its end.
   * @param {number} now the refresh's time
   */
  isOver(now) {
    if (!this._ended || !this._queue.empty || this._player.size > 0) return false;
    if (this._startAt === null || this.source.kind === "microphone") return true;
    return this._heardMs(this._startAt, now) >= this.source.durationMs;
  }

  close() {
    this.source.stop();
    this._queue.close();
    this._player.clear();
  }

  /**
   * @param {Frame} frame
   * @param {ImageBitmap} image
   */
  _onImage({ data: _coded, ...frame }, image) {
    this._stats.turn.framesDecoded += 1;
    this._player.push({ ...frame, image });
    this._startWhenReady();
  }

  /** Opening the sound device may take longer than the first picture; both start together. */
  _startWhenReady() {
    if (this._startAt !== null || this._player.size === 0) return;
    if (this._context.state !== "running") return;
    const startAt = this._context.currentTime + this._playoutDelayMs / 1000;
    this._startAt = startAt;
    this.source.playAt(startAt);
    const now = performance.now();
    this._clock.read(now);
    const startDelayMs = now - this._heardMs(startAt, now) - this._pressedAt;
    this._stats.turn.startDelayMs = Math.round(startDelayMs);
    this._hooks.onStarted();
  }

  /**
   * Sound heard at an instant.
   * @param {number} startAt context time of sample 0, seconds
   * @param {number} now `performance.now()`
   * @returns {number} milliseconds from sample 0
   */
  _heardMs(startAt, now) {
    return (this._clock.heardAt(now) - startAt) * 1000;
  }

  /**
   * @param {number} mediaMs sound heard at this refresh
   * @param {number} refreshMs
   */
  _show(mediaMs, refreshMs) {
    const { drawn, offsetMs, skipped } = this._player.tick(mediaMs, refreshMs);
    this._stats.turn.framesSkipped += skipped;
    if (!drawn) return this._watchStandstill();
    this._drawnAt = performance.now();
    this._stats.drawn(offsetMs, this._latencyMs(drawn));
    this._lateInARow = offsetMs < -LATE_MS ? this._lateInARow + 1 : 0;
    if (this.isLive && this._lateInARow >= MAX_LATE_IN_A_ROW) this._postpone(-offsetMs);
  }

  /**
   * Time from the capture of a frame's sound until now.
   * @param {DecodedFrame} drawn
   * @returns {number | null} milliseconds; null for a clip
   */
  _latencyMs(drawn) {
    if (this.source.kind !== "microphone") return null;
    const capturedAt = (this.source.startedAt ?? 0) + drawn.audioMs / 1000;
    return (this._context.currentTime - capturedAt) * 1000;
  }

  /** Report once that the pictures stay away, whatever the cause. */
  _watchStandstill() {
    if (this._drawnAt === null || performance.now() - this._drawnAt < STILL_MS) return;
    this._drawnAt = null;
    this._hooks.onStill();
  }

  /**
   * Move a live picture's schedule; nothing audible depends on it. A clip's is never moved.
   * @param {number} byMs
   */
  _postpone(byMs) {
    if (this._startAt === null) return;
    this._lateInARow = 0;
    this._startAt += byMs / 1000;
    this.source.playAt(this._startAt);
  }
}
