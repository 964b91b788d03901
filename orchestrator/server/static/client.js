// @ts-check
/**
 * Client of the lip-sync service: sends audio chunks, receives coded video frames, and reopens a
 * lost connection.
 *
 * It contains no page, playback or decoding and depends on nothing, so a voice agent's front end
 * can take it as it is: this file and the folder `client`. The messages are those of `GET /v1/ws`
 * with the subprotocol `lipsync.binary.v1`; see docs/protocol.md and docs/clients.md.
 *
 *     const client = new LipSyncClient("ws://localhost:8080/v1/ws");
 *     client.addEventListener("frame", ({ detail }) => show(detail.data, detail.mediaMs));
 *     await client.connect();
 *     client.beginTurn({ userId: "demo", faceModelId: "demo", sampleRate: 16000 });
 *     client.sendAudio(samples);        // Int16Array, about 100 ms each, as speech is synthesised
 *     client.endUtterance();            // the tail is flushed, then "end" arrives
 *
 * Events (all carry `detail`):
 *   connection  {state: "connecting" | "open" | "waiting" | "closed", retryInMs, attempt}
 *               "closed" also where the service refuses the token
 *   poster      {data, format, width, height, faceModelId}
 *               the face at rest (JPEG), before the first frame
 *   start       {turnId, model, instance}
 *               first response to a turn; `instance` is the process that has the session
 *   frame       {turnId, data, mediaMs, audioMs, sequenceNumber, timestamp, audioTimestamp,
 *               format, isKeyframe, width, height, model}
 *               `mediaMs`: presentation timestamp from the turn's first sample;
 *               `audioMs`: time of the sound that the frame belongs to, from the same sample
 *   end         {turnId, metrics}
 *               every frame of the turn was sent; metrics null if they were lost on the way
 *   switch      {from, to, reason}
 *               another model took over in mid-stream
 *   resumed     {turnId, nextSequenceNumber, openTurns}
 *               the session continues after a lost connection
 *   reopened    {}
 *               the service no longer has the session; turns without a response begin anew
 *   lost        {turnId, reason}
 *               a turn that had a response is then over: EXPIRED, OTHER_INSTANCE, DRAINING or null
 *   warning     {reason, secondsLeft}
 *               the session nears its time limit
 *   problem     {errorCode, errorMessage, recoverable, details}
 *               where it ends the session, its turns are over; the next turn opens a new session
 *   bytes       {received}
 *               size of each message received
 */

import { Connection } from "./client/connection.js";
import { readMessage, withPicture } from "./client/messages.js";
import { Session } from "./client/session.js";

export { endsSession, packMessage, uniqueId, unpackMessage } from "./client/messages.js";

/** @import { ConnectionDetail } from "./client/connection.js" */
/** @import { ClientEvents, TypedEventTarget } from "./client/events.js" */
/** @import { TurnOptions } from "./client/turns.js" */

const Target = /** @type {new () => TypedEventTarget<ClientEvents>} */ (EventTarget);

/** One session at a time over a connection that is reopened when it was lost. */
export class LipSyncClient extends Target {
  /**
   * @param {string | URL} url `ws://` or `wss://` address of `/v1/ws`
   * @param {{token?: string}} [options] the token opens one user's faces and sessions; browsers
   *   can only send it in the address
   */
  constructor(url, { token = "" } = {}) {
    super();
    this._connection = new Connection(url, token, {
      onState: (detail) => this._onState(detail),
      onMessage: (data) => this._onMessage(data),
      onLost: (code) => this._session.onLost(code),
      onRefused: (problem) => {
        this.close(problem.errorMessage);
        this._emit("problem", problem);
      },
    });
    /** @type {Session} */
    this._session = new Session(this._connection, (type, detail) => this._emit(type, detail));
  }

  get sessionId() {
    return this._session.id;
  }

  /** State of the connection, as the event `connection` has it. */
  get state() {
    return this._connection.state;
  }

