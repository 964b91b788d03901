// @ts-check
/**
 * One WebSocket at a time, opened again with back-off whenever it was lost, until `close()`.
 */

import { BINARY_SUBPROTOCOL, uniqueId } from "./messages.js";

/** @import { Problem } from "./messages.js" */

/**
 * @typedef {"connecting" | "open" | "waiting" | "closed"} ConnectionState
 *
 * @typedef {object} ConnectionDetail
 * @property {ConnectionState} state
 * @property {number} retryInMs wait before the next attempt, where the state is "waiting"
 * @property {number} attempt attempts since the connection was last open
 * @property {string} [why] reason of "closed"
 *
 * @typedef {object} ConnectionHooks
 * @property {(detail: ConnectionDetail) => void} onState
 * @property {(data: string | ArrayBuffer) => void} onMessage
 * @property {(code: number) => boolean} onLost before the state changes; receives the close code
 *   and returns true for a first attempt without a wait
 * @property {(problem: Problem) => void} onRefused the service does not accept the token
 */

const FIRST_RETRY_MS = 250;
const MAX_RETRY_MS = 5000;

/** Unsent bytes above which a socket is slower than real time: about 10 s of 48 kHz speech. */
const MAX_UNSENT_BYTES = 1_000_000;

/** Close code of a connection given up for another one; all but 1000 keep the sessions waiting. */
const CLOSE_TO_RETRY = 4000;

/** Statuses that another attempt does not change: the token is missing, unknown or expired. */
const REFUSALS = [401, 403];

/** Connection to the service that is opened again when it was lost. */
export class Connection {
  /**
   * @param {string | URL} url `ws://` or `wss://` address of `/v1/ws`
   * @param {string} token empty where the service needs none
   * @param {ConnectionHooks} hooks
   */
  constructor(url, token, hooks) {
    this._url = new URL(url);
    if (token) this._url.searchParams.set("access_token", token);
    // A gateway that routes by this key sends every connection of this client to one instance.
    this._url.searchParams.set("route", uniqueId().replaceAll("-", ""));
    this._hooks = hooks;
    /** @type {ConnectionState} */
    this.state = "closed";
    /** @type {WebSocket | null} */
    this._socket = null;
    this._attempt = 0;
    this._retryTimer = 0;
  }

  get isOpen() {
    return this.state === "open";
  }

  /** Backpressure: true while too much waits to be sent. */
  get isCongested() {
    return this._socket !== null && this._socket.bufferedAmount > MAX_UNSENT_BYTES;
  }

  /** Open the socket at once, also in the middle of a wait. */
  open() {
    clearTimeout(this._retryTimer);
    if (this._socket) return;
    this._setState("connecting");
    const socket = new WebSocket(this._url, [BINARY_SUBPROTOCOL]);
    socket.binaryType = "arraybuffer";
    this._socket = socket;
    socket.onopen = () => this._onOpen();
    socket.onmessage = (event) => {
      const data = /** @type {string | ArrayBuffer} */ (event.data);
      if (socket === this._socket) this._hooks.onMessage(data);
    };
    socket.onclose = ({ code }) => this._onClose(socket, code);
  }

  /**
   * Close for good.
   * @param {string} [why] passed on with the state
   */
  close(why) {
    clearTimeout(this._retryTimer);
    const socket = this._socket;
    this._socket = null;
    socket?.close(1000);
    this._setState("closed", { why });
  }

  /** Give this socket up for another one, which a gateway may lead to another instance. */
  retry() {
    this._socket?.close(CLOSE_TO_RETRY);
  }

  /**
   * @param {string | Uint8Array<ArrayBuffer>} data
   * @returns {boolean} false where the socket is not open; the data is then not sent
   */
  send(data) {
    if (this._socket?.readyState !== WebSocket.OPEN) return false;
    this._socket.send(data);
    return true;
  }

  _onOpen() {
    this._attempt = 0;
    this._setState("open");
  }

  /**
   * @param {WebSocket} socket
   * @param {number} code
   */
  _onClose(socket, code) {
    if (socket !== this._socket) return;
    const wasOpen = this.isOpen;
    this._socket = null;
    const atOnce = this._hooks.onLost(code) && this._attempt === 0;
    const backOffMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** this._attempt);
    const retryInMs = atOnce ? 0 : backOffMs;
    this._attempt += 1;
    this._retryTimer = setTimeout(() => this.open(), retryInMs);
    this._setState("waiting", { retryInMs });
    if (!wasOpen) void this._checkRefusal();
  }

  /** Distinguish a refused token from a service that is away: a WebSocket reports neither. */
  async _checkRefusal() {
    const address = new URL("models", this._url);
    address.protocol = this._url.protocol === "wss:" ? "https:" : "http:";
    address.search = this._url.search;
    // A service that is away is no refusal; the next attempt is scheduled already.
    const response = await fetch(address).catch(() => null);
    if (!response || !REFUSALS.includes(response.status)) return;
    if (this.isOpen || this.state === "closed") return;
    this._hooks.onRefused(await problemOf(response));
  }

  /**
   * @param {ConnectionState} state
   * @param {{retryInMs?: number, why?: string}} [more]
   */
  _setState(state, { retryInMs = 0, why } = {}) {
    this.state = state;
    this._hooks.onState({ state, retryInMs, attempt: this._attempt, why });
  }
}

/**
 * Body of a refusal; a gateway's may not be JSON.
 * @param {Response} response
 * @returns {Promise<Problem>}
 */
async function problemOf(response) {
  const unnamed = { errorCode: "UNAUTHORIZED", errorMessage: "the service refuses this client" };
  return /** @type {Promise<Problem>} */ (response.json()).catch(() => unnamed);
}
