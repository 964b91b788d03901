// @ts-check
/**
 * Wiring of the page: buttons, drops and settings to a conversation, and measurements to what is
 * shown.
 *
 * For automated checks the page exposes `window.lipsync` = {stats, client, conversation}; the
 * fields of `stats` are described in stats.js.
 */

import { token } from "./access.js";
import { LipSyncClient } from "./client.js";
import { Conversation } from "./conversation.js";
import { element, findAll, inputOf } from "./dom.js";
import { EnrolDialog } from "./enrol-dialog.js";
import { findFaces, listFaces, posterUrl } from "./faces.js";
import { FaceGallery } from "./gallery.js";
import {
  hideProblem,
  noteWeights,
  showConnection,
  showMade,
  showNote,
  showProblem,
  showSnippet,
  showState,
  showSwitch,
} from "./notices.js";
import { showNumbers } from "./numbers.js";
import { offerH264, pictureConfig, useJpeg } from "./settings.js";
import { Stage } from "./stage.js";
import { Stats } from "./stats.js";
import { ServiceAway, Voice } from "./voice.js";

/** @import { AudioSource } from "./audio-source.js" */
/** @import { Poster } from "./client/events.js" */
/** @import { Problem, SwitchMessage } from "./client/messages.js" */
/** @import { Face } from "./faces.js" */
/** @import { TurnState } from "./stats.js" */

const NUMBERS_EVERY_MS = 250;

/** Newest model switches and problems that `stats` keeps. */
const MAX_KEPT = 50;

const socketUrl = new URL("../v1/ws", import.meta.url);
socketUrl.protocol = socketUrl.protocol === "https:" ? "wss:" : "ws:";

const stats = new Stats();
const client = new LipSyncClient(socketUrl, { token });
const stage = new Stage();
const conversation = new Conversation(client, stats, ({ image }) => stage.paint(image));
const voice = new Voice(conversation, begin);
const gallery = new FaceGallery({ onChoose: chooseFace, onProblem: showProblem });
const enrolment = new EnrolDialog((enrolled) => {
  chooseFace(enrolled);
  showNote("Your face is ready. Press a sample, or speak.");
});
Object.assign(window, { lipsync: { stats, client, conversation } });

/** Reason why the service refuses this page; empty where it does not, or is away. */
let refusal = "";

// Service

function callService() {
  // A refusal is shown by the client's event `problem`.
  client.connect().catch(() => null);
}

/** @param {Problem} problem */
function onProblem({ errorCode, errorMessage }) {
  stats.problems.push({ errorCode, errorMessage });
  stats.problems.splice(0, stats.problems.length - MAX_KEPT);
  if (errorCode === "UNAUTHORIZED" && !client.connected) {
    const address = new URL("../#access_token=TOKEN&user=NAME", import.meta.url).href;
    refusal = `This service asks for a token: open this page as ${address}. (${errorMessage})`;
    return showProblem(refusal, true);
  }
  const failedH264 = errorCode === "DECODING_FAILED" && pictureConfig().format === "h264";
  if (failedH264) useJpeg();
  showProblem(failedH264 ? `${errorMessage} JPEG is used from now on.` : errorMessage);
}

/** @param {SwitchMessage} message */
function onSwitch(message) {
  const { from, to, reason } = message;
  stats.switches.push({ from, to, reason });
  stats.switches.splice(0, stats.switches.length - MAX_KEPT);
  showSwitch(message);
}

// Speaking

/**
 * Start a turn.
 * @param {AudioContext} context
 * @param {AudioSource} source stopped where the turn cannot start
 * @param {number} pressedAt `performance.now()` of the click
 * @throws {Error} with words for the visitor
 */
function begin(context, source, pressedAt) {
  if (!client.connected || !gallery.chosen) {
    callService();
    source.stop();
    if (client.connected) throw new Error("There is no face yet: add one from a photo.");
    const away = "The service is away just now. It is being called again; try in a moment.";
    throw new ServiceAway(refusal || away);
  }
  const { userId, faceModelId } = gallery.chosen;
  conversation.begin(context, source, { userId, faceModelId }, pictureConfig(), pressedAt);
  stage.listenTo(source.output);
}

