/**
 * One turn at a time, from a source of sound to frames on screen, all on the AudioContext's time line.
 *
 * Joins the wire (client.js), the decoders (decoder.js) and the player (player.js). Sound and picture of a turn start
 * together, a small cushion after the first picture is there; from then on the sound is the clock.
 *
 * Events: `change` when `state` changed, `still` when no picture came for a while in mid-turn, `problem` with {errorCode, errorMessage}.
 */

import { endsSession } from "./client.js";
import { DecodeQueue } from "./decoder.js";
import { AudioClock, FramePlayer } from "./player.js";

/** Sound and picture wait this long after the first picture, so that the next ones may arrive unevenly. */
const CUSHION_MIN_MS = 80;
const CUSHION_MAX_MS = 400;

/** The microphone's pictures are worth more early than smooth; a live picture that is late moves itself back. */
const LIVE_CUSHION_MS = 40;

/** Lateness that viewers begin to notice, and that makes the cushion grow. */
const LATE_MS = 45;

/** This many late pictures in a row are a rhythm, not a hiccup: a live picture is then shown later. */
const LATE_IN_A_ROW = 5;

/** The longest a visitor is left waiting for sound and picture to begin. */
const START_TIMEOUT_MS = 5000;

const REPORT_EVERY_MS = 1000;

/** A face that has not moved for as long seems stuck in the middle of a word; pictures that are merely late come sooner. */
const STILL_MS = 500;

/** A turn whose connection is away for longer is given up: its sound has run far ahead of its picture. */
const AWAY_MS = 8000;

/** What the browser knows of a link that is slow; of others it knows too little to be believed. @returns {number | undefined} kbit/s */
function slowLinkKbps() {
  const link = navigator.connection;
  return link && link.effectiveType !== "4g" && link.downlink > 0 ? link.downlink * 1000 : undefined;
}

export class Conversation extends EventTarget {
  /**
   * @param {import("./client.js").LipSyncClient} client
   * @param {import("./stats.js").Stats} stats
   * @param {(frame: {image: ImageBitmap}) => void} draw puts a picture on screen
   */
  constructor(client, stats, draw) {
    super();
    this.state = "idle";
    this._client = client;
    this._stats = stats;
    this._player = new FramePlayer(draw, (frame) => frame.image.close());
    this._cushionMs = CUSHION_MIN_MS;
    this._refreshMs = 1000 / 60;
    this._sessionKey = "";
    this._turn = null;
    client.addEventListener("frame", ({ detail }) => this._onFrame(detail));
    client.addEventListener("end", ({ detail }) => this._onEnd(detail));
    client.addEventListener("problem", ({ detail }) => this._onProblem(detail));
    client.addEventListener("connection", ({ detail }) => this._onConnection(detail));
    client.addEventListener("resumed", () => this._onResumed());
    client.addEventListener("reopened", () => this._onBack());
    client.addEventListener("lost", ({ detail }) => detail.turnId === this._turn?.id && this._onLost());
  }

  /** The node to listen to for a level meter, or null. */
  get output() {
    return this._turn?.source.output ?? null;
  }

  /**
   * Starts a turn; one that is still going on is interrupted.
   * @param {AudioContext} context running, or about to
   * @param {object} source see audio-source.js
   * @param {{userId: string, faceModelId: string}} face
   * @param {{targetFps: number, resolution: {width: number, height: number}, format: "jpeg" | "h264", quality: number}} config
   * @param {number} pressedAt `performance.now()` of the click that asked for it
   */
  begin(context, source, face, config, pressedAt) {
    this.interrupt();
    this._useSessionFor(face, config);
    const id = this._client.beginTurn({ ...face, config, sampleRate: source.sampleRate });
    this._stats.beginTurn(id, source.kind, config.format);
    const queue = new DecodeQueue(config.format, {
      onImage: (frame, image) => this._onImage(frame, image),
      onError: (error) => this._onDecodeError(error),
      waiting: () => this._player.size,
    });
    const turn = { id, context, source, queue, pressedAt, clock: new AudioClock(context), frameMs: 1000 / config.targetFps };
    this._turn = { ...turn, startAt: null, firstChunkAt: null, ended: false, lateInARow: 0, reportedAt: performance.now(), awaySince: null, drawnAt: null };
    this._setState("starting");
    source.start((chunk) => this._onChunk(chunk), () => this._client.endUtterance());
    requestAnimationFrame((now) => this._tick(id, now));
  }

