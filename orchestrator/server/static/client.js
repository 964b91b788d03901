/**
 * The wire of the lip-sync service, and nothing else: audio chunks in, coded video frames out, over a connection that is
 * opened again when it was lost.
 *
 * No page, no playback and no decoding in here, so a voice agent's front end can take this file as it is.
 * Messages are those of `GET /v1/ws` with the subprotocol `lipsync.binary.v1`; see docs/protocol.md and docs/clients.md.
 *
 *     const client = new LipSyncClient("ws://localhost:8080/v1/ws");
 *     client.addEventListener("frame", ({ detail }) => show(detail.data, detail.mediaMs));
 *     await client.connect();
 *     client.beginTurn({ userId: "demo", faceModelId: "demo", sampleRate: 16000 });
 *     client.sendAudio(samples);        // Int16Array, about 100 ms each, as your speech engine emits them
 *     client.endUtterance();            // the tail is flushed, then "end" arrives
 *
 * Events (all carry `detail`):
 *   connection  {state: "connecting" | "open" | "waiting" | "closed", retryInMs, attempt}; closed also where the service refuses the token
 *   poster      {data, format, width, height, faceModelId}   the face at rest (JPEG), before the first frame
 *   start       {turnId, model, instance}          first answer to a turn; `instance` is the service's process that has the session
 *   frame       {turnId, data, mediaMs, audioMs, sequenceNumber, timestamp, audioTimestamp, format, isKeyframe, width, height, model}
 *               `mediaMs`: when to show it, from the turn's first sample; `audioMs`: the sound it belongs to, on the same line
 *   end         {turnId, metrics}                  every frame of the turn has been sent; metrics null if that was lost on the way
 *   switch      {from, to, reason}                 another model took over in mid-stream
 *   resumed     {turnId, nextSequenceNumber, openTurns}   the session goes on after a lost connection
 *   reopened    {}                                 the service no longer has the session; turns that it had not answered begin anew
 *   lost        {turnId, reason}                   a turn that it had begun to answer then is over: EXPIRED, OTHER_INSTANCE, DRAINING or null
 *   warning     {reason, secondsLeft}              the session's time is nearly over
 *   problem     {errorCode, errorMessage, recoverable, details}   where it ends the session, its turns are over, and the next one opens a new session
 *   bytes       {received}                         size of each message that came in
 */

const BINARY = "lipsync.binary.v1";

const RETRY_FIRST_MS = 250;
const RETRY_LAST_MS = 5000;

/** Unsent bytes above which a socket cannot keep up with real time: about ten seconds of 48 kHz speech. */
const MAX_UNSENT_BYTES = 1_000_000;

/** Audio kept to be sent again after a lost connection: as much as the service lets wait. */
const KEPT_MS = 30_000;

/** Connections given up since they reached another instance than the one that speaks a turn: a gateway may have been wrong. */
const MOST_CALLS = 5;

/** Of a connection that is given up for another one; any code but 1000 leaves the sessions waiting. */
const CALL_AGAIN = 4000;

/** Close code of an instance that shuts down and keeps no session of this connection. */
const SERVICE_RESTART = 1012;

/** `details.reason` of what such an instance refuses, and of sessions that another instance has. */
const DRAINING = "DRAINING";
const OTHER_INSTANCE = "OTHER_INSTANCE";

/** How a session stands that the service does not have. */
const NOTHING = { turnId: null, nextSequenceNumber: 0, openTurns: [] };

/** Answers that calling again does not change: the token is missing, unknown or over. */
const REFUSALS = [401, 403];

/** Used where the page is not a secure context and `crypto.randomUUID` is therefore missing. */
export function uniqueId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {Int16Array} samples @returns {Uint8Array} their bytes, little endian whatever this machine is */
function littleEndian(samples) {
  const bytes = new Uint8Array(samples.length * 2);
  const view = new DataView(bytes.buffer);
  samples.forEach((sample, index) => view.setInt16(index * 2, sample, true));
  return bytes;
}

