/**
 * What the page measures, kept in one object that people read on screen and tests read as `window.lipsync.stats`.
 *
 * Fields (milliseconds unless named otherwise; null until measured):
 *   connection        "connecting" | "open" | "waiting" | "closed"
 *   state             "idle" | "starting" | "speaking" | "listening"
 *   resumptions       how often the session went on after a lost connection
 *   posters           pictures of the face at rest that the service sent
 *   model             model of the newest frame; `switches` [{from, to, reason}] and `problems` [{errorCode, errorMessage}] of the page's life
 *   fps               frames drawn in the last second
 *   bytesPerSecond    received in the last second
 *   turn              numbers of the current or last turn:
 *     id, source ("clip" | "microphone"), format, framesReceived, framesDecoded, framesDrawn, framesSkipped,
 *     sequenceGaps        holes seen in sequenceNumber
 *     firstFrameMs        first frame received after the first chunk was sent
 *     startDelayMs        sound and picture begin after the press of the button
 *     liveLatencyMs       microphone only: median, sound captured until its frame is drawn
 *     avOffsetMs          {p50, p95, mean, count}: p50 and mean signed, positive = picture ahead; p95 of the absolute offset
 *     reports             offset reports sent to the service
 *     metrics             the service's own, from response_end
 *     interruptedAt, lastDrawnAt, lastReceivedAt   performance.now() of those events
 */

/** Drawn frames over which offsets and latencies are summed up: half a minute at 20 fps. */
const WINDOW = 600;

/** @param {number[]} values @param {number} share 0..1 @returns {number | null} */
export function percentile(values, share) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

const round = (value) => (value === null ? null : Math.round(value * 10) / 10);

/** Sum of what happened in the last second. */
class LastSecond {
  constructor() {
    this._events = [];
  }

  add(nowMs, amount) {
    this._events.push({ nowMs, amount });
    this.sum(nowMs);
  }

  sum(nowMs) {
    while (this._events.length && this._events[0].nowMs <= nowMs - 1000) this._events.shift();
    return this._events.reduce((total, event) => total + event.amount, 0);
  }
}

class TurnStats {
  constructor(id, source, format) {
    Object.assign(this, { id, source, format, framesReceived: 0, framesDecoded: 0, framesDrawn: 0, framesSkipped: 0 });
    Object.assign(this, { sequenceGaps: 0, firstFrameMs: null, startDelayMs: null, metrics: null, reports: 0 });
    Object.assign(this, { interruptedAt: null, lastDrawnAt: null, lastReceivedAt: null });
    this.offsets = [];
    this.latencies = [];
  }

  get avOffsetMs() {
    const mean = this.offsets.length ? this.offsets.reduce((a, b) => a + b, 0) / this.offsets.length : null;
    const p95 = percentile(this.offsets.map(Math.abs), 0.95);
    return { p50: round(percentile(this.offsets, 0.5)), p95: round(p95), mean: round(mean), count: this.offsets.length };
  }

  get liveLatencyMs() {
    return round(percentile(this.latencies, 0.5));
  }
}

export class Stats {
  constructor() {
    this.connection = "closed";
    this.state = "idle";
    this.resumptions = 0;
    this.posters = 0;
    this.model = null;
    this.switches = [];
    this.problems = [];
    this.turn = new TurnStats(null, null, null);
    this._bytes = new LastSecond();
    this._drawn = new LastSecond();
    this._reportable = [];
  }

  get fps() {
    return this._drawn.sum(performance.now());
  }

  get bytesPerSecond() {
    return this._bytes.sum(performance.now());
  }

  beginTurn(id, source, format) {
    this.turn = new TurnStats(id, source, format);
    this._reportable = [];
  }

  bytes(received) {
    this._bytes.add(performance.now(), received);
  }

  received(frame, sinceFirstChunkMs) {
    const turn = this.turn;
    turn.lastReceivedAt = performance.now();
    turn.firstFrameMs ??= round(sinceFirstChunkMs);
    if (frame.sequenceNumber !== turn.framesReceived + turn.sequenceGaps) turn.sequenceGaps += 1;
    turn.framesReceived += 1;
    this.model = frame.model;
  }

  /** @param {number | null} latencyMs capture to screen, for the microphone */
  drawn(offsetMs, latencyMs) {
    const turn = this.turn;
    turn.framesDrawn += 1;
    turn.lastDrawnAt = performance.now();
    this._drawn.add(turn.lastDrawnAt, 1);
    this._reportable.push(offsetMs);
    turn.offsets.push(offsetMs);
    if (turn.offsets.length > WINDOW) turn.offsets.shift();
    if (latencyMs === null) return;
    turn.latencies.push(latencyMs);
    if (turn.latencies.length > WINDOW) turn.latencies.shift();
  }

  /** Mean offset since the last call, or null when nothing was drawn; what `client_report` carries. */
  takeOffsetReport() {
    const offsets = this._reportable.splice(0);
    return offsets.length ? round(offsets.reduce((a, b) => a + b, 0) / offsets.length) : null;
  }
}