  /** No more sound will come (the microphone was switched off); what was said is still shown. */
  finish() {
    this._turn?.source.finish();
  }

  /** Stops at once, here and at the service. */
  interrupt() {
    if (!this._turn) return;
    this._stats.turn.interruptedAt = performance.now();
    this._client.interrupt();
    this._close();
  }

  /** A session keeps one face and one picture format; another choice takes another session. */
  _useSessionFor(face, config) {
    const key = JSON.stringify([face, config]);
    if (this._sessionKey && this._sessionKey !== key) this._client.newSession();
    this._sessionKey = key;
  }

  _onChunk(chunk) {
    if (!this._turn) return;
    this._turn.firstChunkAt ??= performance.now();
    if (this._client.sendAudio(chunk)) return;
    this._fail("CONNECTION_TOO_SLOW", "The connection cannot carry the sound in real time.");
  }

  _onFrame(frame) {
    if (this._stats.turn.id !== frame.turnId) return;
    this._stats.received(frame, performance.now() - (this._turn?.firstChunkAt ?? NaN));
    this._turn?.queue.push(frame);
  }

  _onImage(frame, image) {
    const turn = this._turn;
    if (turn?.id !== frame.turnId) return image.close();
    this._stats.turn.framesDecoded += 1;
    this._player.push({ ...frame, data: null, image });
    this._startWhenReady(turn);
  }

  /** Opening the sound device may take longer than the first picture; neither starts without the other. */
  _startWhenReady(turn) {
    if (turn.startAt !== null || this._player.size === 0 || turn.context.state !== "running") return;
    const live = turn.source.kind === "microphone";
    turn.startAt = turn.context.currentTime + (live ? LIVE_CUSHION_MS : this._cushionMs) / 1000;
    turn.source.playAt(turn.startAt);
    turn.clock.read(performance.now());
    const untilHeardMs = (turn.startAt - turn.clock.heardAt(performance.now())) * 1000;
    this._stats.turn.startDelayMs = Math.round(performance.now() + untilHeardMs - turn.pressedAt);
    this._setState(live ? "listening" : "speaking");
  }

  /** Runs once per screen refresh while a turn lasts. @param {number} now the refresh's time */
  _tick(id, now) {
    const turn = this._turn;
    if (turn?.id !== id) return;
    this._measureRefresh(now);
    if (turn.context.state === "running") turn.clock.read(performance.now());
    this._startWhenReady(turn);
    if (turn.startAt === null) this._checkStart(turn);
    else this._show(turn, (turn.clock.heardAt(now) - turn.startAt) * 1000);
    turn.queue.pump();
    this._report(turn);
    if (turn.awaySince !== null && now - turn.awaySince > AWAY_MS) return this._onLost();
    if (this._isOver(turn, now)) return this._complete();
    requestAnimationFrame((next) => this._tick(id, next));
  }

  _show(turn, mediaMs) {
    const { drawn, offsetMs, skipped } = this._player.tick(mediaMs, this._refreshMs);
    this._stats.turn.framesSkipped += skipped;
    if (!drawn) return this._watchStandstill(turn);
    turn.drawnAt = performance.now();
    const live = turn.source.kind === "microphone";
    const capturedAt = turn.source.startedAt + drawn.audioMs / 1000;
    this._stats.drawn(offsetMs, live ? (turn.context.currentTime - capturedAt) * 1000 : null);
    turn.lateInARow = offsetMs < -LATE_MS ? turn.lateInARow + 1 : 0;
    if (live && turn.lateInARow >= LATE_IN_A_ROW) this._delay(turn, -offsetMs);
  }