/** @param {object} header @param {Uint8Array} payload @returns {Uint8Array} 4 bytes of the header's length, the header, the payload */
export function packMessage(header, payload) {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const message = new Uint8Array(4 + text.length + payload.length);
  new DataView(message.buffer).setUint32(0, text.length);
  message.set(text, 4);
  message.set(payload, 4 + text.length);
  return message;
}

/** @param {ArrayBuffer} buffer @returns {[object, Uint8Array]} header and payload of a binary message */
export function unpackMessage(buffer) {
  const length = new DataView(buffer).getUint32(0);
  return [JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length))), new Uint8Array(buffer, 4 + length)];
}

/** @param {string} base64 @returns {Uint8Array} */
function decodeBytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

export class LipSyncClient extends EventTarget {
  /**
   * @param {string | URL} url `ws://` or `wss://` address of `/v1/ws`
   * @param {{token?: string}} [options] the token opens one user's faces and sessions; browsers can only send it in the address
   */
  constructor(url, { token = "" } = {}) {
    super();
    this._url = new URL(url);
    if (token) this._url.searchParams.set("access_token", token);
    // A gateway that goes by this key sends every connection of this client to the same instance.
    this._url.searchParams.set("route", uniqueId().replaceAll("-", ""));
    this.sessionId = uniqueId();
    this.state = "closed";
    this.resumptions = 0;
    this._sessionIsOpen = false;
    this._resuming = false;
    this._moving = false;
    this._instance = null;
    this._socket = null;
    this._turn = null;
    this._turns = new Map();
    this._turnCount = 0;
    this._wish = null;
    this._model = null;
    this._attempt = 0;
    this._callsInVain = 0;
    this._retryTimer = 0;
  }

  /**
   * Opens the socket and keeps reopening it, with back-off, until `close()`.
   * @returns {Promise<void>} once it is open; rejected when the service refuses the token, or by `close()`
   */
  connect() {
    const open = this.connected ? Promise.resolve() : this._untilOpen();
    this._open();
    return open;
  }

  /** Ends the session and the connection for good. @param {string} [why] for whoever waits for `connect()` */
  close(why) {
    clearTimeout(this._retryTimer);
    const socket = this._socket;
    this._sendInSession({ type: "end_session" });
    this._socket = null;
    this._forgetTurns();
    this._sessionIsOpen = this._resuming = this._moving = false;
    socket?.close(1000);
    this._setState("closed", { why });
  }

  get connected() {
    return this.state === "open";
  }

  /**
   * Starts a turn; its first chunk carries all of this.
   * @param {{userId: string, faceModelId: string, sampleRate: number, config?: object, modelPreference?: string}} options
   *   `sampleRate` in Hz of the mono samples to come (8000 to 48000); `config` is the wire's `config` object.
   * @returns {string} the turn's id, repeated in each of its events
   */
  beginTurn(options) {
    this._turnCount += 1;
    this._userId = options.userId;
    const turnId = `turn-${String(this._turnCount).padStart(3, "0")}`;
    const counts = { samplesSent: 0, chunksSent: 0, framesReceived: 0, started: false, complete: false, kept: [], keptSamples: 0 };
    this._turn = { ...options, ...counts, turnId, startedAt: Date.now() };
    this._turns.set(turnId, this._turn);
    return turnId;
  }

  /**
   * Sends one chunk, 10 ms to 2 s of mono samples; while the connection is away it waits, up to half a minute of them.
   * @param {Int16Array} samples
   * @returns {boolean} false when there is no open turn, no session to go on with, or the connection cannot keep up; the samples are then lost
   */
  sendAudio(samples) {
    const turn = this._turn;
    if (!turn || (!this.connected && !this._isHeld)) return false;
    if (this._socket && this._socket.bufferedAmount > MAX_UNSENT_BYTES) return false;
    const message = packMessage(this._audioHeader(turn), littleEndian(samples));
    turn.kept.push({ number: turn.chunksSent, message, samples: samples.length });
    turn.keptSamples += samples.length;
    turn.chunksSent += 1;
    turn.samplesSent += samples.length;
    while ((turn.keptSamples * 1000) / turn.sampleRate > KEPT_MS) turn.keptSamples -= turn.kept.shift().samples;
    if (!this._isHeld) this._sessionIsOpen = this._sendBytes(message) || this._sessionIsOpen;
    this._sendWish();
    return true;
  }

