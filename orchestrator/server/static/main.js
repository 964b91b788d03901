/**
 * Binds the page: buttons, drops and settings to a conversation, and what is measured to what is shown.
 *
 * For automated checks the page exposes `window.lipsync` = {stats, client, conversation}; the fields of `stats` are
 * described in stats.js.
 */

import { token } from "./access.js";
import { ClipSource, MicrophoneSource, createAudioContext, decodeClip, openMicrophone } from "./audio-source.js";
import { LipSyncClient } from "./client.js";
import { Conversation } from "./conversation.js";
import { h264Obstacle } from "./decoder.js";
import { EnrolDialog } from "./enrol-dialog.js";
import { findFaces, listFaces, posterUrl } from "./faces.js";
import { FaceGallery } from "./gallery.js";
import { showNumbers } from "./numbers.js";
import { Stage } from "./stage.js";
import { Stats } from "./stats.js";

const NUMBERS_EVERY_MS = 250;
const NOTE_STAYS_MS = 6000;
const JPEG_QUALITY = 80;

const STATE_WORDS = { idle: "Ready", starting: "One moment", speaking: "Speaking", listening: "Listening" };
const SWITCH_WORDS = {
  RECOVERED: (from, to) => `${to} is back and draws again`,
  REQUESTED: (from, to) => `${to} draws now, as asked`,
  TIMEOUT: (from, to) => `${from} took too long; ${to} draws until it is back`,
  FACE_PREPARED: (from, to) => `${to} has learnt the face and draws now`,
  NOT_READY: (from, to) => `${from} is not ready; ${to} draws until it is`,
};

const element = (id) => document.getElementById(id);

const socketUrl = new URL("../v1/ws", import.meta.url);
socketUrl.protocol = socketUrl.protocol === "https:" ? "wss:" : "ws:";

const stats = new Stats();
const client = new LipSyncClient(socketUrl, { token });
const stage = new Stage();
const conversation = new Conversation(client, stats, ({ image }) => stage.paint(image));
window.lipsync = { stats, client, conversation };

let audio = null;
let microphone = null;

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

/** What is told of it is no longer true once the connection is open. */
class ServiceAway extends Error {}

/** A sample's bytes, fetched as soon as a pointer or the focus comes near. @returns {Promise<ArrayBuffer>} */
function loadSample(name) {
  if (!samples.has(name)) samples.set(name, fetchSample(name));
  samples.get(name).catch(() => samples.delete(name));
  return samples.get(name);
}

async function fetchSample(name) {
  const response = await fetch(new URL(`samples/${name}`, import.meta.url)).catch(() => null);
  if (!response?.ok) throw new ServiceAway("The sample could not be loaded: the service is away just now.");
  return response.arrayBuffer();
}

