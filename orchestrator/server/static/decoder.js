// @ts-check
/**
 * Decoding of frames: JPEG through createImageBitmap, H.264 through WebCodecs.
 *
 * Both decoders have `decode(frame)`, `flush()` and `close()`. They pass each picture to
 * `onImage(frame, image)`, an ImageBitmap that the receiver closes, and each failure to
 * `onError(error)`.
 */

/** @import { Frame } from "./client/events.js" */
/** @import { Format } from "./client/messages.js" */

/**
 * @typedef {(frame: Frame, image: ImageBitmap) => void} OnImage
 * @typedef {(frame: Frame | undefined, image: ImageBitmap) => void} OnDecoded frame undefined where
 *   the decoder was closed meanwhile
 * @typedef {(error: unknown) => void} OnError
 */

/** Decoded pictures in memory at once: half a second at 25 fps, 16 MB at 512 px. */
const MAX_DECODED = 12;

/** Waiting coded frames: 30 s at 25 fps. The service paces, so only a sleeping tab reaches this. */
const MAX_WAITING = 750;

const NAL_SPS = 7;

/**
 * Reason why this browser cannot show H.264.
 * @returns {Promise<string>} empty when it can
 */
export async function h264Obstacle() {
  if (!("VideoDecoder" in globalThis)) {
    return isSecureContext
      ? "This browser has no WebCodecs video decoder."
      : "H.264 needs https:// or localhost.";
  }
  const { supported } = await VideoDecoder.isConfigSupported({ codec: "avc1.42E01E" });
  return supported ? "" : "This browser was built without H.264.";
}

/**
 * Read profile, constraints and level from the sequence parameter set of an Annex B keyframe.
 * @param {Uint8Array} annexB
 * @returns {string | null} such as `avc1.42E01E`, null when there is no SPS
 */
export function codecOf(annexB) {
  for (let at = 0; at + 6 < annexB.length; at++) {
    if (annexB[at] !== 0 || annexB[at + 1] !== 0 || annexB[at + 2] !== 1) continue;
    if ((annexB[at + 3] & 0x1f) !== NAL_SPS) continue;
    const profile = annexB.subarray(at + 4, at + 7);
    const digits = Array.from(profile, (byte) => byte.toString(16).padStart(2, "0"));
    return `avc1.${digits.join("").toUpperCase()}`;
  }
  return null;
}

class JpegDecoder {
  /**
   * @param {OnDecoded} onImage
   * @param {OnError} onError
   */
  constructor(onImage, onError) {
    this._onImage = onImage;
    this._onError = onError;
  }

  /** @param {Frame} frame */
  decode(frame) {
    const coded = new Blob([frame.data], { type: "image/jpeg" });
    createImageBitmap(coded).then((image) => this._onImage(frame, image), this._onError);
  }

  async flush() {}

  close() {}
}

class H264Decoder {
  /**
   * @param {OnDecoded} onImage
   * @param {OnError} onError
   */
  constructor(onImage, onError) {
    this._onImage = onImage;
    this._onError = onError;
    /** @type {Map<number, Frame>} in the decoder, by timestamp */
    this._frames = new Map();
    this._codec = "";
    this._decoder = new VideoDecoder({
      output: (picture) => this._output(picture),
      error: onError,
    });
  }

  /** @param {Frame} frame */
  decode(frame) {
    if (frame.isKeyframe) this._configure(codecOf(frame.data));
    if (!this._codec) throw new Error("the H.264 stream did not begin with a keyframe");
    const timestamp = frame.sequenceNumber * 1000;
    this._frames.set(timestamp, frame);
    const type = frame.isKeyframe ? "key" : "delta";
    this._decoder.decode(new EncodedVideoChunk({ type, timestamp, data: frame.data }));
  }

  async flush() {
    if (this._decoder.state === "configured") await this._decoder.flush();
  }

  close() {
    if (this._decoder.state !== "closed") this._decoder.close();
    this._frames.clear();
  }

  /**
   * Annex B carries its parameter sets in band, so the configuration has no `description`.
   * @param {string | null} codec
   */
  _configure(codec) {
    if (!codec || codec === this._codec) return;
    this._codec = codec;
    this._decoder.configure({ codec, optimizeForLatency: true });
  }

  /**
   * Copy the picture out at once: a hardware decoder stops when its few frames are held.
   * @param {VideoFrame} picture
   */
  _output(picture) {
    const frame = this._frames.get(picture.timestamp);
    this._frames.delete(picture.timestamp);
    createImageBitmap(picture)
      .then((image) => this._onImage(frame, image), this._onError)
      .finally(() => picture.close());
  }
}

/** Coded frames in order; decodes ahead only as far as the player has room. */
export class DecodeQueue {
  /**
   * @param {Format} format
   * @param {{onImage: OnImage, onError: OnError, waiting: () => number}} hooks
   *   `waiting` returns the number of decoded pictures that are not drawn yet
   */
  constructor(format, { onImage, onError, waiting }) {
    /** @type {Frame[]} */
    this._coded = [];
    this._decoding = 0;
    this._isLast = false;
    this._closed = false;
    this._waiting = waiting;
    /** @type {OnDecoded} */
    const done = (frame, image) => {
      this._decoding -= 1;
      if (this._closed || !frame) image.close();
      else onImage(frame, image);
    };
    /** @type {OnError} */
    this._failed = (error) => {
      this._decoding = Math.max(0, this._decoding - 1);
      if (!this._closed) onError(error);
    };
    const Decoder = format === "h264" ? H264Decoder : JpegDecoder;
    this._decoder = new Decoder(done, this._failed);
  }

  /** @param {Frame} frame */
  push(frame) {
    this._coded.push(frame);
    if (this._coded.length > MAX_WAITING) this._dropToNextKeyframe();
    this.pump();
  }

  /** Decode while there is room; call it after pictures were drawn. */
  pump() {
    while (!this._closed && this._decoding + this._waiting() < MAX_DECODED) {
      const frame = this._coded.shift();
      if (!frame) return;
      this._decoding += 1;
      this._decode(frame);
    }
  }

  /** No more frames will come. */
  end() {
    this._isLast = true;
    if (this._coded.length === 0) this._flush();
  }

  /** True when every frame that came was passed on. */
  get empty() {
    return this._coded.length === 0 && this._decoding === 0;
  }

  close() {
    this._closed = true;
    this._coded = [];
    this._decoder.close();
  }

  /** @param {Frame} frame */
  _decode(frame) {
    try {
      this._decoder.decode(frame);
    } catch (error) {
      this._failed(error);
    }
    if (this._isLast && this._coded.length === 0) this._flush();
  }

  /** Drain the decoder, at the very end only: a flushed H.264 decoder needs a keyframe next. */
  _flush() {
    if (!this._closed) this._decoder.flush().catch(this._failed);
  }

  /** Later frames of a coded sequence cannot be decoded without their keyframe. */
  _dropToNextKeyframe() {
    const next = this._coded.findIndex((frame, index) => index > 0 && frame.isKeyframe);
    this._coded.splice(0, next < 0 ? this._coded.length : next);
  }
}