  /** Says that the turn has no more audio: the service flushes its tail. */
  endUtterance() {
    if (!this._turn) return;
    this._turn.complete = true;
    this._sendInSession({ type: "end_utterance", timestamp: Date.now() });
  }

  /** Drops everything the service still has queued, of every turn that is not over; where the connection is away, once it is back. */
  interrupt() {
    for (const turnId of this._turns.keys()) this._giveUp(turnId);
    this._forgetTurns();
  }

  /** @param {string} model a model's wire name, such as `tpsm` or `static`; told once there is a session, or again a connection to it */
  switchModel(model) {
    this._wish = this._model = model;
    this._sendWish();
  }

  /** @param {{avOffsetMs?: number, bandwidthKbps?: number, packetLossPercent?: number}} report measured by the viewer; offset > 0: picture ahead */
  report(report) {
    this._sendInSession({ type: "client_report", ...report });
  }

  /** Leaves the session and goes on under a fresh id: for another face, picture size or format. */
  newSession() {
    if (this._sessionIsOpen) this._send({ type: "end_session" }); // one that is just being resumed ends too
    this._startSession();
  }

  _open() {
    clearTimeout(this._retryTimer);
    if (this._socket) return;
    this._setState("connecting");
    const socket = new WebSocket(this._url, [BINARY]);
    socket.binaryType = "arraybuffer";
    this._socket = socket;
    socket.onopen = () => this._onOpen();
    socket.onmessage = (event) => socket === this._socket && this._onMessage(event.data);
    socket.onclose = ({ code }) => this._onClose(socket, code);
  }

  _untilOpen() {
    return new Promise((resolve, reject) => {
      const listener = ({ detail }) => {
        if (detail.state !== "open" && detail.state !== "closed") return;
        this.removeEventListener("connection", listener);
        if (detail.state === "open") resolve();
        else reject(new Error(detail.why ?? "the connection was closed"));
      };
      this.addEventListener("connection", listener);
    });
  }

  _giveUp(turnId) {
    this._sendInSession({ type: "interruption", turnId, timestamp: Date.now(), turnIndex: this._turnCount });
  }

  _forgetTurns() {
    this._turn = null;
    this._turns.clear();
  }

  _sendWish() {
    if (this._wish === null || !this._sessionIsOpen || this._isHeld) return;
    this._send({ type: "switch_model", model: this._wish });
    this._wish = null;
  }

  /** Whether audio waits: for the session to go on, or for an instance that takes it. */
  get _isHeld() {
    return this._resuming || this._moving;
  }

  _startSession() {
    this.sessionId = uniqueId();
    this._sessionIsOpen = this._resuming = false;
    this._moving &&= !this.connected; // what is said before there is a connection again still waits for it
    this._instance = null;
    this._forgetTurns();
    this._turnCount = 0;
  }

  _audioHeader(turn) {
    const names = { sessionId: this.sessionId, userId: turn.userId, faceModelId: turn.faceModelId, turnId: turn.turnId };
    const header = { type: "lipsync_audio", ...names, audioChunk: this._audioChunk(turn) };
    if (turn.chunksSent > 0) return header;
    if (turn.config) header.config = turn.config;
    if (turn.modelPreference) header.modelPreference = turn.modelPreference;
    return header;
  }

  _audioChunk(turn) {
    return {
      timestamp: Math.round(turn.startedAt + (turn.samplesSent * 1000) / turn.sampleRate),
      sequenceNumber: turn.chunksSent,
      sampleRate: turn.sampleRate,
      channels: 1,
      format: "pcm",
    };
  }

