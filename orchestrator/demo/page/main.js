/**
 * Binds the page: buttons, drops and settings to a conversation, and what is measured to what is shown.
 *
 * For automated checks the page exposes `window.lipsync` = {stats, client, conversation}; the fields of `stats` are
 * described in stats.js.
 */

import { ClipSource, MicrophoneSource, createAudioContext, decodeClip, openMicrophone } from "./audio-source.js";
import { drawOffsets } from "./chart.js";
import { LipSyncClient } from "./client.js";
import { Conversation } from "./conversation.js";
import { h264Obstacle } from "./decoder.js";
import { EnrolDialog } from "./enrol-dialog.js";
import { deleteFace, forgetFace, listFaces, posterUrl } from "./faces.js";
import { Stats } from "./stats.js";

const NUMBERS_EVERY_MS = 250;
const NOTE_STAYS_MS = 6000;
const JPEG_QUALITY = 80;

const STATE_WORDS = { idle: "Ready", starting: "One moment", speaking: "Speaking", listening: "Listening" };
const SWITCH_WORDS = {
  RECOVERED: (from, to) => `${to} is back and draws again`,
  REQUESTED: (from, to) => `${to} draws now, as asked`,
  TIMEOUT: (from, to) => `${from} took too long; ${to} draws until it is back`,
  NOT_READY: (from, to) => `${from} is not ready; ${to} draws until it is`,
};

const element = (id) => document.getElementById(id);
const canvas = element("face");
const painter = canvas.getContext("2d");

const socketUrl = new URL("../v1/ws", import.meta.url);
socketUrl.protocol = socketUrl.protocol === "https:" ? "wss:" : "ws:";

const stats = new Stats();
const client = new LipSyncClient(socketUrl);
const conversation = new Conversation(client, stats, paint);
window.lipsync = { stats, client, conversation };

let face = listFaces()[0];
let audio = null;
let microphone = null;
let meter = null;

// The picture

function paint({ image }) {
  if (canvas.width !== image.width || canvas.height !== image.height) {
    canvas.width = image.width;
    canvas.height = image.height;
  }
  painter.drawImage(image, 0, 0);
  element("placeholder").toggleAttribute("hidden", true);
  element("frame").style.setProperty("--level", meter?.level() ?? 0);
}

/** Shows the chosen face at rest; a canvas keeps its last picture between turns. */
async function showPoster() {
  const shown = face;
  const poster = new Image();
  poster.src = posterUrl(shown);
  try {
    await poster.decode();
  } catch {
    element("placeholder").toggleAttribute("hidden", false);
    return;
  }
  if (shown !== face || conversation.state !== "idle") return;
  const side = Math.min(poster.naturalWidth, poster.naturalHeight);
  canvas.width = canvas.height = Math.min(1024, side);
  const [left, top] = [(poster.naturalWidth - side) / 2, (poster.naturalHeight - side) / 2];
  painter.drawImage(poster, left, top, side, side, 0, 0, canvas.width, canvas.height);
  element("placeholder").toggleAttribute("hidden", true);
}

/** Loudness of what is heard, 0..1, for the ring around the face. */
function createMeter(context, output) {
  const analyser = new AnalyserNode(context, { fftSize: 512 });
  const samples = new Float32Array(analyser.fftSize);
  output.connect(analyser);
  return {
    level() {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, value) => sum + value * value, 0) / samples.length;
      return Math.min(1, Math.sqrt(power) * 4).toFixed(2);
    },
  };
}

// Speaking

/** Opens the sound device, which takes a tenth of a second or more; a browser refuses before the first press. */
function openAudio() {
  audio ??= createAudioContext();
  audio.resume();
  return audio;
}

/** A file that is dropped before anything was pressed waits for that press. */
async function allowedAudio() {
  const pressed = navigator.userActivation?.hasBeenActive ?? true;
  if (!pressed) {
    showNote("Press anywhere to hear it.");
    await new Promise((resolve) => addEventListener("click", resolve, { once: true }));
  }
  return openAudio();
}

const samples = new Map();

/** A sample's bytes, fetched as soon as a pointer or the focus comes near. @returns {Promise<ArrayBuffer>} */
function loadSample(name) {
  if (!samples.has(name)) samples.set(name, fetchSample(name));
  samples.get(name).catch(() => samples.delete(name));
  return samples.get(name);
}

async function fetchSample(name) {
  const response = await fetch(new URL(`samples/${name}`, import.meta.url)).catch(() => null);
  if (!response?.ok) throw new Error("The sample could not be loaded: the service is away just now.");
  return response.arrayBuffer();
}

