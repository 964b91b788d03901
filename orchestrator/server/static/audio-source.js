// @ts-check
/**
 * Sources of a turn's sound: a clip (sample or dropped file) or the microphone, as 100 ms chunks of
 * mono PCM.
 *
 * Both have the same interface: `kind`, `sampleRate`, `start(onChunk, onEnd)`,
 * `playAt(contextTime)`, which makes sample 0 heard at an AudioContext time, `finish()` (no more
 * sound, keep what was said), `stop()`, and `output`, the node for a level meter.
 */

import { messageOf } from "./dom.js";

/** @typedef {(samples: Int16Array) => void} OnChunk */
/** @typedef {ClipSource | MicrophoneSource} AudioSource */

const CHUNK_S = 0.1;

/** Lead of a clip over real time; the service buffers and paces. Small: a stop wastes little. */
const CLIP_LEAD_MS = 1000;

/** Longest clip: decoded sound is held in memory, 23 MB a minute in stereo at 48 kHz. */
const MAX_CLIP_S = 300;

/** Longest delay of the microphone's monitor. */
const MAX_MONITOR_DELAY_S = 5;

/** Hz; the highest rate that the service accepts. */
const MAX_SAMPLE_RATE = 48000;

/**
 * AudioContext whose rate the service accepts. Call it from a click, or the browser keeps it
 * silent.
 * @returns {AudioContext}
 */
export function createAudioContext() {
  const context = new AudioContext({ latencyHint: "interactive" });
  if (context.sampleRate <= MAX_SAMPLE_RATE) return context;
  void context.close();
  return new AudioContext({ latencyHint: "interactive", sampleRate: MAX_SAMPLE_RATE });
}

/**
 * @param {Float32Array} samples full scale 1.0
 * @returns {Int16Array} clipped
 */
export function toInt16(samples) {
  return Int16Array.from(samples, (value) =>
    Math.max(-32768, Math.min(32767, Math.round(value * 32767))),
  );
}

/**
 * @param {AudioBuffer} buffer
 * @returns {Float32Array} mean of its channels
 */
export function toMono(buffer) {
  const mono = buffer.getChannelData(0).slice();
  for (let channel = 1; channel < buffer.numberOfChannels; channel++) {
    buffer.getChannelData(channel).forEach((value, index) => (mono[index] += value));
  }
  const channels = buffer.numberOfChannels;
  return channels === 1 ? mono : mono.map((value) => value / channels);
}

/**
 * Decode anything that the browser can.
 * @param {AudioContext} context
 * @param {ArrayBuffer} bytes
 * @returns {Promise<AudioBuffer>}
 * @throws {Error} with words for the visitor
 */
export async function decodeClip(context, bytes) {
  const buffer = await context.decodeAudioData(bytes).catch((/** @type {unknown} */ cause) => {
    const words = "This browser cannot read that file as sound. Try a WAV, MP3, Ogg or M4A file.";
    throw new Error(words, { cause });
  });
  if (buffer.duration > MAX_CLIP_S) {
    throw new Error("That recording is longer than five minutes. Choose a shorter one.");
  }
  if (buffer.duration < CHUNK_S) {
    throw new Error("That recording holds less than a tenth of a second of sound.");
  }
  return buffer;
}

/** Sound of a decoded file. */
export class ClipSource {
  /** @type {"clip"} */
  kind = "clip";

  /**
   * @param {AudioContext} context
   * @param {AudioBuffer} buffer
   */
  constructor(context, buffer) {
    this.sampleRate = buffer.sampleRate;
    this.durationMs = buffer.duration * 1000;
    this.output = context.createGain();
    this.output.connect(context.destination);
    this._player = new AudioBufferSourceNode(context, { buffer });
    this._player.connect(this.output);
    this._samples = toInt16(toMono(buffer));
    this._timer = 0;
  }

  /**
   * Send one second ahead at once, then keep that lead.
   * @param {OnChunk} onChunk
   * @param {() => void} onEnd
   */
  start(onChunk, onEnd) {
    const length = Math.round(this.sampleRate * CHUNK_S);
    const startedAt = performance.now();
    let sent = 0;
    const send = () => {
      const allowedMs = performance.now() - startedAt + CLIP_LEAD_MS;
      while (sent < this._samples.length && (sent / this.sampleRate) * 1000 < allowedMs) {
        onChunk(this._samples.subarray(sent, sent + length));
        sent += length;
      }
      if (sent < this._samples.length) return;
      clearInterval(this._timer);
      onEnd();
    };
    this._timer = setInterval(send, CHUNK_S * 500);
    send();
  }