function pictureConfig() {
  const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`).value;
  const side = Number(chosen("size"));
  return { targetFps: Number(chosen("fps")), resolution: { width: side, height: side }, format: chosen("format"), quality: JPEG_QUALITY };
}

function begin(context, source, pressedAt) {
  if (!client.connected || !gallery.chosen) {
    callService();
    source.stop();
    if (client.connected) throw new Error("There is no face yet: add one from a photo.");
    throw new ServiceAway(refusal || "The service is away just now. It is being called again; try in a moment.");
  }
  const { userId, faceModelId } = gallery.chosen;
  conversation.begin(context, source, { userId, faceModelId }, pictureConfig(), pressedAt);
  stage.listenTo(source.output);
}

async function speakClip(readBytes) {
  const pressedAt = performance.now();
  hideProblem();
  try {
    const [context, bytes] = await Promise.all([allowedAudio(), readBytes()]);
    begin(context, new ClipSource(context, await decodeClip(context, bytes)), pressedAt);
  } catch (error) {
    showProblem(error.message, error instanceof ServiceAway);
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
    showProblem(error.message, error instanceof ServiceAway);
  }
}

function showMicrophone(on) {
  element("microphone").setAttribute("aria-pressed", on);
  element("microphone").querySelector("span").textContent = on ? "Done speaking" : "Speak";
}

// Words for the visitor

/** Whether the words on screen hold only until the connection is open. */
let problemPasses = false;

function showProblem(words, passes = false) {
  problemPasses = passes;
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
  stage.calm();
  stage.rest();
  document.querySelectorAll(".sample").forEach((sample) => sample.removeAttribute("aria-current"));
}

/** Why the service does not let this page in; empty where it does, or is away. */
let refusal = "";

/** Whoever is refused is told by the client's `problem`. */
function callService() {
  client.connect().catch(() => null);
}

function showConnection({ state, retryInMs }) {
  stats.connection = state;
  const seconds = Math.max(1, Math.round(retryInMs / 1000));
  const words = { open: "Connected", connecting: "Connecting", closed: "Closed", waiting: `Away, next try in ${seconds} s` };
  element("connection").dataset.state = state;
  element("connection").querySelector("span").textContent = words[state];
  if (state !== "open") return;
  if (problemPasses) hideProblem();
  showFoundFaces();
}

function onProblem(problem) {
  stats.problems.push({ errorCode: problem.errorCode, errorMessage: problem.errorMessage });
  stats.problems.splice(0, stats.problems.length - 50);
  if (problem.errorCode === "UNAUTHORIZED" && !client.connected) {
    refusal = `This service asks for a token: open this page as ${new URL("../#access_token=TOKEN&user=NAME", import.meta.url)}. (${problem.errorMessage})`;
    return showProblem(refusal, true);
  }
  const failedH264 = problem.errorCode === "DECODING_FAILED" && pictureConfig().format === "h264";
  if (failedH264) document.querySelector('input[value="jpeg"]').checked = true;
  showProblem(failedH264 ? `${problem.errorMessage} JPEG is used from now on.` : problem.errorMessage);
}

/** What has to be said with a model's name: that its weights are random ones. By model. */
const weightsSaid = new Map();

const named = (model) => [model, weightsSaid.get(model)].filter(Boolean).join(" ");

function onSwitch({ from, to, reason, weights }) {
  weightsSaid.set(to, weights);
  stats.switches.push({ from, to, reason });
  stats.switches.splice(0, stats.switches.length - 50);
  const words = SWITCH_WORDS[reason] ?? (() => `${from} failed; ${to} draws until it is back`);
  showNote(words(from, to));
}

/** The face as the first frame will show it: until that is there, and whenever it does not speak. It comes once for each session's face and size. */
async function keepRestingPicture({ data, format, faceModelId }) {
  const image = await createImageBitmap(new Blob([data], { type: `image/${format}` }));
  stats.posters += 1;
  const face = listFaces().find((known) => known.faceModelId === faceModelId);
  if (!face) return image.close();
  stage.keep(posterUrl(face), image);
  if (stats.turn.framesDrawn === 0) stage.rest();
}

// Faces

const gallery = new FaceGallery({ onChoose: chooseFace, onProblem: showProblem });

function showFaces() {
  gallery.show();
  if (conversation.state === "idle" && gallery.chosen) stage.showFace(posterUrl(gallery.chosen));
}

async function showFoundFaces() {
  refusal = "";
  await findFaces();
  gallery.chosen ??= listFaces()[0] ?? null;
  showFaces();
}

function chooseFace(choice) {
  conversation.interrupt();
  gallery.chosen = choice;
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
await client.connect();
client.beginTurn({ userId: "demo", faceModelId: "demo", sampleRate: 16000 });
client.sendAudio(samples);   // Int16Array, about 100 ms each, as your text-to-speech emits them
client.endUtterance();`;
}

function bindSample(button) {
  button.addEventListener("click", () => speakSample(button));
  for (const near of ["pointerenter", "focus"]) button.addEventListener(near, () => loadSample(button.dataset.sample).catch(() => null));
}

function bind() {
  client.addEventListener("connection", ({ detail }) => showConnection(detail));
  client.addEventListener("bytes", ({ detail }) => stats.bytes(detail.received));
  client.addEventListener("poster", ({ detail }) => keepRestingPicture(detail));
  client.addEventListener("warning", ({ detail }) => showNote(`This session ends in ${Math.round(detail.secondsLeft)} seconds; speak on after that, and a new one begins.`));
  client.addEventListener("start", ({ detail }) => weightsSaid.set(detail.model, detail.weights));
  client.addEventListener("switch", ({ detail }) => onSwitch(detail));
  client.addEventListener("frame", ({ detail }) => (element("made").textContent = `${named(detail.model)} · ${detail.width} px · ${detail.format === "h264" ? "H.264" : "JPEG"}`));
  conversation.addEventListener("problem", ({ detail }) => onProblem(detail));
  conversation.addEventListener("change", ({ detail }) => showState(detail));
  conversation.addEventListener("still", () => stage.rest());
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
  addEventListener("online", callService);
  addEventListener("pagehide", () => client.close());
  addEventListener("pageshow", (event) => event.persisted && callService());
  addEventListener("hashchange", () => location.reload());
}

bind();
watchDrops();
offerH264();
showSnippet();
showFaces();
showNumbers(stats);
setInterval(() => showNumbers(stats), NUMBERS_EVERY_MS);
callService();
