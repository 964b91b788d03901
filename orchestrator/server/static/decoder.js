/**
 * Turns coded frames into pictures: JPEG through createImageBitmap, H.264 through WebCodecs.
 *
 * Both decoders have `decode(frame)`, `flush()`, `close()`, hand each picture to `onImage(frame, image)` and each
 * failure to `onError(error)`; the picture is an ImageBitmap that the receiver closes.
 */

/** Decoded pictures in memory at once: half a second at 25 fps, 16 MB at 512 px. */
const MAX_DECODED = 12;

/** Coded frames that may wait: half a minute at 25 fps. The service paces, so this is only met by a sleeping tab. */
const MAX_WAITING = 750;

const NAL_SPS = 7;

/** Why this browser cannot show H.264, or an empty string when it can. */
export async function h264Obstacle() {
  if (!("VideoDecoder" in globalThis)) {
    return globalThis.isSecureContext ? "This browser has no WebCodecs video decoder." : "H.264 needs https:// or localhost.";
  }
  const { supported } = await VideoDecoder.isConfigSupported({ codec: "avc1.42E01E" });
  return supported ? "" : "This browser was built without H.264.";
}

/**
 * Reads profile, constraints and level from the sequence parameter set of an Annex B keyframe.
 * @param {Uint8Array} annexB @returns {string | null} such as `avc1.42E01E`, null when there is no SPS
 */
export function codecOf(annexB) {
  for (let at = 0; at + 6 < annexB.length; at++) {
    if (annexB[at] !== 0 || annexB[at + 1] !== 0 || annexB[at + 2] !== 1) continue;
    if ((annexB[at + 3] & 0x1f) !== NAL_SPS) continue;
    const parts = Array.from(annexB.subarray(at + 4, at + 7), (byte) => byte.toString(16).padStart(2, "0"));
    return `avc1.${parts.join("").toUpperCase()}`;
  }
  return null;
}

class JpegDecoder {
  constructor(onImage, onError) {
    this._onImage = onImage;
    this._onError = onError;
  }

  decode(frame) {
    createImageBitmap(new Blob([frame.data], { type: "image/jpeg" })).then((image) => this._onImage(frame, image), this._onError);
  }

  async flush() {}

  close() {}
}

class H264Decoder {
  constructor(onImage, onError) {
    this._onImage = onImage;
    this._onError = onError;
    this._frames = new Map();
    this._codec = "";
    this._decoder = new VideoDecoder({ output: (picture) => this._output(picture), error: onError });
  }

  decode(frame) {
    if (frame.isKeyframe) this._configure(codecOf(frame.data));
    if (!this._codec) return this._onError(new Error("the H.264 stream did not begin with a keyframe"));
    const timestamp = frame.sequenceNumber * 1000;
    this._frames.set(timestamp, frame);
    this._decoder.decode(new EncodedVideoChunk({ type: frame.isKeyframe ? "key" : "delta", timestamp, data: frame.data }));
  }

  async flush() {
    if (this._decoder.state === "configured") await this._decoder.flush();
  }

  close() {
    if (this._decoder.state !== "closed") this._decoder.close();
    this._frames.clear();
  }

  /** Annex B carries its parameter sets in band, so the configuration has no `description`. */
  _configure(codec) {
    if (!codec || codec === this._codec) return;
    this._codec = codec;
    this._decoder.configure({ codec, optimizeForLatency: true });
  }

  /** Copies the picture out at once: a hardware decoder stops when its few frames are held. */
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
   * @param {"jpeg" | "h264"} format
   * @param {{onImage: (frame: object, image: ImageBitmap) => void, onError: (error: Error) => void, waiting: () => number}} hooks
   *   `waiting` says how many decoded pictures have not been drawn yet
   */
  constructor(format, { onImage, onError, waiting }) {
    this._coded = [];
    this._decoding = 0;
    this._isLast = false;
    this._closed = false;
    this._waiting = waiting;
    const done = (frame, image) => {
      this._decoding -= 1;
      if (this._closed || !frame) return image.close();
      onImage(frame, image);
    };
    this._failed = (error) => {
      this._decoding = Math.max(0, this._decoding - 1);
      if (!this._closed) onError(error);
    };
    this._decoder = format === "h264" ? new H264Decoder(done, this._failed) : new JpegDecoder(done, this._failed);
  }

  push(frame) {
    this._coded.push(frame);
    if (this._coded.length > MAX_WAITING) this._dropToNextKeyframe();
    this.pump();
  }

  /** Decodes while there is room; call it after pictures were drawn. */
  pump() {
    while (!this._closed && this._coded.length && this._decoding + this._waiting() < MAX_DECODED) {
      this._decoding += 1;
      this._decode(this._coded.shift());
    }
  }

  /** No more frames will come. */
  end() {
    this._isLast = true;
    if (this._coded.length === 0) this._flush();
  }

  /** True when every frame that came has been handed on. */
  get empty() {
    return this._coded.length === 0 && this._decoding === 0;
  }

  close() {
    this._closed = true;
    this._coded = [];
    this._decoder.close();
  }

  _decode(frame) {
    try {
      this._decoder.decode(frame);
    } catch (error) {
      this._failed(error);
    }
    if (this._isLast && this._coded.length === 0) this._flush();
  }

  /** Makes the decoder give back what it may still hold; only then, for a flushed H.264 decoder wants a keyframe next. */
  _flush() {
    if (!this._closed) this._decoder.flush().catch(this._failed);
  }

  /** Later frames of a coded sequence are worth nothing without their keyframe. */
  _dropToNextKeyframe() {
    const next = this._coded.findIndex((frame, index) => index > 0 && frame.isKeyframe);
    this._coded.splice(0, next < 0 ? this._coded.length : next);
  }
}
