// @ts-check
/** Sound that the face speaks: samples, files and the microphone. */

import {
  ClipSource,
  MicrophoneSource,
  createAudioContext,
  decodeClip,
  openMicrophone,
} from "./audio-source.js";
import { element, findAll, messageOf } from "./dom.js";
import { hideProblem, showMicrophone, showNote, showProblem } from "./notices.js";

/** @import { AudioSource } from "./audio-source.js" */
/** @import { Conversation } from "./conversation.js" */

/** Problem that is over once the connection is open. */
export class ServiceAway extends Error {}

/** @type {Map<string, Promise<ArrayBuffer>>} by file name */
const samples = new Map();

/**
 * Bytes of a sample, fetched once; a failed fetch is repeated by the next call.
 * @param {string} name
 * @returns {Promise<ArrayBuffer>}
 */
function loadSample(name) {
  const loading = samples.get(name) ?? fetchSample(name);
  samples.set(name, loading);
  loading.catch(() => samples.delete(name));
  return loading;
}

/** @param {string} name */
async function fetchSample(name) {
  // A missing response and a refusal both become the error below.
  const response = await fetch(new URL(`samples/${name}`, import.meta.url)).catch(() => null);
  if (response?.ok) return response.arrayBuffer();
  throw new ServiceAway("The sample could not be loaded: the service is away just now.");
}

/** Sources of sound on the page. */
export class Voice {
  /**
   * @param {Conversation} conversation
   * @param {(context: AudioContext, source: AudioSource, pressedAt: number) => void} begin
   *   starts a turn; throws an Error with words for the visitor
   */
  constructor(conversation, begin) {
    this._conversation = conversation;
    this._begin = begin;
    /** @type {AudioContext | null} */
    this._audio = null;
    /** @type {MicrophoneSource | null} while it is on */
    this._microphone = null;
  }

  /** Open the sound device, which takes 100 ms or more. Browsers refuse before the first press. */
  openAudio() {
    this._audio ??= createAudioContext();
    // Until the first press this stays pending; the turn waits for the state "running".
    void this._audio.resume();
    return this._audio;
  }

  /** Speak a file; one that is dropped before the first press waits for it. @param {File} file */
  speakFile(file) {
    return this._speakClip(() => file.arrayBuffer());
  }

  /** Play the speaker's own voice in time with the picture. @param {boolean} on */
  set monitored(on) {
    if (this._microphone) this._microphone.monitored = on;
  }

  async toggleMicrophone() {
    if (this._microphone) return this._conversation.finish();
    await this._try(async (pressedAt) => {
      const context = this.openAudio();
      const source = await MicrophoneSource.open(context, await openMicrophone());
      source.monitored = element("monitor", HTMLInputElement).checked;
      this._begin(context, source, pressedAt);
      this._microphone = source;
      showMicrophone(true);
    });
  }

  /** To be called when a turn is over. */
  reset() {
    this._microphone = null;
    showMicrophone(false);
    for (const button of findAll(".sample")) button.removeAttribute("aria-current");
  }

  /** Fetch a sample as soon as a pointer or the focus comes near. @param {HTMLElement} button */
  bindSample(button) {
    const name = button.dataset.sample ?? "";
    button.addEventListener("click", () => void this._speakSample(button, name));
    for (const near of ["pointerenter", "focus"]) {
      // A failure is shown when the sample is to be spoken.
      button.addEventListener(near, () => void loadSample(name).catch(() => null));
    }
  }

  /**
   * @param {HTMLElement} button
   * @param {string} name
   */
  async _speakSample(button, name) {
    await this._speakClip(async () => (await loadSample(name)).slice());
    if (this._conversation.state !== "idle") button.setAttribute("aria-current", "true");
  }

  /** @param {() => Promise<ArrayBuffer>} readBytes */
  async _speakClip(readBytes) {
    await this._try(async (pressedAt) => {
      const [context, bytes] = await Promise.all([this._allowedAudio(), readBytes()]);
      this._begin(context, new ClipSource(context, await decodeClip(context, bytes)), pressedAt);
    });
  }

  /** Audio context as soon as the browser may play. */
  async _allowedAudio() {
    // Not every browser reports presses, which its type does not say.
    const { userActivation } = /** @type {Partial<Navigator>} */ (navigator);
    if (!(userActivation?.hasBeenActive ?? true)) {
      showNote("Press anywhere to hear it.");
      await new Promise((resolve) => addEventListener("click", resolve, { once: true }));
    }
    return this.openAudio();
  }

  /** Show what fails. @param {(pressedAt: number) => Promise<void>} speak */
  async _try(speak) {
    const pressedAt = performance.now();
    hideProblem();
    try {
      await speak(pressedAt);
    } catch (error) {
      showProblem(messageOf(error), error instanceof ServiceAway);
    }
  }
}
