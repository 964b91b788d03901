// @ts-check
/**
 * Types of the client's events, and of an EventTarget whose events carry a typed `detail`.
 */

/** @import { ConnectionDetail } from "./connection.js" */
/** @import * as Wire from "./messages.js" */

/**
 * @typedef {Uint8Array<ArrayBuffer>} Bytes
 *
 * @typedef {Omit<Wire.VideoMessage, "frameData">
 *   & {data: Bytes, mediaMs: number, audioMs: number}} Frame
 *
 * @typedef {Omit<Wire.PosterMessage, "frameData"> & {data: Bytes}} Poster
 *
 * @typedef {object} ClientEvents
 * @property {ConnectionDetail} connection
 * @property {Poster} poster
 * @property {Wire.StartMessage} start
 * @property {Frame} frame
 * @property {Wire.EndMessage} end
 * @property {Wire.SwitchMessage} switch
 * @property {Wire.ResumedMessage} resumed
 * @property {object} reopened
 * @property {{turnId: string, reason: string | null}} lost
 * @property {Wire.WarningMessage} warning
 * @property {Wire.Problem} problem
 * @property {{received: number}} bytes
 *
 * @typedef {<Name extends keyof ClientEvents>(type: Name, detail: ClientEvents[Name]) => void} Emit
 */

/**
 * @template {object} Details by event name
 * @typedef {Omit<EventTarget, "addEventListener" | "removeEventListener"> & {
 *   addEventListener<Name extends keyof Details>(
 *     type: Name,
 *     listener: (event: CustomEvent<Details[Name]>) => void,
 *     options?: boolean | AddEventListenerOptions,
 *   ): void,
 *   removeEventListener<Name extends keyof Details>(
 *     type: Name,
 *     listener: (event: CustomEvent<Details[Name]>) => void,
 *     options?: boolean | EventListenerOptions,
 *   ): void,
 * }} TypedEventTarget
 */

export {};
