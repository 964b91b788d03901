// @ts-check
/**
 * The client's session: what is sent in it, and how it continues after a lost connection or on
 * another instance of the service.
 */

import { endsSession, withPicture } from "./messages.js";
import { Outbox } from "./outbox.js";
import { Turns, UNKNOWN_SESSION } from "./turns.js";

/** @import { Connection } from "./connection.js" */
/** @import { Bytes, Emit } from "./events.js" */
/** @import * as Wire from "./messages.js" */
/** @import { Standing, Turn, TurnOptions } from "./turns.js" */

/** Attempts to reach the instance that has a turn: the gateway may have picked another one. */
const MAX_ROUTE_ATTEMPTS = 5;

/** Close code of an instance that shuts down and keeps no session of this connection. */
const SERVICE_RESTART = 1012;

/** `details.reason` of an instance that shuts down, and of sessions that another instance has. */
const DRAINING = "DRAINING";
const OTHER_INSTANCE = "OTHER_INSTANCE";

/** One session at a time; `restart` continues under a fresh id. */
export class Session {
  /**
   * @param {Pick<Connection, "isOpen" | "isCongested" | "send" | "retry">} connection
   * @param {Emit} emit
   */
  constructor(connection, emit) {
    this._connection = connection;
    this._emit = emit;
    this._outbox = new Outbox(connection);
    this._turns = new Turns();
    this.resumptions = 0;
    this._routeAttempts = 0;
    /** @type {string | undefined} */
    this._userId = undefined;
    /** @type {string | null} instance that has the session */
    this._instance = null;
  }

  get id() {
    return this._outbox.sessionId;
  }

  /**
   * @param {TurnOptions} options
   * @returns {string} the turn's id
   */
  beginTurn(options) {
    this._userId = options.userId;
    return this._turns.begin(options).turnId;
  }

  /**
   * @param {Int16Array} samples
   * @returns {boolean} false where they are lost
   */
  sendAudio(samples) {
    const turn = this._turns.current;
    if (!turn || (!this._connection.isOpen && !this._outbox.isHeld)) return false;
    if (this._connection.isCongested) return false;
    this._outbox.sendAudio(turn.keep(this.id, samples));
    this._outbox.sendModel();
    return true;
  }

  endUtterance() {
    if (!this._turns.current) return;
    this._turns.current.complete = true;
    this._outbox.sendEndOfUtterance();
  }

  interrupt() {
    const { all, count } = this._turns;
    all.forEach(({ turnId }) => this._outbox.sendInterruption(turnId, count));
    this._turns.forget();
  }

  /** @param {string} model */
  switchModel(model) {
    this._outbox.preferModel(model);
  }

  /** @param {object} report */
  report(report) {
    this._outbox.sendInSession({ type: "client_report", ...report });
  }

  /** End the session at the service, and forget it. */
  end() {
    this._outbox.sendInSession({ type: "end_session" });
    this._turns.forget();
    this._outbox.isOpen = this._outbox.resuming = this._outbox.moving = false;
  }

  /** Leave the session, also one that is being resumed, and continue under a fresh id. */
  restart() {
    if (this._outbox.isOpen) this._outbox.send({ type: "end_session" });
    this._outbox.renew();
    this._outbox.isOpen = this._outbox.resuming = false;
    // Audio that comes before the next connection still waits for it.
    this._outbox.moving &&= !this._connection.isOpen;
    this._instance = null;
    this._turns = new Turns();
  }

  /** To be called when the connection is open, before it is announced. */
  resume() {
    if (!this._outbox.resuming) return;
    const spoken = this._turns.all.at(0);
    const seen = spoken ? { turnId: spoken.turnId, nextFrame: spoken.framesReceived } : {};
    const instance = this._instance ? { instance: this._instance } : {};
    this._outbox.send({ type: "resume_session", userId: this._userId, ...seen, ...instance });
  }

  /** To be called when the open connection was announced. */
  reopen() {
    if (this._outbox.moving) this._beginAnew();
  }

  /**
   * @param {number} code close code of the lost connection
   * @returns {boolean} true where the next attempt is to be made at once
   */
  onLost(code) {
    if (code === SERVICE_RESTART) this._leaveInstance(DRAINING);
    this._outbox.resuming = this._outbox.isOpen;
    if (!this._outbox.isOpen && !this._outbox.moving) this._turns.forget();
    return this._routeAttempts > 0;
  }

