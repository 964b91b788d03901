// @ts-check
/** Words for the visitor: problems, notes, the state of connection and turn, the model's name. */

import { element, find } from "./dom.js";

/** @import { ConnectionDetail } from "./client/connection.js" */
/** @import { Frame } from "./client/events.js" */
/** @import { SwitchMessage } from "./client/messages.js" */
/** @import { TurnState } from "./stats.js" */

const NOTE_STAYS_MS = 6000;

/** @type {Record<TurnState, string>} */
const STATE_WORDS = {
  idle: "Ready",
  starting: "One moment",
  speaking: "Speaking",
  listening: "Listening",
};

/** @type {Record<string, (from: string, to: string) => string>} */
const SWITCH_WORDS = {
  RECOVERED: (_from, to) => `${to} is back and draws again`,
  REQUESTED: (_from, to) => `${to} draws now, as asked`,
  TIMEOUT: (from, to) => `${from} took too long; ${to} draws until it is back`,
  FACE_PREPARED: (_from, to) => `${to} has learnt the face and draws now`,
  NOT_READY: (from, to) => `${from} is not ready; ${to} draws until it is`,
};

/** True where the problem on screen is over once the connection is open. */
let problemIsPassing = false;

/** @type {ReturnType<typeof setTimeout> | undefined} */
let noteTimer;

/** @type {Map<string, string | undefined>} remark on a model's weights, where they are random */
const weightsRemarks = new Map();

/**
 * @param {string} words
 * @param {boolean} [isPassing] true where it is over once the connection is open
 */
export function showProblem(words, isPassing = false) {
  problemIsPassing = isPassing;
  find(element("problem"), "p").textContent = words;
  element("problem").hidden = false;
}

export function hideProblem() {
  element("problem").hidden = true;
}

/** @param {string} words shown for some seconds */
export function showNote(words) {
  clearTimeout(noteTimer);
  element("note").textContent = words;
  element("note").hidden = false;
  noteTimer = setTimeout(() => (element("note").hidden = true), NOTE_STAYS_MS);
}

/** @param {TurnState} state */
export function showState(state) {
  element("frame").dataset.state = state;
  find(element("state"), "span").textContent = STATE_WORDS[state];
  element("stop", HTMLButtonElement).disabled = state === "idle";
}

/** @param {boolean} on the microphone's state */
export function showMicrophone(on) {
  element("microphone").setAttribute("aria-pressed", String(on));
  find(element("microphone"), "span").textContent = on ? "Done speaking" : "Speak";
}

/**
 * Show the connection's state; an open one hides a passing problem.
 * @param {ConnectionDetail} detail
 */
export function showConnection({ state, retryInMs }) {
  const seconds = Math.max(1, Math.round(retryInMs / 1000));
  const words = {
    open: "Connected",
    connecting: "Connecting",
    closed: "Closed",
    waiting: `Away, next try in ${seconds} s`,
  };
  element("connection").dataset.state = state;
  find(element("connection"), "span").textContent = words[state];
  if (state === "open" && problemIsPassing) hideProblem();
}

/** @param {{model: string, weights?: string}} message names a model */
export function noteWeights({ model, weights }) {
  weightsRemarks.set(model, weights);
}

/** Show how a frame was made. @param {Frame} frame */
export function showMade({ model, width, format }) {
  const name = [model, weightsRemarks.get(model)].filter(Boolean).join(" ");
  const coding = format === "h264" ? "H.264" : "JPEG";
  element("made").textContent = `${name} · ${width} px · ${coding}`;
}

/** @param {SwitchMessage} message */
export function showSwitch({ from, to, reason, weights }) {
  noteWeights({ model: to, weights });
  const words = SWITCH_WORDS[reason] ?? (() => `${from} failed; ${to} draws until it is back`);
  showNote(words(from, to));
}

/**
 * Show code that speaks with this service.
 * @param {URL} socketUrl
 */
export function showSnippet(socketUrl) {
  const moduleUrl = new URL("client.js", import.meta.url).href;
  element("snippet").textContent = `import { LipSyncClient } from "${moduleUrl}";

const client = new LipSyncClient("${socketUrl.href}");
client.addEventListener("frame", ({ detail }) => show(detail.data, detail.mediaMs));
await client.connect();
client.beginTurn({ userId: "demo", faceModelId: "demo", sampleRate: 16000 });
client.sendAudio(samples);   // Int16Array, about 100 ms each, as your text-to-speech emits them
client.endUtterance();`;
}