  /** @param {number} contextTime seconds */
  playAt(contextTime) {
    this._player.start(contextTime);
  }

  finish() {}

  stop() {
    clearInterval(this._timer);
    this._player.disconnect();
    this.output.disconnect();
  }
}

/**
 * Request the microphone.
 * @returns {Promise<MediaStream>}
 * @throws {Error} with words for the visitor
 */
export async function openMicrophone() {
  // Missing outside secure contexts, which its type does not say.
  const devices = /** @type {MediaDevices | undefined} */ (navigator.mediaDevices);
  if (!devices) throw new Error("The microphone needs https:// or localhost.");
  const cleaned = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  try {
    return await devices.getUserMedia({ audio: { channelCount: 1, ...cleaned } });
  } catch (error) {
    throw new Error(microphoneObstacle(error), { cause: error });
  }
}

/** @param {unknown} error of `getUserMedia` */
function microphoneObstacle(error) {
  const name = error instanceof Error ? error.name : "";
  if (name === "NotAllowedError") {
    return "The microphone is blocked. Allow it in the address bar, then try again.";
  }
  if (name === "NotFoundError") return "No microphone was found on this machine.";
  return `The microphone could not be opened (${messageOf(error)}).`;
}

/** Sound of the microphone. */
export class MicrophoneSource {
  /** @type {"microphone"} */
  kind = "microphone";

  /**
   * @param {AudioContext} context
   * @param {MediaStream} stream
   * @returns {Promise<MicrophoneSource>}
   */
  static async open(context, stream) {
    await context.audioWorklet.addModule(new URL("mic-worklet.js", import.meta.url));
    return new MicrophoneSource(context, stream);
  }

  /**
   * @param {AudioContext} context with the worklet's module
   * @param {MediaStream} stream
   */
  constructor(context, stream) {
    this.sampleRate = context.sampleRate;
    /** @type {number | null} context time of the first sample, seconds; null until it came */
    this.startedAt = null;
    /** @type {(() => void) | null} */
    this._onEnd = null;
    this._stream = stream;
    this._input = new MediaStreamAudioSourceNode(context, { mediaStream: stream });
    const mono = /** @type {const} */ ({ channelCount: 1, channelCountMode: "explicit" });
    this._capture = new AudioWorkletNode(context, "capture", mono);
    this._delay = new DelayNode(context, { maxDelayTime: MAX_MONITOR_DELAY_S });
    this._monitor = new GainNode(context, { gain: 0 });
    this.output = new GainNode(context);
    this._input.connect(this.output).connect(this._capture).connect(context.destination);
    this.output.connect(this._delay).connect(this._monitor).connect(context.destination);
  }

  /**
   * @param {OnChunk} onChunk
   * @param {() => void} onEnd
   */
  start(onChunk, onEnd) {
    this._onEnd = onEnd;
    this._capture.port.onmessage = (event) => {
      const data = /** @type {{samples: Float32Array, startedAt: number}} */ (event.data);
      this.startedAt ??= data.startedAt;
      onChunk(toInt16(data.samples));
    };
  }

  /** Play the speaker's own voice, in time with the picture. @param {boolean} on */
  set monitored(on) {
    this._monitor.gain.value = on ? 1 : 0;
  }

  /** @param {number} contextTime seconds */
  playAt(contextTime) {
    this._delay.delayTime.value = Math.max(0, contextTime - (this.startedAt ?? contextTime));
  }

  finish() {
    this._capture.port.onmessage = null;
    this._onEnd?.();
    this._onEnd = null;
    this._stopTracks();
  }

  stop() {
    this._onEnd = null;
    this._capture.port.onmessage = null;
    this._stopTracks();
    const nodes = [this._input, this.output, this._capture, this._delay, this._monitor];
    for (const node of nodes) node.disconnect();
  }

  _stopTracks() {
    this._stream.getTracks().forEach((track) => track.stop());
  }
}
