// @ts-check
/**
 * One turn at a time, from a source of sound to frames on screen, on the AudioContext's time line.
 *
 * Connects the client (client.js) with the turn's playout (spoken-turn.js).
 *
 * Events: `change` {state} when `state` changed, `still` when no picture came for a while in
 * mid-turn, `problem` {errorCode, errorMessage}.
 */

import { endsSession } from "./client.js";
import { messageOf } from "./dom.js";
import { OffsetReporter } from "./offset-reporter.js";
import { RefreshMeter } from "./player.js";
import { LATE_MS, SpokenTurn } from "./spoken-turn.js";

/** @import { AudioSource } from "./audio-source.js" */
/** @import { LipSyncClient } from "./client.js" */
/** @import { ConnectionDetail } from "./client/connection.js" */
/** @import { Frame, TypedEventTarget } from "./client/events.js" */
/** @import { EndMessage, Format, PictureConfig, Problem } from "./client/messages.js" */
/** @import { DecodedFrame } from "./spoken-turn.js" */
/** @import { Stats, TurnState } from "./stats.js" */

/**
 * @typedef {{userId: string, faceModelId: string}} FaceIds
 * @typedef {PictureConfig & {format: Format}} Config
 *
 * @typedef {object} ConversationEvents
 * @property {{state: TurnState}} change
 * @property {null} still
 * @property {Problem} problem
 */

/** Bounds of a clip's playout delay: the wait after the first picture, which absorbs jitter. */
const MIN_PLAYOUT_DELAY_MS = 80;
const MAX_PLAYOUT_DELAY_MS = 400;

/** Longest absence of the connection in a turn: its sound has then run far ahead. */
const MAX_AWAY_MS = 8000;

const Target = /** @type {new () => TypedEventTarget<ConversationEvents>} */ (EventTarget);

/** The page's conversation with the service. */
export class Conversation extends Target {
  /**
   * @param {LipSyncClient} client
   * @param {Stats} stats
   * @param {(frame: DecodedFrame) => void} draw puts a picture on screen
   */
  constructor(client, stats, draw) {
    super();
    /** @type {TurnState} */
    this.state = "idle";
    this._client = client;
    this._stats = stats;
    this._draw = draw;
    this._refresh = new RefreshMeter();
    this._reporter = new OffsetReporter(client, stats);
    this._playoutDelayMs = MIN_PLAYOUT_DELAY_MS;
    this._sessionKey = "";
    /** @type {number | null} `performance.now()` of the connection's loss in this turn */
    this._awaySince = null;
    /** @type {SpokenTurn | null} */
    this._turn = null;
    client.addEventListener("frame", ({ detail }) => this._onFrame(detail));
    client.addEventListener("end", ({ detail }) => this._onEnd(detail));
    client.addEventListener("problem", ({ detail }) => this._onProblem(detail));
    client.addEventListener("connection", ({ detail }) => this._onConnection(detail));
    client.addEventListener("resumed", () => this._onResumed());
    client.addEventListener("reopened", () => (this._awaySince = null));
    client.addEventListener("lost", ({ detail }) => {
      if (detail.turnId === this._turn?.id) this._onLost();
    });
  }

  /**
   * Start a turn; one that is still going on is interrupted.
   * @param {AudioContext} context running, or about to
   * @param {AudioSource} source
   * @param {FaceIds} face
   * @param {Config} config
   * @param {number} pressedAt `performance.now()` of the click that began it
   */
  begin(context, source, face, config, pressedAt) {
    this.interrupt();
    this._useSessionFor(face, config);
    const { format } = config;
    const id = this._client.beginTurn({ ...face, config, sampleRate: source.sampleRate });
    this._stats.beginTurn(id, source.kind, format);
    const playoutDelayMs = this._playoutDelayMs;
    const setup = { id, context, source, format, playoutDelayMs, pressedAt };
    const turn = new SpokenTurn(setup, this._stats, {
      draw: this._draw,
      onStarted: () => this._setState(turn.isLive ? "listening" : "speaking"),
      onStill: () => this._emit("still", null),
      onDecodeError: (error) => this._onDecodeError(error),
    });
    this._turn = turn;
    this._awaySince = null;
    this._reporter.restart();
    this._setState("starting");
    source.start(
      (chunk) => this._onChunk(chunk),
      () => this._client.endUtterance(),
    );
    requestAnimationFrame((now) => this._tick(turn, now));
  }

  /** No more sound will come (the microphone was switched off); what was said is still shown. */
  finish() {
    this._turn?.source.finish();
  }

