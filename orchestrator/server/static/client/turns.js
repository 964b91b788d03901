// @ts-check
/**
 * Bookkeeping of the turns that are not over, and replay buffer of their audio.
 *
 * Audio is kept so that a session can go on, or begin anew, after a lost connection.
 */

import { littleEndian, packMessage } from "./messages.js";

/** @import { PictureConfig, ResumedMessage } from "./messages.js" */

/**
 * @typedef {object} TurnOptions
 * @property {string} userId
 * @property {string} faceModelId
 * @property {number} sampleRate Hz of the mono samples to come, 8000 to 48000
 * @property {PictureConfig} [config]
 * @property {string} [modelPreference] a model's wire name
 *
 * @typedef {object} KeptChunk
 * @property {number} number sequence number in its turn
 * @property {Uint8Array<ArrayBuffer>} message as it is sent
 * @property {number} samples
 *
 * @typedef {Pick<ResumedMessage, "turnId" | "nextSequenceNumber" | "openTurns">} Standing
 *   of a session at the service
 */

/** Replay buffer per turn: as much audio as the service lets wait. */
const MAX_KEPT_MS = 30_000;

/** Standing of a session that the service does not have. */
export const UNKNOWN_SESSION = Object.freeze({
  turnId: null,
  nextSequenceNumber: 0,
  openTurns: [],
});

/** One turn: what was sent of it and what came back. */
export class Turn {
  /**
   * @param {string} turnId
   * @param {TurnOptions} options
   */
  constructor(turnId, options) {
    this.turnId = turnId;
    this.options = options;
    /** Clock time of the first sample, milliseconds; the service counts from there. */
    this.startedAt = Date.now();
    this.framesReceived = 0;
    this.started = false;
    this.complete = false;
    /** @type {KeptChunk[]} */
    this._kept = [];
    this._keptSamples = 0;
    this._chunksSent = 0;
    this._samplesSent = 0;
  }

  /** True where the turn cannot begin anew: frames of it came, or its first chunk was evicted. */
  get isAnswered() {
    return this.started || (this._kept.at(0)?.number ?? 0) > 0;
  }

  get hasAudio() {
    return this._kept.length > 0;
  }

  /**
   * Keep the next chunk, and evict the oldest ones beyond `MAX_KEPT_MS`.
   * @param {string} sessionId
   * @param {Int16Array} samples
   * @returns {Uint8Array<ArrayBuffer>} the chunk's message
   */
  keep(sessionId, samples) {
    const message = packMessage(this._header(sessionId), littleEndian(samples));
    this._kept.push({ number: this._chunksSent, message, samples: samples.length });
    this._keptSamples += samples.length;
    this._chunksSent += 1;
    this._samplesSent += samples.length;
    while ((this._keptSamples * 1000) / this.options.sampleRate > MAX_KEPT_MS) {
      this._keptSamples -= this._kept.shift()?.samples ?? 0;
    }
    return message;
  }

  /**
   * Number of the first chunk to be sent again.
   * @param {Standing} standing
   * @returns {number} Infinity where the service has the whole turn
   */
  firstMissing({ turnId, nextSequenceNumber, openTurns }) {
    if (this.turnId === turnId) return nextSequenceNumber;
    return openTurns.includes(this.turnId) ? Infinity : 0;
  }

  /**
   * Messages of the kept chunks from one number on.
   * @param {number} number
   * @returns {Uint8Array<ArrayBuffer>[]}
   */
  messagesFrom(number) {
    return this._kept.filter((chunk) => chunk.number >= number).map(({ message }) => message);
  }

  /**
   * @param {string} sessionId
   * @returns {object}
   */
  _header(sessionId) {
    const { userId, faceModelId, config, modelPreference } = this.options;
    const names = { sessionId, userId, faceModelId, turnId: this.turnId };
    const header = { type: "lipsync_audio", ...names, audioChunk: this._audioChunk() };
    if (this._chunksSent > 0) return header;
    return {
      ...header,
      ...(config ? { config } : {}),
      ...(modelPreference ? { modelPreference } : {}),
    };
  }

  _audioChunk() {
    const { sampleRate } = this.options;
    return {
      timestamp: Math.round(this.startedAt + (this._samplesSent * 1000) / sampleRate),
      sequenceNumber: this._chunksSent,
      sampleRate,
      channels: 1,
      format: "pcm",
    };
  }
}

/** Turns of one session that are not over, oldest first. */
export class Turns {
  constructor() {
    /** Turns that the session began. */
    this.count = 0;
    /** @type {Turn | null} turn that audio goes to */
    this.current = null;
    /** @type {Map<string, Turn>} */
    this._open = new Map();
  }

  get all() {
    return [...this._open.values()];
  }

  get size() {
    return this._open.size;
  }

  /** @param {string} turnId */
  get(turnId) {
    return this._open.get(turnId);
  }

  /**
   * @param {TurnOptions} options
   * @returns {Turn}
   */
  begin(options) {
    this.count += 1;
    this.current = new Turn(`turn-${String(this.count).padStart(3, "0")}`, options);
    this._open.set(this.current.turnId, this.current);
    return this.current;
  }

  /** @param {string} turnId */
  end(turnId) {
    this._open.delete(turnId);
    if (this.current?.turnId === turnId) this.current = null;
  }

  forget() {
    this.current = null;
    this._open.clear();
  }

  /** Forget the turns that cannot begin anew. @returns {Turn[]} */
  endAnswered() {
    const answered = this.all.filter((turn) => turn.isAnswered);
    for (const { turnId } of answered) this.end(turnId);
    return answered;
  }

  /**
   * Turns to go on with in a resumed session, and turns whose end was lost with the connection.
   * @param {ResumedMessage} standing
   * @returns {{over: Turn[], unfinished: Turn[]}}
   */
  sorted({ turnId, openTurns }) {
    const turns = this.all;
    const newest = turns.findIndex((turn) => turn.turnId === turnId);
    const over = turns.filter((turn, index) => isOver(turn, openTurns, index < newest));
    const unfinished = turns.filter((turn, index) => index >= newest && !over.includes(turn));
    return { over, unfinished };
  }
}

/**
 * True for a turn that the service no longer has, and has answered, or has a later one of.
 * @param {Turn} turn
 * @param {string[]} openTurns
 * @param {boolean} isFollowed
 */
function isOver(turn, openTurns, isFollowed) {
  if (openTurns.includes(turn.turnId)) return false;
  return isFollowed || (turn.complete && turn.framesReceived > 0);
}
