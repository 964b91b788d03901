// @ts-check
/**
 * Messages of `GET /v1/ws` with the subprotocol `lipsync.binary.v1`: types and framing.
 *
 * A message is JSON text, or binary: 4 bytes with the header's length (big endian), the header as
 * JSON, and the payload. docs/protocol.md describes every field. Times are in milliseconds.
 */

/** Subprotocol in which chunks and pictures travel as bytes. */
export const BINARY_SUBPROTOCOL = "lipsync.binary.v1";

/**
 * @typedef {"jpeg" | "h264"} Format
 *
 * @typedef {object} PictureConfig the wire's `config`
 * @property {number} [targetFps] frames per second, 15 to 25
 * @property {{width: number, height: number}} [resolution] pixels
 * @property {Format} [format]
 * @property {number} [quality] 0 to 100
 *
 * @typedef {object} StartMessage
 * @property {"response_start"} type
 * @property {string} sessionId
 * @property {string} turnId
 * @property {string} model
 * @property {string} [weights] set where the model's weights are random ones, for tests
 * @property {string} instance id of the process that has the session
 *
 * @typedef {object} VideoMessage
 * @property {"response_video"} type
 * @property {string} sessionId
 * @property {string} turnId
 * @property {string} [frameData] base64, in JSON text only
 * @property {number} sequenceNumber
 * @property {number} timestamp presentation timestamp on the client's clock
 * @property {number} audioTimestamp time of the sound that the frame belongs to
 * @property {Format} format
 * @property {boolean} isKeyframe
 * @property {number} width pixels
 * @property {number} height pixels
 * @property {string} model
 *
 * @typedef {object} EndMessage
 * @property {"response_end"} [type]
 * @property {string} turnId
 * @property {Record<string, unknown> | null} metrics
 * @property {boolean} [interrupted]
 *
 * @typedef {object} SwitchMessage
 * @property {"model_switched"} type
 * @property {string} from
 * @property {string} to
 * @property {string} reason
 * @property {string} [weights]
 *
 * @typedef {object} PosterMessage
 * @property {"poster"} type
 * @property {string} faceModelId
 * @property {string} [frameData] base64, in JSON text only
 * @property {string} format
 * @property {number} width pixels
 * @property {number} height pixels
 *
 * @typedef {object} ResumedMessage
 * @property {"session_resumed"} type
 * @property {string | null} turnId turn that `nextSequenceNumber` counts the chunks of
 * @property {number} nextSequenceNumber first chunk that the service does not have
 * @property {string[]} openTurns turns that the service has not ended
 *
 * @typedef {object} WarningMessage
 * @property {"session_warning"} type
 * @property {string} reason
 * @property {number} secondsLeft
 *
 * @typedef {object} Problem error of the service, or of the page itself
 * @property {string} errorCode
 * @property {string} errorMessage
 * @property {string | null} [sessionId]
 * @property {boolean} [recoverable]
 * @property {{reason?: string} | null} [details]
 *
 * @typedef {Problem & {type: "error"}} ErrorMessage
 *
 * @typedef {(StartMessage | VideoMessage | EndMessage & {type: "response_end"} | SwitchMessage
 *   | PosterMessage | ResumedMessage | WarningMessage | ErrorMessage) & {sessionId?: string | null}
 * } ServerMessage
 */

/**
 * Random id of 32 hexadecimal digits, with hyphens where the browser's own generator makes it.
 *
 * `crypto.randomUUID` exists in secure contexts only.
 * @returns {string}
 */
export function uniqueId() {
  if ("randomUUID" in crypto) return crypto.randomUUID();
  const bytes = /** @type {Crypto} */ (crypto).getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Bytes of samples, little endian on every machine.
 * @param {Int16Array} samples
 * @returns {Uint8Array}
 */
export function littleEndian(samples) {
  const bytes = new Uint8Array(samples.length * 2);
  const view = new DataView(bytes.buffer);
  samples.forEach((sample, index) => view.setInt16(index * 2, sample, true));
  return bytes;
}

/**
 * Binary message of a header and a payload.
 * @param {object} header
 * @param {Uint8Array} payload
 * @returns {Uint8Array<ArrayBuffer>} 4 bytes of the header's length, the header, the payload
 */
export function packMessage(header, payload) {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const message = new Uint8Array(4 + text.length + payload.length);
  new DataView(message.buffer).setUint32(0, text.length);
  message.set(text, 4);
  message.set(payload, 4 + text.length);
  return message;
}

/**
 * Header and payload of a binary message.
 * @param {ArrayBuffer} buffer
 * @returns {[object, Uint8Array<ArrayBuffer>]}
 */
export function unpackMessage(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const header = new TextDecoder().decode(new Uint8Array(buffer, 4, length));
  return [/** @type {object} */ (JSON.parse(header)), new Uint8Array(buffer, 4 + length)];
}

/**
 * A message as it arrived, text or binary.
 * @param {string | ArrayBuffer} data
 * @returns {[ServerMessage, Uint8Array<ArrayBuffer> | null]} the payload is null in text
 */
export function readMessage(data) {
  if (typeof data === "string") return [/** @type {ServerMessage} */ (JSON.parse(data)), null];
  const [header, payload] = unpackMessage(data);
  return [/** @type {ServerMessage} */ (header), payload];
}

/**
 * Picture of a message as bytes, whichever way it arrived.
 * @template {{frameData?: string}} Message
 * @param {Message} message
 * @param {Uint8Array<ArrayBuffer> | null} payload
 * @returns {Omit<Message, "frameData"> & {data: Uint8Array<ArrayBuffer>}}
 */
export function withPicture({ frameData, ...message }, payload) {
  return { ...message, data: payload ?? decodeBase64(frameData ?? "") };
}

/**
 * @param {string} base64
 * @returns {Uint8Array<ArrayBuffer>}
 */
function decodeBase64(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/**
 * True where the service does not have the session any more: it could not be opened, failed, or
 * reached its time limit.
 * @param {Problem} problem
 * @returns {boolean}
 */
export function endsSession({ recoverable, errorCode }) {
  return recoverable === false || errorCode === "SESSION_LIMIT";
}