  /** The first chunk opens a session; the service knows nothing to end, interrupt or report on before it. */
  _sendInSession(message) {
    if (this._sessionIsOpen && !this._isHeld) this._send(message);
  }

  _send(message) {
    return this._sendBytes(JSON.stringify({ sessionId: this.sessionId, ...message }));
  }

  _sendBytes(data) {
    if (this._socket?.readyState !== WebSocket.OPEN) return false;
    this._socket.send(data);
    return true;
  }

  _onOpen() {
    this._attempt = 0;
    if (this._resuming) this._askToResume();
    this._setState("open");
    if (this._moving) this._beginAnew();
  }

  _askToResume() {
    const spoken = [...this._turns.values()].at(0);
    const seen = spoken ? { turnId: spoken.turnId, nextFrame: spoken.framesReceived } : {};
    const instance = this._instance ? { instance: this._instance } : {};
    this._send({ type: "resume_session", userId: this._userId, ...seen, ...instance });
  }

  _onClose(socket, code) {
    if (socket !== this._socket) return;
    const wasOpen = this.connected;
    this._socket = null;
    if (code === SERVICE_RESTART) this._letGo(DRAINING);
    this._resuming = this._sessionIsOpen;
    if (!this._sessionIsOpen && !this._moving) this._forgetTurns();
    const retryInMs = this._callsInVain > 0 && this._attempt === 0 ? 0 : Math.min(RETRY_LAST_MS, RETRY_FIRST_MS * 2 ** this._attempt);
    this._attempt += 1;
    this._retryTimer = setTimeout(() => this._open(), retryInMs);
    this._setState("waiting", { retryInMs });
    if (!wasOpen) this._askWhy();
  }

  /** Browsers do not tell a refused socket from a service that is away; a request over HTTP does. */
  async _askWhy() {
    const address = new URL("models", this._url);
    address.protocol = this._url.protocol === "wss:" ? "https:" : "http:";
    address.search = this._url.search;
    const response = await fetch(address).catch(() => null);
    if (!REFUSALS.includes(response?.status) || this.connected || this.state === "closed") return;
    const problem = await response.json().catch(() => ({ errorCode: "UNAUTHORIZED", errorMessage: "the service refuses this client" }));
    this.close(problem.errorMessage);
    this._emit("problem", problem);
  }

  /**
   * The service knows the chunks before `nextSequenceNumber`; the others are sent now, and the rest as before.
   * First it hears of each turn that it still has and that was given up here, before the connection was lost or meanwhile.
   */
  _onResumed(message) {
    this._resuming = false;
    this._callsInVain = 0;
    this.resumptions += 1;
    message.openTurns.filter((turnId) => !this._turns.has(turnId)).forEach((turnId) => this._giveUp(turnId));
    const turns = [...this._turns.values()];
    const newest = turns.findIndex((turn) => turn.turnId === message.turnId);
    const over = turns.filter((turn, index) => this._isOver(turn, message.openTurns, index < newest));
    turns.forEach((turn, index) => over.includes(turn) || index < newest || this._sendAgain(turn, message));
    this._emit("resumed", message);
    for (const turn of over) this._end({ turnId: turn.turnId, metrics: null });
    this._sendWish();
  }

  /** A turn whose end was lost on the way: the service no longer has it, and has spoken of it, or has heard a later one. */
  _isOver(turn, openTurns, isFollowed) {
    return !openTurns.includes(turn.turnId) && (isFollowed || (turn.complete && turn.framesReceived > 0));
  }

  _sendAgain(turn, { turnId, nextSequenceNumber, openTurns }) {
    const from = turn.turnId === turnId ? nextSequenceNumber : openTurns.includes(turn.turnId) ? Infinity : 0;
    turn.kept.filter((chunk) => chunk.number >= from).forEach((chunk) => this._sendBytes(chunk.message));
    if (turn.complete && from !== Infinity) this._sendInSession({ type: "end_utterance", timestamp: Date.now() });
  }

  _end(message) {
    this._turns.delete(message.turnId);
    if (this._turn?.turnId === message.turnId) this._turn = null;
    this._emit("end", message);
  }