/** @param {TurnState} state */
function onState(state) {
  showState(state);
  if (state !== "idle") return;
  voice.reset();
  stage.calm();
  stage.rest();
}

/** @param {File | undefined} file a sound or a photo */
function takeFile(file) {
  if (!file) return;
  if (file.type.startsWith("image/")) enrolment.open(file);
  else void voice.speakFile(file);
}

// Faces

/**
 * Keep the face at rest, as the first frame will show it; it is sent once for each face and size.
 * @param {Poster} poster
 */
async function keepRestingPicture({ data, format, faceModelId }) {
  const image = await createImageBitmap(new Blob([data], { type: `image/${format}` }));
  stats.posters += 1;
  const face = listFaces().find((known) => known.faceModelId === faceModelId);
  if (!face) return image.close();
  stage.keep(posterUrl(face), image);
  if (stats.turn.framesDrawn === 0) stage.rest();
}

function showFaces() {
  gallery.show();
  if (conversation.state !== "idle" || !gallery.chosen) return;
  void stage.showFace(posterUrl(gallery.chosen));
}

async function showFoundFaces() {
  refusal = "";
  await findFaces();
  gallery.chooseFirst();
  showFaces();
}

/** @param {Face | null} choice */
function chooseFace(choice) {
  conversation.interrupt();
  gallery.chosen = choice;
  showFaces();
}

// Events

function bindClient() {
  client.addEventListener("connection", ({ detail }) => {
    stats.connection = detail.state;
    showConnection(detail);
    if (detail.state === "open") void showFoundFaces();
  });
  client.addEventListener("bytes", ({ detail }) => stats.bytes(detail.received));
  client.addEventListener("poster", ({ detail }) => void keepRestingPicture(detail));
  client.addEventListener("warning", ({ detail }) => {
    const seconds = Math.round(detail.secondsLeft);
    showNote(`This session ends in ${seconds} seconds; speak on after that, and a new one begins.`);
  });
  client.addEventListener("start", ({ detail }) => noteWeights(detail));
  client.addEventListener("switch", ({ detail }) => onSwitch(detail));
  client.addEventListener("frame", ({ detail }) => showMade(detail));
  conversation.addEventListener("problem", ({ detail }) => onProblem(detail));
  conversation.addEventListener("change", ({ detail }) => onState(detail.state));
  conversation.addEventListener("still", () => stage.rest());
}

function bindControls() {
  element("microphone").addEventListener("click", () => void voice.toggleMicrophone());
  element("stop").addEventListener("click", () => conversation.interrupt());
  element("dismiss").addEventListener("click", hideProblem);
  element("monitor").addEventListener("change", (event) => {
    voice.monitored = inputOf(event).checked;
  });
  for (const button of findAll(".sample")) voice.bindSample(button);
  element("choose-audio").addEventListener("click", () => element("audio-file").click());
  element("audio-file").addEventListener("change", (event) => {
    const input = inputOf(event);
    takeFile(input.files?.[0]);
    input.value = "";
  });
  element("add-face").addEventListener("click", () => enrolment.open());
}

function bindWindow() {
  for (const press of ["pointerdown", "keydown"]) {
    addEventListener(press, () => voice.openAudio(), { once: true });
  }
  addEventListener("keydown", ({ key }) => {
    if (key === "Escape" && !enrolment.isOpen) conversation.interrupt();
  });
  addEventListener("online", callService);
  addEventListener("pagehide", () => client.close());
  addEventListener("pageshow", ({ persisted }) => {
    if (persisted) callService();
  });
  addEventListener("hashchange", () => location.reload());
}

/** Files may be dropped anywhere; a veil says so while one is over the page. */
function bindDrops() {
  let depth = 0;
  /** @param {number} entered elements that the file is over */
  const setDepth = (entered) => {
    depth = entered;
    element("drop-veil").hidden = depth <= 0;
  };
  addEventListener("dragenter", () => setDepth(depth + 1));
  addEventListener("dragleave", () => setDepth(depth - 1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    setDepth(0);
    takeFile(event.dataTransfer?.files[0]);
  });
}

bindClient();
bindControls();
bindWindow();
bindDrops();
void offerH264();
showSnippet(socketUrl);
showFaces();
showNumbers(stats);
setInterval(() => showNumbers(stats), NUMBERS_EVERY_MS);
callService();
