/**
 * Where a turn's sound comes from: a clip (sample or dropped file) or the microphone, as 100 ms pieces of mono PCM.
 *
 * Both sources have the same face: `kind`, `sampleRate`, `start(onChunk, onEnd)`, `playAt(contextTime)` to make sample 0
 * heard at a given AudioContext time, `finish()` (no more sound, keep what was said), `stop()`, and `output`, the node that
 * a level meter may listen to.
 */

const CHUNK_S = 0.1;

/** How far a clip is sent ahead of real time; the service buffers and paces. Small, so that a stop wastes little. */
const CLIP_LEAD_MS = 1000;

/** Longest clip: decoded sound is held in memory, 23 MB a minute in stereo at 48 kHz. */
const MAX_CLIP_S = 300;

/** The highest rate the service takes. */
const MAX_SAMPLE_RATE = 48000;

/** An AudioContext whose rate the service takes; call it from a click, or the browser keeps it silent. */
export function createAudioContext() {
  const context = new AudioContext({ latencyHint: "interactive" });
  if (context.sampleRate <= MAX_SAMPLE_RATE) return context;
  context.close();
  return new AudioContext({ latencyHint: "interactive", sampleRate: MAX_SAMPLE_RATE });
}

/** @param {Float32Array} samples full scale 1.0 @returns {Int16Array} */
export function toInt16(samples) {
  return Int16Array.from(samples, (value) => Math.max(-32768, Math.min(32767, Math.round(value * 32767))));
}

/** @param {AudioBuffer} buffer @returns {Float32Array} mean of its channels */
export function toMono(buffer) {
  const mono = buffer.getChannelData(0).slice();
  for (let channel = 1; channel < buffer.numberOfChannels; channel++) {
    buffer.getChannelData(channel).forEach((value, index) => (mono[index] += value));
  }
  return buffer.numberOfChannels === 1 ? mono : mono.map((value) => value / buffer.numberOfChannels);
}

/** Decodes anything the browser can; throws an Error with words for the visitor. @param {ArrayBuffer} bytes */
export async function decodeClip(context, bytes) {
  let buffer;
  try {
    buffer = await context.decodeAudioData(bytes);
  } catch {
    throw new Error("This browser cannot read that file as sound. Try a WAV, MP3, Ogg or M4A file.");
  }
  if (buffer.duration > MAX_CLIP_S) throw new Error("That recording is longer than five minutes. Choose a shorter one.");
  if (buffer.duration < CHUNK_S) throw new Error("That recording holds less than a tenth of a second of sound.");
  return buffer;
}

export class ClipSource {
  kind = "clip";

  /** @param {AudioContext} context @param {AudioBuffer} buffer */
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

  /** Sends one second ahead at once, then keeps that lead. */
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

/** Asks for the microphone; throws an Error with words for the visitor. @returns {Promise<MediaStream>} */
export async function openMicrophone() {
  if (!navigator.mediaDevices) throw new Error("The microphone needs https:// or localhost.");
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
  } catch (error) {
    if (error.name === "NotAllowedError") throw new Error("The microphone is blocked. Allow it in the address bar, then try again.");
    if (error.name === "NotFoundError") throw new Error("No microphone was found on this machine.");
    throw new Error(`The microphone could not be opened (${error.message}).`);
  }
}

export class MicrophoneSource {
  kind = "microphone";

  /** @param {AudioContext} context @param {MediaStream} stream */
  static async open(context, stream) {
    await context.audioWorklet.addModule(new URL("mic-worklet.js", import.meta.url));
    return new MicrophoneSource(context, stream);
  }

  constructor(context, stream) {
    this.sampleRate = context.sampleRate;
    /** Context time of the first sample; null until it came. */
    this.startedAt = null;
    this._stream = stream;
    this._input = new MediaStreamAudioSourceNode(context, { mediaStream: stream });
    this._capture = new AudioWorkletNode(context, "capture", { channelCount: 1, channelCountMode: "explicit" });
    this._delay = new DelayNode(context, { maxDelayTime: 5 });
    this._monitor = new GainNode(context, { gain: 0 });
    this.output = new GainNode(context);
    this._input.connect(this.output).connect(this._capture).connect(context.destination);
    this.output.connect(this._delay).connect(this._monitor).connect(context.destination);
  }

  start(onChunk, onEnd) {
    this._onEnd = onEnd;
    this._capture.port.onmessage = ({ data }) => {
      this.startedAt ??= data.startedAt;
      onChunk(toInt16(data.samples));
    };
  }

  /** Whether the speaker hears their own voice, in time with the picture. */
  set monitored(on) {
    this._monitor.gain.value = on ? 1 : 0;
  }

  playAt(contextTime) {
    this._delay.delayTime.value = Math.max(0, contextTime - (this.startedAt ?? contextTime));
  }

  finish() {
    this._capture.port.onmessage = null;
    this._onEnd?.();
    this._onEnd = null;
    this._stream.getTracks().forEach((track) => track.stop());
  }

  stop() {
    this._onEnd = null;
    this._capture.port.onmessage = null;
    this._stream.getTracks().forEach((track) => track.stop());
    for (const node of [this._input, this.output, this._capture, this._delay, this._monitor]) node.disconnect();
  }
}
