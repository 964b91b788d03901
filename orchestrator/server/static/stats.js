// @ts-check
/**
 * Measurements of the page, in one object that people read on screen and tests read as
 * `window.lipsync.stats`.
 *
 * Fields (milliseconds unless named otherwise; null until measured):
 *   connection        "connecting" | "open" | "waiting" | "closed"
 *   state             "idle" | "starting" | "speaking" | "listening"
 *   resumptions       lost connections after which the session continued
 *   posters           pictures of the face at rest that the service sent
 *   model             model of the newest frame
 *   switches          [{from, to, reason}], the newest of the page's life
 *   problems          [{errorCode, errorMessage}], the newest of the page's life
 *   fps               frames drawn in the last second
 *   bytesPerSecond    received in the last second
 *   turn              figures of the current or last turn:
 *     id, source ("clip" | "microphone"), format,
 *     framesReceived, framesDecoded, framesDrawn, framesSkipped,
 *     sequenceGaps        holes seen in sequenceNumber
 *     firstFrameMs        first frame received after the first chunk was sent
 *     startDelayMs        sound and picture begin after the press of the button
 *     liveLatencyMs       microphone only: median, sound captured until its frame is drawn
 *     avOffsetMs          {p50, p95, mean, count}: p50 and mean signed, positive = picture ahead;
 *                         p95 of the absolute offset
 *     reports             offset reports sent to the service
 *     metrics             the service's own, from response_end
 *     interruptedAt, lastDrawnAt, lastReceivedAt   performance.now() of those events
 */

/** @import { ConnectionState } from "./client/connection.js" */
/** @import { Frame } from "./client/events.js" */
/** @import { Format } from "./client/messages.js" */

/** @typedef {"idle" | "starting" | "speaking" | "listening"} TurnState */

/** Newest frames over which offsets and latencies are aggregated: half a minute at 20 fps. */
const WINDOW_FRAMES = 600;

/**
 * @param {number[]} values
 * @param {number} share 0..1
 * @returns {number | null} null without values
 */
export function percentile(values, share) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

/** @param {number[]} values @returns {number | null} null without values */
function meanOf(values) {
  return values.length ? values.reduce((a, b) => a + b, 0) / values.length : null;
}

/**
 * To one decimal.
 * @template {number | null} Value
 * @param {Value} value
 * @returns {Value}
 */
function round(value) {
  const rounded = value === null ? null : Math.round(value * 10) / 10;
  return /** @type {Value} */ (rounded);
}

/**
 * Append to a window of the newest values.
 * @param {number[]} values
 * @param {number} value
 */
function pushBounded(values, value) {
  values.push(value);
  if (values.length > WINDOW_FRAMES) values.shift();
}

/** Sum of amounts of the last second. */
class LastSecond {
  constructor() {
    /** @type {{nowMs: number, amount: number}[]} */
    this._events = [];
  }

  /**
   * @param {number} nowMs `performance.now()`
   * @param {number} amount
   */
  add(nowMs, amount) {
    this._events.push({ nowMs, amount });
    this.sum(nowMs);
  }

  /** @param {number} nowMs `performance.now()` */
  sum(nowMs) {
    while (this._events.length && this._events[0].nowMs <= nowMs - 1000) this._events.shift();
    return this._events.reduce((total, event) => total + event.amount, 0);
  }
}

class TurnStats {
  framesReceived = 0;
  framesDecoded = 0;
  framesDrawn = 0;
  framesSkipped = 0;
  sequenceGaps = 0;
  reports = 0;
  /** @type {number | null} */
  firstFrameMs = null;
  /** @type {number | null} */
  startDelayMs = null;
  /** @type {Record<string, unknown> | null} */
  metrics = null;
  /** @type {number | null} */
  interruptedAt = null;
  /** @type {number | null} */
  lastDrawnAt = null;
  /** @type {number | null} */
  lastReceivedAt = null;
  /** @type {number[]} */
  offsets = [];
  /** @type {number[]} */
  latencies = [];

  /**
   * @param {string | null} id
   * @param {"clip" | "microphone" | null} source
   * @param {Format | null} format
   */
  constructor(id, source, format) {
    this.id = id;
    this.source = source;
    this.format = format;
  }

  get avOffsetMs() {
    return {
      p50: round(percentile(this.offsets, 0.5)),
      p95: round(percentile(this.offsets.map(Math.abs), 0.95)),
      mean: round(meanOf(this.offsets)),
      count: this.offsets.length,
    };
  }

  get liveLatencyMs() {
    return round(percentile(this.latencies, 0.5));
  }
}

/** Measurements of the page's life and of its current or last turn. */
export class Stats {
  constructor() {
    /** @type {ConnectionState} */
    this.connection = "closed";
    /** @type {TurnState} */
    this.state = "idle";
    this.resumptions = 0;
    this.posters = 0;
    /** @type {string | null} */
    this.model = null;
    /** @type {{from: string, to: string, reason: string}[]} */
    this.switches = [];
    /** @type {{errorCode: string, errorMessage: string}[]} */
    this.problems = [];
    this.turn = new TurnStats(null, null, null);
    this._bytes = new LastSecond();
    this._drawn = new LastSecond();
    /** @type {number[]} offsets since the last report */
    this._reportable = [];
  }

  get fps() {
    return this._drawn.sum(performance.now());
  }

  get bytesPerSecond() {
    return this._bytes.sum(performance.now());
  }

  /**
   * @param {string} id
   * @param {"clip" | "microphone"} source
   * @param {Format} format
   */
  beginTurn(id, source, format) {
    this.turn = new TurnStats(id, source, format);
    this._reportable = [];
  }

  /** @param {number} received */
  bytes(received) {
    this._bytes.add(performance.now(), received);
  }

  /**
   * @param {Frame} frame
   * @param {number} sinceFirstChunkMs NaN where the turn is over
   */
  received(frame, sinceFirstChunkMs) {
    const turn = this.turn;
    turn.lastReceivedAt = performance.now();
    turn.firstFrameMs ??= round(sinceFirstChunkMs);
    if (frame.sequenceNumber !== turn.framesReceived + turn.sequenceGaps) turn.sequenceGaps += 1;
    turn.framesReceived += 1;
    this.model = frame.model;
  }

  /**
   * @param {number} offsetMs
   * @param {number | null} latencyMs capture to screen, for the microphone
   */
  drawn(offsetMs, latencyMs) {
    const turn = this.turn;
    turn.framesDrawn += 1;
    turn.lastDrawnAt = performance.now();
    this._drawn.add(turn.lastDrawnAt, 1);
    this._reportable.push(offsetMs);
    pushBounded(turn.offsets, offsetMs);
    if (latencyMs !== null) pushBounded(turn.latencies, latencyMs);
  }

  /**
   * Mean offset since the last call, for `client_report`.
   * @returns {number | null} milliseconds; null when nothing was drawn
   */
  takeOffsetReport() {
    return round(meanOf(this._reportable.splice(0)));
  }
}