  /** Stop at once, here and at the service. */
  interrupt() {
    if (!this._turn) return;
    this._stats.turn.interruptedAt = performance.now();
    this._client.interrupt();
    this._close(this._turn);
  }

  /**
   * A session keeps one face and one picture format; another choice takes another session.
   * @param {FaceIds} face
   * @param {Config} config
   */
  _useSessionFor(face, config) {
    const key = JSON.stringify([face, config]);
    if (this._sessionKey && this._sessionKey !== key) this._client.newSession();
    this._sessionKey = key;
  }

  /** @param {Int16Array} chunk */
  _onChunk(chunk) {
    if (!this._turn) return;
    this._turn.noteChunk();
    if (this._client.sendAudio(chunk)) return;
    const errorMessage = "The connection cannot carry the sound in real time.";
    this._fail({ errorCode: "CONNECTION_TOO_SLOW", errorMessage });
  }

  /** @param {Frame} frame */
  _onFrame(frame) {
    if (this._stats.turn.id !== frame.turnId) return;
    this._stats.received(frame, this._turn?.sinceFirstChunkMs ?? NaN);
    this._turn?.push(frame);
  }

  /**
   * Runs once per screen refresh while a turn lasts.
   * @param {SpokenTurn} turn
   * @param {number} now the refresh's time
   */
  _tick(turn, now) {
    if (this._turn !== turn) return;
    this._refresh.note(now);
    turn.refresh(now, this._refresh.meanMs);
    const problem = turn.startProblem;
    if (problem) return this._fail(problem);
    this._reporter.tick();
    if (this._awaySince !== null && now - this._awaySince > MAX_AWAY_MS) return this._onLost();
    if (turn.isOver(now)) return this._complete(turn);
    requestAnimationFrame((next) => this._tick(turn, next));
  }

  /** @param {EndMessage} message */
  _onEnd(message) {
    if (this._stats.turn.id === message.turnId) this._stats.turn.metrics = message.metrics;
    if (this._turn?.id === message.turnId) this._turn.end();
  }

  /** @param {SpokenTurn} turn */
  _complete(turn) {
    if (!turn.isLive) this._adaptPlayoutDelay();
    this._close(turn);
  }

  /** The next clip waits longer when this one's pictures were late, less when they were not. */
  _adaptPlayoutDelay() {
    const { p50, p95 } = this._stats.turn.avOffsetMs;
    const isLate = p50 !== null && p95 !== null && p95 > LATE_MS && p50 < 0;
    const wanted = this._playoutDelayMs + (isLate ? p95 : -MIN_PLAYOUT_DELAY_MS / 2);
    const bounded = Math.min(MAX_PLAYOUT_DELAY_MS, wanted);
    this._playoutDelayMs = Math.max(MIN_PLAYOUT_DELAY_MS, bounded);
  }

  /** @param {Problem} problem */
  _onProblem(problem) {
    this._emit("problem", problem);
    if (endsSession(problem) && this._turn) this._close(this._turn);
  }

  /** @param {unknown} error */
  _onDecodeError(error) {
    const isH264 = this._stats.turn.format === "h264";
    const words = isH264
      ? "This browser failed to decode the H.264 stream"
      : "A picture could not be decoded";
    const errorMessage = `${words} (${messageOf(error)}).`;
    this._fail({ errorCode: "DECODING_FAILED", errorMessage });
  }

  /**
   * While the connection is away the sound goes on; later the picture continues with it.
   * @param {ConnectionDetail} detail
   */
  _onConnection({ state }) {
    if (this._turn && state !== "open") this._awaySince ??= performance.now();
  }

  _onResumed() {
    this._stats.resumptions += 1;
    this._awaySince = null;
  }

  _onLost() {
    const errorMessage = "The connection was lost in mid-sentence.";
    if (this._turn) this._fail({ errorCode: "CONNECTION_LOST", errorMessage });
  }

  /** @param {Problem} problem */
  _fail(problem) {
    this._emit("problem", problem);
    this.interrupt();
  }

  /** @param {SpokenTurn} turn */
  _close(turn) {
    this._turn = null;
    turn.close();
    this._setState("idle");
  }

  /** @param {TurnState} state */
  _setState(state) {
    this.state = state;
    this._stats.state = state;
    this._emit("change", { state });
  }

  /**
   * @template {keyof ConversationEvents} Name
   * @param {Name} type
   * @param {ConversationEvents[Name]} detail
   */
  _emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