  /** Tells once that the pictures stay away, whatever holds them up. */
  _watchStandstill(turn) {
    if (turn.drawnAt === null || performance.now() - turn.drawnAt < STILL_MS) return;
    turn.drawnAt = null;
    this._emit("still");
  }

  /** Nothing audible binds a live picture to its schedule, so it may move; a clip's sound is never stretched. */
  _delay(turn, byMs) {
    turn.lateInARow = 0;
    turn.startAt += byMs / 1000;
    turn.source.playAt(turn.startAt);
  }

  /** Screens refresh at 60 to 240 Hz; a hidden tab's pauses say nothing. */
  _measureRefresh(now) {
    const passedMs = now - (this._lastRefresh ?? now);
    this._lastRefresh = now;
    if (passedMs > 3 && passedMs < 40) this._refreshMs += (passedMs - this._refreshMs) / 20;
  }

  _checkStart(turn) {
    if (performance.now() - (turn.firstChunkAt ?? turn.pressedAt) < START_TIMEOUT_MS) return;
    if (this._player.size > 0) this._fail("NO_SOUND", "This browser did not open its sound output.");
    else this._fail("TIMEOUT", "The service took the sound but sent no picture for five seconds.");
  }

  _report(turn) {
    if (performance.now() - turn.reportedAt < REPORT_EVERY_MS) return;
    turn.reportedAt = performance.now();
    const avOffsetMs = this._stats.takeOffsetReport();
    if (avOffsetMs === null) return;
    this._stats.turn.reports += 1;
    this._client.report({ avOffsetMs, bandwidthKbps: slowLinkKbps() });
  }

  _isOver(turn, now) {
    if (!turn.ended || !turn.queue.empty || this._player.size > 0) return false;
    const heardMs = (turn.clock.heardAt(now) - turn.startAt) * 1000;
    return turn.startAt === null || turn.source.kind === "microphone" || heardMs >= turn.source.durationMs;
  }

  _onEnd(message) {
    const turn = this._turn;
    if (this._stats.turn.id === message.turnId) this._stats.turn.metrics = message.metrics;
    if (turn?.id !== message.turnId) return;
    turn.queue.end();
    turn.ended = true;
  }

  _complete() {
    if (this._turn.source.kind === "clip") this._adaptCushion(this._stats.turn.avOffsetMs);
    this._close();
  }

  /** The next clip waits longer when this one's pictures were late, less when they were not. */
  _adaptCushion({ p50, p95 }) {
    const late = p95 > LATE_MS && p50 < 0;
    const wanted = this._cushionMs + (late ? p95 : -CUSHION_MIN_MS / 2);
    this._cushionMs = Math.max(CUSHION_MIN_MS, Math.min(CUSHION_MAX_MS, wanted));
  }

  _onProblem(message) {
    this._emit("problem", message);
    if (endsSession(message) && this._turn) this._close();
  }

  _onDecodeError(error) {
    const words = this._stats.turn.format === "h264" ? "This browser failed to decode the H.264 stream" : "A picture could not be decoded";
    this._fail("DECODING_FAILED", `${words} (${error.message}).`);
  }

  /** The sound goes on while the connection is away, and the picture joins it again. */
  _onConnection({ state }) {
    if (this._turn && state !== "open") this._turn.awaySince ??= performance.now();
  }

  _onResumed() {
    this._stats.resumptions += 1;
    this._onBack();
  }

  _onBack() {
    if (this._turn) this._turn.awaySince = null;
  }

  _onLost() {
    if (!this._turn) return;
    this._emit("problem", { errorCode: "CONNECTION_LOST", errorMessage: "The connection was lost in mid-sentence." });
    this.interrupt();
  }

  _fail(errorCode, errorMessage) {
    this._emit("problem", { errorCode, errorMessage });
    this.interrupt();
  }

  _close() {
    const turn = this._turn;
    this._turn = null;
    turn.source.stop();
    turn.queue.close();
    this._player.clear();
    this._setState("idle");
  }

  _setState(state) {
    this.state = state;
    this._stats.state = state;
    this._emit("change", { state });
  }

  _emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