  /** @param {Wire.StartMessage} message */
  onStart(message) {
    this._instance = message.instance;
    const turn = this._turns.get(message.turnId);
    if (turn) turn.started = true;
    this._emit("start", message);
  }

  /**
   * @param {Wire.VideoMessage} message
   * @param {Bytes | null} payload
   */
  onVideo(message, payload) {
    const turn = this._turns.get(message.turnId);
    if (turn) turn.framesReceived = message.sequenceNumber + 1;
    const startedAt = turn?.startedAt ?? message.audioTimestamp;
    const mediaMs = message.timestamp - startedAt;
    const audioMs = message.audioTimestamp - startedAt;
    this._emit("frame", { ...withPicture(message, payload), mediaMs, audioMs });
  }

  /** @param {Wire.EndMessage} message */
  onEnd(message) {
    this._turns.end(message.turnId);
    this._emit("end", message);
  }

  /**
   * Send the chunks from `nextSequenceNumber` on; the service has those before it. Interruptions
   * go first, for the turns that it still has and that were given up here.
   * @param {Wire.ResumedMessage} message
   */
  onResumed(message) {
    this._outbox.resuming = false;
    this._routeAttempts = 0;
    this.resumptions += 1;
    const givenUp = message.openTurns.filter((turnId) => !this._turns.get(turnId));
    const { count } = this._turns;
    givenUp.forEach((turnId) => this._outbox.sendInterruption(turnId, count));
    const { over, unfinished } = this._turns.sorted(message);
    unfinished.forEach((turn) => this._sendAgain(turn, message));
    this._emit("resumed", message);
    for (const { turnId } of over) this.onEnd({ turnId, metrics: null });
    this._outbox.sendModel();
  }

  /** @param {Wire.Problem} problem */
  onProblem(problem) {
    const isOurs = problem.sessionId === this.id;
    const reason = problem.details?.reason ?? null;
    // The instance closes the connection next; the one after it leads elsewhere.
    if (isOurs && reason === DRAINING) return this._leaveInstance(DRAINING);
    if (isOurs && this._outbox.resuming) return this._onNotResumed(reason);
    // Audio on its way may have reopened the session at the service: `restart` ends that too.
    if (isOurs && endsSession(problem)) this.restart();
    this._emit("problem", problem);
  }

  /**
   * Where another instance has a turn of ours, another connection may lead there.
   * @param {string | null} reason
   */
  _onNotResumed(reason) {
    const isElsewhere =
      reason === OTHER_INSTANCE && this._turns.all.some((turn) => turn.isAnswered);
    if (isElsewhere && this._routeAttempts < MAX_ROUTE_ATTEMPTS) {
      this._routeAttempts += 1;
      return this._connection.retry();
    }
    this._leaveInstance(reason);
    this._beginAnew();
  }

  /**
   * The service no longer has the session: turns with a response are lost, the others wait.
   * @param {string | null} reason
   */
  _leaveInstance(reason) {
    const lost = this._turns.endAnswered();
    this._outbox.isOpen = this._outbox.resuming = false;
    // Kept audio names the session. Without any, a fresh id avoids a remnant on another instance.
    if (this._turns.size === 0) this._outbox.renew();
    this._outbox.moving = true;
    this._routeAttempts = 0;
    this._instance = null;
    this._outbox.repeatModel();
    for (const { turnId } of lost) this._emit("lost", { turnId, reason });
  }

  /** Reopen the session, under its id, with all audio that is kept. */
  _beginAnew() {
    this._outbox.moving = false;
    const turns = this._turns.all.filter((turn) => turn.hasAudio);
    this._outbox.isOpen = turns.length > 0;
    for (const turn of turns) this._sendAgain(turn, UNKNOWN_SESSION);
    this._outbox.sendModel();
    this._emit("reopened", {});
  }

  /**
   * @param {Turn} turn
   * @param {Standing} standing
   */
  _sendAgain(turn, standing) {
    const first = turn.firstMissing(standing);
    turn.messagesFrom(first).forEach((message) => this._connection.send(message));
    if (turn.complete && first !== Infinity) this._outbox.sendEndOfUtterance();
  }
}
