/**
 * The wire of the lip-sync service, and nothing else: audio chunks in, coded video frames out.
 *
 * No page, no playback and no decoding in here, so a voice agent's front end can take this file as it is.
 * Messages are the JSON text of `GET /v1/ws`; see docs/protocol.md.
 *
 *     const client = new LipSyncClient("ws://localhost:8080/v1/ws");
 *     client.addEventListener("frame", ({ detail }) => show(detail.data, detail.mediaMs));
 *     client.connect();
 *     client.beginTurn({ userId: "demo", faceModelId: "demo", sampleRate: 16000 });
 *     client.sendAudio(samples);        // Int16Array, about 100 ms each, as your speech engine emits them
 *     client.endUtterance();            // the tail is flushed, then "end" arrives
 *
 * Events (all carry `detail`):
 *   connection  {state: "connecting" | "open" | "waiting" | "closed", retryInMs, attempt}
 *   start       {turnId, model}                    first answer to a turn
 *   frame       {turnId, data, mediaMs, sequenceNumber, timestamp, audioTimestamp, format, isKeyframe, width, height, model}
 *   end         {turnId, metrics}                  every frame of the turn has been sent
 *   switch      {from, to, reason}                 another model took over in mid-stream
 *   problem     {errorCode, errorMessage, recoverable, details}
 *   bytes       {received}                         size of each message that came in
 */

const RETRY_FIRST_MS = 500;
const RETRY_LAST_MS = 5000;

/** Unsent bytes above which a socket cannot keep up with real time: about ten seconds of 48 kHz speech. */
const MAX_UNSENT_BYTES = 1_300_000;

/** Used where the page is not a secure context and `crypto.randomUUID` is therefore missing. */
export function uniqueId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {Int16Array} samples @returns {string} little-endian bytes as base64 */
function encodeSamples(samples) {
  const bytes = new Uint8Array(samples.length * 2);
  const view = new DataView(bytes.buffer);
  samples.forEach((sample, index) => view.setInt16(index * 2, sample, true));
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

/** @param {string} base64 @returns {Uint8Array} */
function decodeBytes(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) bytes[index] = text.charCodeAt(index);
  return bytes;
}

export class LipSyncClient extends EventTarget {
  /** @param {string | URL} url `ws://` or `wss://` address of `/v1/ws` */
  constructor(url) {
    super();
    this.url = String(url);
    this.sessionId = uniqueId();
    this._sessionIsOpen = false;
    this.state = "closed";
    this._socket = null;
    this._turn = null;
    this._turnCount = 0;
    this._attempt = 0;
    this._retryTimer = 0;
  }

  /** Opens the socket and keeps reopening it, with back-off, until `close()`. */
  connect() {
    clearTimeout(this._retryTimer);
    if (this._socket) return;
    this._setState("connecting");
    const socket = new WebSocket(this.url);
    this._socket = socket;
    socket.onopen = () => this._onOpen();
    socket.onmessage = (event) => this._onMessage(event.data);
    socket.onclose = () => this._onClose(socket);
  }

  /** Ends the session and the connection for good. */
  close() {
    clearTimeout(this._retryTimer);
    const socket = this._socket;
    this._sendInSession({ type: "end_session" });
    this._socket = null;
    this._turn = null;
    socket?.close();
    this._setState("closed");
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
    const turnId = `turn-${String(this._turnCount).padStart(3, "0")}`;
    this._turn = { ...options, turnId, startedAt: Date.now(), samplesSent: 0, chunksSent: 0 };
    return turnId;
  }

  /**
   * Sends one chunk, 10 ms to 2 s of mono samples.
   * @param {Int16Array} samples
   * @returns {boolean} false when there is no open turn or the connection cannot keep up; the samples are then lost
   */
  sendAudio(samples) {
    const turn = this._turn;
    if (!turn || !this.connected || this._socket.bufferedAmount > MAX_UNSENT_BYTES) return false;
    const sent = this._send({ ...this._audioHeader(turn), audioChunk: this._audioChunk(turn, samples) });
    this._sessionIsOpen ||= sent;
    turn.chunksSent += 1;
    turn.samplesSent += samples.length;
    return sent;
  }