  get connected() {
    return this._connection.isOpen;
  }

  /** Lost connections after which a session continued. */
  get resumptions() {
    return this._session.resumptions;
  }

  /**
   * Open the socket and keep reopening it, with back-off, until `close()`.
   * @returns {Promise<void>} once it is open; rejected when the service refuses the token, or by
   *   `close()`
   */
  connect() {
    const open = this.connected ? Promise.resolve() : this._untilOpen();
    this._connection.open();
    return open;
  }

  /**
   * End the session and the connection for good.
   * @param {string} [why] message of the rejection of a pending `connect()`
   */
  close(why) {
    this._session.end();
    this._connection.close(why);
  }

  /**
   * Start a turn; its first chunk carries all of this.
   * @param {TurnOptions} options
   * @returns {string} the turn's id, repeated in each of its events
   */
  beginTurn(options) {
    return this._session.beginTurn(options);
  }

  /**
   * Send one chunk, 10 ms to 2 s of mono samples; while the connection is away it waits, up to
   * half a minute of them.
   * @param {Int16Array} samples
   * @returns {boolean} false when there is no open turn, no session to continue, or the connection
   *   cannot keep up; the samples are then lost
   */
  sendAudio(samples) {
    return this._session.sendAudio(samples);
  }

  /** End the turn's audio: the service flushes its tail. */
  endUtterance() {
    this._session.endUtterance();
  }

  /**
   * Drop everything that the service has queued, of every turn that is not over; while the
   * connection is away, once it is back.
   */
  interrupt() {
    this._session.interrupt();
  }

  /**
   * Prefer a model; sent once there is a session, and again when the session is reopened.
   * @param {string} model wire name, such as `tpsm` or `static`
   */
  switchModel(model) {
    this._session.switchModel(model);
  }

  /**
   * Report what the viewer measured.
   * @param {{avOffsetMs?: number, bandwidthKbps?: number, packetLossPercent?: number}} report
   *   offset > 0: the picture is ahead
   */
  report(report) {
    this._session.report(report);
  }

  /** Leave the session and continue under a fresh id: for another face, picture size or format. */
  newSession() {
    this._session.restart();
  }

  /** @returns {Promise<void>} */
  _untilOpen() {
    return new Promise((resolve, reject) => {
      /** @param {CustomEvent<ConnectionDetail>} event */
      const listener = ({ detail }) => {
        if (detail.state !== "open" && detail.state !== "closed") return;
        this.removeEventListener("connection", listener);
        if (detail.state === "open") resolve();
        else reject(new Error(detail.why ?? "the connection was closed"));
      };
      this.addEventListener("connection", listener);
    });
  }

  /** @param {ConnectionDetail} detail */
  _onState(detail) {
    const isOpen = detail.state === "open";
    if (isOpen) this._session.resume();
    this._emit("connection", detail);
    if (isOpen) this._session.reopen();
  }

  /** @param {string | ArrayBuffer} data */
  _onMessage(data) {
    const received = typeof data === "string" ? data.length : data.byteLength;
    this._emit("bytes", { received });
    const [message, payload] = readMessage(data);
    if (message.sessionId && message.sessionId !== this.sessionId) return;
    // Types that this version does not know are ignored.
    if (message.type === "response_start") this._session.onStart(message);
    else if (message.type === "response_video") this._session.onVideo(message, payload);
    else if (message.type === "response_end") this._session.onEnd(message);
    else if (message.type === "model_switched") this._emit("switch", message);
    else if (message.type === "poster") this._emit("poster", withPicture(message, payload));
    else if (message.type === "session_resumed") this._session.onResumed(message);
    else if (message.type === "session_warning") this._emit("warning", message);
    else if (message.type === "error") this._session.onProblem(message);
  }

  /**
   * @template {keyof ClientEvents} Name
   * @param {Name} type
   * @param {ClientEvents[Name]} detail
   */
  _emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