  _onProblem(message) {
    const isOurs = message.sessionId === this.sessionId;
    if (isOurs && message.details?.reason === DRAINING) return this._letGo(DRAINING); // it closes the connection, and the next one leads elsewhere
    if (isOurs && this._resuming) return this._onNotResumed(message.details?.reason ?? null);
    if (isOurs && endsSession(message)) this.newSession(); // what was under way may have opened it again: that ends too
    this._emit("problem", message);
  }

  /** Where another instance speaks a turn of ours, another connection may lead there. */
  _onNotResumed(reason) {
    if (reason === OTHER_INSTANCE && this._callsInVain < MOST_CALLS && [...this._turns.values()].some(isAnswered)) {
      this._callsInVain += 1;
      return this._socket.close(CALL_AGAIN);
    }
    this._letGo(reason);
    this._beginAnew();
  }

  /** The service has the session no more: what it had begun to answer is lost, the other turns wait to begin anew. */
  _letGo(reason) {
    const lost = [...this._turns.values()].filter(isAnswered);
    for (const { turnId } of lost) this._turns.delete(turnId);
    if (lost.includes(this._turn)) this._turn = null;
    this._sessionIsOpen = this._resuming = false;
    if (this._turns.size === 0) this.sessionId = uniqueId(); // kept audio names the session; without any, a remnant elsewhere is never met
    this._moving = true;
    this._callsInVain = 0;
    this._instance = null;
    this._wish = this._model;
    for (const { turnId } of lost) this._emit("lost", { turnId, reason });
  }

  /** All audio that is kept opens the session again, under its id. */
  _beginAnew() {
    this._moving = false;
    const turns = [...this._turns.values()].filter(({ kept }) => kept.length > 0);
    this._sessionIsOpen = turns.length > 0;
    for (const turn of turns) this._sendAgain(turn, NOTHING);
    this._sendWish();
    this._emit("reopened", {});
  }

  _setState(state, { retryInMs = 0, why } = {}) {
    this.state = state;
    this._emit("connection", { state, retryInMs, attempt: this._attempt, why });
  }

  _onMessage(data) {
    this._emit("bytes", { received: data.length ?? data.byteLength });
    const [message, payload] = typeof data === "string" ? [JSON.parse(data), null] : unpackMessage(data);
    if (message.sessionId && message.sessionId !== this.sessionId) return;
    if (message.type === "response_start") this._onStart(message);
    else if (message.type === "response_video") this._emit("frame", this._frame(message, payload));
    else if (message.type === "response_end") this._end(message);
    else if (message.type === "model_switched") this._emit("switch", message);
    else if (message.type === "poster") this._emit("poster", withData(message, payload));
    else if (message.type === "session_resumed") this._onResumed(message);
    else if (message.type === "session_warning") this._emit("warning", message);
    else if (message.type === "error") this._onProblem(message);
  }

  _onStart(message) {
    this._instance = message.instance;
    const ours = this._turns.get(message.turnId);
    if (ours) ours.started = true;
    this._emit("start", message);
  }

  _frame(message, payload) {
    const ours = this._turns.get(message.turnId);
    if (ours) ours.framesReceived = message.sequenceNumber + 1;
    const startedAt = ours?.startedAt ?? message.audioTimestamp;
    return { ...withData(message, payload), mediaMs: message.timestamp - startedAt, audioMs: message.audioTimestamp - startedAt };
  }

  _emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** @returns {boolean} whether a turn cannot begin anew: frames of it came, or its first audio is no longer kept */
function isAnswered({ started, kept }) {
  return started || kept[0]?.number > 0;
}

/** @returns {boolean} whether the service has no such session, or no longer: it could not be opened, failed, or its time was over */
export function endsSession({ recoverable, errorCode }) {
  return recoverable === false || errorCode === "SESSION_LIMIT";
}

/** The picture of a message as bytes, whichever way it came. */
function withData({ frameData, ...message }, payload) {
  return { ...message, data: payload ?? decodeBytes(frameData) };
}