  /** Says that the turn has no more audio: the service flushes its tail. */
  endUtterance() {
    if (this._turn) this._sendInSession({ type: "end_utterance", timestamp: Date.now() });
  }

  /** Drops everything the service still has queued for the current turn. */
  interrupt() {
    if (!this._turn) return;
    this._sendInSession({ type: "interruption", timestamp: Date.now(), turnIndex: this._turnCount });
    this._turn = null;
  }

  /** @param {string} model a model's wire name, such as `tpsm` or `static` */
  switchModel(model) {
    this._sendInSession({ type: "switch_model", model });
  }

  /** @param {{avOffsetMs?: number, bandwidthKbps?: number, packetLossPercent?: number}} report measured by the viewer; offset > 0: picture ahead */
  report(report) {
    this._sendInSession({ type: "client_report", ...report });
  }

  /** Leaves the session and goes on under a fresh id: for another face, picture size or format. */
  newSession() {
    this._sendInSession({ type: "end_session" });
    this._startSession();
  }

  _startSession() {
    this.sessionId = uniqueId();
    this._sessionIsOpen = false;
    this._turn = null;
    this._turnCount = 0;
  }

  _audioHeader(turn) {
    const header = { type: "lipsync_audio", userId: turn.userId, faceModelId: turn.faceModelId, turnId: turn.turnId };
    if (turn.chunksSent > 0) return header;
    if (turn.config) header.config = turn.config;
    if (turn.modelPreference) header.modelPreference = turn.modelPreference;
    return header;
  }

  _audioChunk(turn, samples) {
    return {
      data: encodeSamples(samples),
      timestamp: Math.round(turn.startedAt + (turn.samplesSent * 1000) / turn.sampleRate),
      sequenceNumber: turn.chunksSent,
      sampleRate: turn.sampleRate,
      channels: 1,
      format: "pcm",
    };
  }

  /** The first chunk opens a session; the service knows nothing to end, interrupt or report on before it. */
  _sendInSession(message) {
    if (this._sessionIsOpen) this._send(message);
  }

  _send(message) {
    if (this._socket?.readyState !== WebSocket.OPEN) return false;
    this._socket.send(JSON.stringify({ sessionId: this.sessionId, ...message }));
    return true;
  }

  _onOpen() {
    this._attempt = 0;
    this._startSession();
    this._setState("open");
  }

  _onClose(socket) {
    if (socket !== this._socket) return;
    this._socket = null;
    this._turn = null;
    const retryInMs = Math.min(RETRY_LAST_MS, RETRY_FIRST_MS * 2 ** this._attempt);
    this._attempt += 1;
    this._retryTimer = setTimeout(() => this.connect(), retryInMs);
    this._setState("waiting", retryInMs);
  }

  _setState(state, retryInMs = 0) {
    this.state = state;
    this._emit("connection", { state, retryInMs, attempt: this._attempt });
  }

  _onMessage(text) {
    this._emit("bytes", { received: text.length });
    const message = JSON.parse(text);
    if (message.sessionId && message.sessionId !== this.sessionId) return;
    if (message.type === "response_start") this._emit("start", message);
    else if (message.type === "response_video") this._emit("frame", this._frame(message));
    else if (message.type === "response_end") this._emit("end", message);
    else if (message.type === "model_switched") this._emit("switch", message);
    else if (message.type === "error") this._emit("problem", message);
  }

  _frame(message) {
    const { frameData, ...frame } = message;
    const startedAt = this._turn?.startedAt ?? message.audioTimestamp;
    return { ...frame, data: decodeBytes(frameData), mediaMs: message.audioTimestamp - startedAt };
  }

  _emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