function pictureConfig() {
  const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`).value;
  const side = Number(chosen("size"));
  return { targetFps: Number(chosen("fps")), resolution: { width: side, height: side }, format: chosen("format"), quality: JPEG_QUALITY };
}

function begin(context, source, pressedAt) {
  const { userId, faceModelId } = face;
  if (!client.connected) {
    client.connect();
    source.stop();
    throw new Error("The service is away just now. It is being called again; try in a moment.");
  }
  conversation.begin(context, source, { userId, faceModelId }, pictureConfig(), pressedAt);
  meter = createMeter(context, source.output);
}

async function speakClip(readBytes) {
  const pressedAt = performance.now();
  hideProblem();
  try {
    const [context, bytes] = await Promise.all([allowedAudio(), readBytes()]);
    begin(context, new ClipSource(context, await decodeClip(context, bytes)), pressedAt);
  } catch (error) {
    showProblem(error.message);
  }
}

async function speakSample(button) {
  await speakClip(async () => (await loadSample(button.dataset.sample)).slice());
  if (conversation.state !== "idle") button.setAttribute("aria-current", "true");
}

async function toggleMicrophone() {
  if (microphone) return conversation.finish();
  const pressedAt = performance.now();
  hideProblem();
  try {
    const context = openAudio();
    const source = await MicrophoneSource.open(context, await openMicrophone());
    source.monitored = element("monitor").checked;
    begin(context, source, pressedAt);
    microphone = source;
    showMicrophone(true);
  } catch (error) {
    showProblem(error.message);
  }
}

function showMicrophone(on) {
  element("microphone").setAttribute("aria-pressed", on);
  element("microphone").querySelector("span").textContent = on ? "Done speaking" : "Speak";
}

// Words for the visitor

function showProblem(words) {
  element("problem").querySelector("p").textContent = words;
  element("problem").hidden = false;
}

function hideProblem() {
  element("problem").hidden = true;
}

let noteTimer = 0;

function showNote(words) {
  clearTimeout(noteTimer);
  element("note").textContent = words;
  element("note").hidden = false;
  noteTimer = setTimeout(() => (element("note").hidden = true), NOTE_STAYS_MS);
}

function showState({ state }) {
  element("frame").dataset.state = state;
  element("state").querySelector("span").textContent = STATE_WORDS[state];
  element("stop").disabled = state === "idle";
  if (state !== "idle") return;
  microphone = null;
  showMicrophone(false);
  element("frame").style.setProperty("--level", 0);
  document.querySelectorAll(".sample").forEach((sample) => sample.removeAttribute("aria-current"));
}

function showConnection({ state, retryInMs }) {
  stats.connection = state;
  const seconds = Math.max(1, Math.round(retryInMs / 1000));
  const words = { open: "Connected", connecting: "Connecting", closed: "Closed", waiting: `Away, next try in ${seconds} s` };
  element("connection").dataset.state = state;
  element("connection").querySelector("span").textContent = words[state];
  if (state === "open") showFaces();
}

function onProblem(problem) {
  stats.problems.push({ errorCode: problem.errorCode, errorMessage: problem.errorMessage });
  stats.problems.splice(0, stats.problems.length - 50);
  const failedH264 = problem.errorCode === "DECODING_FAILED" && pictureConfig().format === "h264";
  if (failedH264) document.querySelector('input[value="jpeg"]').checked = true;
  showProblem(failedH264 ? `${problem.errorMessage} JPEG is used from now on.` : problem.errorMessage);
}

function onSwitch({ from, to, reason }) {
  stats.switches.push({ from, to, reason });
  stats.switches.splice(0, stats.switches.length - 50);
  const words = SWITCH_WORDS[reason] ?? (() => `${from} failed; ${to} draws until it is back`);
  showNote(words(from, to));
}

const number = (value, unit) => (value === null || Number.isNaN(value) ? "–" : `${value.toFixed(0)} ${unit}`);

/** With a true minus sign, and never a signed zero. */
const signed = (ms) => `${["−", "", "+"][Math.sign(Math.round(ms)) + 1]}${Math.abs(Math.round(ms))} ms`;

function showNumbers() {
  const { turn } = stats;
  const { p50, p95 } = turn.avOffsetMs;
  const live = turn.source === "microphone";
  element("n-model").textContent = stats.model ?? "–";
  element("n-fps").textContent = stats.state === "idle" && stats.fps === 0 ? "–" : `${stats.fps} / s`;
  element("n-first").textContent = number(turn.firstFrameMs, "ms");
  element("n-latency-label").textContent = live ? "Speech to picture" : "Press to speech";
  element("n-latency").textContent = number(live ? turn.liveLatencyMs : turn.startDelayMs, "ms");
  element("n-bytes").textContent = stats.bytesPerSecond ? number(stats.bytesPerSecond / 1000, "kB/s") : "–";
  element("n-offset").textContent = p50 === null ? "–" : signed(p50);
  element("n-spread").textContent = p95 === null ? "" : `95% within ${Math.round(p95)}`;
  drawOffsets(element("chart"), turn.offsets);
}

// Faces

function faceChoice(choice) {
  const label = document.createElement("div");
  label.className = "face-choice";
  const input = Object.assign(document.createElement("input"), { type: "radio", name: "face", value: choice.faceModelId });
  input.checked = choice.faceModelId === face.faceModelId;
  input.setAttribute("aria-label", choice.name);
  input.title = choice.name;
  input.addEventListener("change", () => chooseFace(choice));
  const picture = Object.assign(document.createElement("img"), { src: posterUrl(choice), alt: "" });
  picture.addEventListener("error", () => dropMissing(choice, picture));
  label.append(input, picture);
  if (choice.userId !== "demo") label.append(deleteButton(choice));
  return label;
}

/** A face that the service no longer has must not be offered; one whose picture merely failed to load stays. */
async function dropMissing(choice, picture) {
  picture.replaceWith(Object.assign(document.createElement("span"), { className: "blank" }));
  const response = await fetch(posterUrl(choice)).catch(() => null);
  if (choice.userId === "demo" || response?.status !== 404) return;
  forgetFace(choice);
  chooseFace(face === choice ? listFaces()[0] : face);
}

function deleteButton(choice) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: "×", title: "Delete this face" });
  button.setAttribute("aria-label", `Delete ${choice.name}`);
  button.addEventListener("click", async () => {
    try {
      await deleteFace(choice);
      chooseFace(listFaces()[0]);
    } catch (error) {
      showProblem(error.message);
    }
  });
  return button;
}

function showFaces() {
  element("faces").replaceChildren(...listFaces().map(faceChoice));
  showPoster();
}

function chooseFace(choice) {
  conversation.interrupt();
  face = choice;
  showFaces();
}

// Drops, keys and settings

const enrolment = new EnrolDialog((enrolled) => {
  chooseFace(enrolled);
  showNote("Your face is ready. Press a sample, or speak.");
});

function takeFile(file) {
  if (!file) return;
  if (file.type.startsWith("image/")) enrolment.open(file);
  else speakClip(() => file.arrayBuffer());
}

function watchDrops() {
  let depth = 0;
  const veil = (on) => (element("drop-veil").hidden = !on);
  addEventListener("dragenter", () => veil((depth += 1) > 0));
  addEventListener("dragleave", () => veil((depth -= 1) > 0));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    veil(false);
    takeFile(event.dataTransfer.files[0]);
  });
}

async function offerH264() {
  const input = document.querySelector('input[value="h264"]');
  const obstacle = await h264Obstacle();
  input.disabled = obstacle !== "";
  input.parentElement.title = obstacle;
  element("h264-reason").textContent = obstacle && `H.264 is not available: ${obstacle}`;
  element("h264-reason").hidden = obstacle === "";
}

function showSnippet() {
  element("snippet").textContent = `import { LipSyncClient } from "${new URL("client.js", import.meta.url)}";

const client = new LipSyncClient("${socketUrl}");
client.addEventListener("frame", ({ detail }) => show(detail.data, detail.mediaMs));
client.addEventListener("connection", ({ detail }) => {
  if (detail.state !== "open") return;
  client.beginTurn({ userId: "demo", faceModelId: "demo", sampleRate: 16000 });
  client.sendAudio(samples);   // Int16Array, about 100 ms each, as your text-to-speech emits them
  client.endUtterance();
});
client.connect();`;
}

function bindSample(button) {
  button.addEventListener("click", () => speakSample(button));
  for (const near of ["pointerenter", "focus"]) button.addEventListener(near, () => loadSample(button.dataset.sample).catch(() => null));
}

function bind() {
  client.addEventListener("connection", ({ detail }) => showConnection(detail));
  client.addEventListener("bytes", ({ detail }) => stats.bytes(detail.received));
  client.addEventListener("switch", ({ detail }) => onSwitch(detail));
  client.addEventListener("frame", ({ detail }) => (element("made").textContent = `${detail.model} · ${detail.width} px · ${detail.format === "h264" ? "H.264" : "JPEG"}`));
  conversation.addEventListener("problem", ({ detail }) => onProblem(detail));
  conversation.addEventListener("change", ({ detail }) => showState(detail));
  element("microphone").addEventListener("click", toggleMicrophone);
  element("stop").addEventListener("click", () => conversation.interrupt());
  element("dismiss").addEventListener("click", hideProblem);
  element("monitor").addEventListener("change", ({ target }) => microphone && (microphone.monitored = target.checked));
  document.querySelectorAll(".sample").forEach(bindSample);
  element("choose-audio").addEventListener("click", () => element("audio-file").click());
  element("audio-file").addEventListener("change", ({ target }) => {
    takeFile(target.files[0]);
    target.value = "";
  });
  element("add-face").addEventListener("click", () => enrolment.open());
  for (const press of ["pointerdown", "keydown"]) addEventListener(press, openAudio, { once: true });
  addEventListener("keydown", (event) => event.key === "Escape" && !enrolment.isOpen && conversation.interrupt());
  addEventListener("online", () => client.connect());
  addEventListener("pagehide", () => client.close());
  addEventListener("pageshow", (event) => event.persisted && client.connect());
}

bind();
watchDrops();
offerH264();
showSnippet();
showFaces();
showNumbers();
setInterval(showNumbers, NUMBERS_EVERY_MS);
client.connect();
