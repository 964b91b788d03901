// @ts-check
/**
 * Messages to the service in one session; they are held while the session is resumed or moves.
 */

import { uniqueId } from "./messages.js";

/** @import { Connection } from "./connection.js" */
/** @import { Bytes } from "./events.js" */

/** Sends in a session, as far as the service has it. */
export class Outbox {
  /** @param {Pick<Connection, "send">} connection */
  constructor(connection) {
    this._connection = connection;
    this.sessionId = uniqueId();
    /** True once a chunk was sent: the first one opens the session at the service. */
    this.isOpen = false;
    /** True while the service has not answered whether it still has the session. */
    this.resuming = false;
    /** True while audio waits for an instance that takes the session. */
    this.moving = false;
    /** @type {string | null} preferred model */
    this._model = null;
    this._modelIsSent = true;
  }

  /** True while audio waits: for the session to continue, or for an instance that takes it. */
  get isHeld() {
    return this.resuming || this.moving;
  }

  /** Take another session id; nothing of the session was sent yet. */
  renew() {
    this.sessionId = uniqueId();
  }

  /** @param {Bytes} message a chunk, which opens the session where it is sent */
  sendAudio(message) {
    if (!this.isHeld) this.isOpen = this._connection.send(message) || this.isOpen;
  }

  /** @param {string} model wire name, sent as soon as there is a session that can take it */
  preferModel(model) {
    this._model = model;
    this.repeatModel();
  }

  /** Another instance takes the session, which does not know the preferred model. */
  repeatModel() {
    this._modelIsSent = this._model === null;
    this.sendModel();
  }

  sendModel() {
    if (this._modelIsSent || !this.isOpen || this.isHeld) return;
    this.send({ type: "switch_model", model: this._model });
    this._modelIsSent = true;
  }

  sendEndOfUtterance() {
    this.sendInSession({ type: "end_utterance", timestamp: Date.now() });
  }

  /**
   * @param {string} turnId
   * @param {number} turnIndex turns that the session began
   */
  sendInterruption(turnId, turnIndex) {
    this.sendInSession({ type: "interruption", turnId, timestamp: Date.now(), turnIndex });
  }

  /**
   * Send where the service has the session; before that there is nothing to end, interrupt or
   * report on.
   * @param {object} message
   */
  sendInSession(message) {
    if (this.isOpen && !this.isHeld) this.send(message);
  }

  /** @param {object} message */
  send(message) {
    this._connection.send(JSON.stringify({ sessionId: this.sessionId, ...message }));
  }
}
