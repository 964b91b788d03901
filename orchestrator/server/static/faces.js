/**
 * The faces a visitor can choose: the shipped one and those enrolled from this browser.
 *
 * A visitor has no account: a random user id and the ids of their faces stay in localStorage, the photos at the service.
 */

import { authorized, userId } from "./access.js";
import { uniqueId } from "./client.js";

const API = new URL("../v1/", import.meta.url);
const STORAGE_KEY = userId ? `lipsync.faces.${userId}` : "lipsync.faces";

/** Longest side sent to the service: more pixels than any model uses, and small enough to upload quickly. */
const MAX_PHOTO_SIDE = 2048;

export const DEMO_FACE = { userId: "demo", faceModelId: "demo", name: "Demo portrait" };

/** The service looked at the photo and refused it; `reasons` are [{code, message}]. */
export class PhotoRefused extends Error {
  constructor(message, reasons) {
    super(message);
    this.reasons = reasons;
  }
}

function load() {
  try {
    const stored = JSON.parse(localStorage.getItem(STORAGE_KEY));
    if (stored?.userId && Array.isArray(stored.faceModelIds)) return stored;
  } catch {
    // Storage may be forbidden or hold something else; the visitor then starts afresh.
  }
  return { userId: userId || `visitor-${uniqueId()}`, faceModelIds: [] };
}

function save(mine) {
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify(mine));
  } catch {
    // Without storage the faces last until the page is closed.
  }
}

const mine = load();

/** @returns {{userId: string, faceModelId: string, name: string}[]} the shipped face first, where the visitor may use it */
export function listFaces() {
  const own = mine.faceModelIds.map((faceModelId, index) => ({ userId: mine.userId, faceModelId, name: `Your face ${index + 1}` }));
  return userId ? own : [DEMO_FACE, ...own];
}

/** A user with a token has the faces that the service knows of, whichever browser they were made with. */
export async function findFaces() {
  if (!userId) return;
  const response = await fetch(authorized(new URL(`users/${userId}/face-models`, API))).catch(() => null);
  if (!response?.ok) return;
  mine.faceModelIds = (await response.json()).faceModels;
  save(mine);
}

/** @returns {string} */
export function posterUrl(face) {
  return authorized(new URL(`users/${face.userId}/face-models/${face.faceModelId}/preview.jpg`, API)).href;
}

/** Turns a photo upright and shrinks a huge one; throws an Error with words for the visitor. @returns {Promise<Blob>} */
export async function preparePhoto(file) {
  let picture;
  try {
    picture = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error("This browser cannot open that picture. Choose a JPEG, PNG or WebP file.");
  }
  const scale = Math.min(1, MAX_PHOTO_SIDE / Math.max(picture.width, picture.height));
  if (scale === 1 && ["image/jpeg", "image/png", "image/webp"].includes(file.type)) return file;
  const canvas = new OffscreenCanvas(Math.round(picture.width * scale), Math.round(picture.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.93 });
}

/**
 * Makes a face of a photo; the visitor has given consent.
 * @param {Blob} photo
 * @returns {Promise<{userId: string, faceModelId: string, name: string}>}
 * @throws {PhotoRefused} with reasons a person can act on
 */
export async function enrolFace(photo) {
  const form = new FormData();
  form.append("consent", "true");
  form.append("photo", photo, "photo");
  const response = await fetch(authorized(new URL(`users/${mine.userId}/face-models`, API)), { method: "POST", body: form }).catch(() => null);
  if (!response) throw new Error("The service cannot be reached just now.");
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new PhotoRefused(answer.errorMessage ?? `The service answered ${response.status}.`, answer.details?.reasons ?? []);
  mine.faceModelIds.push(answer.id);
  save(mine);
  return listFaces().at(-1);
}

/** Deletes a face's photo at the service and forgets it here; throws an Error with words for the visitor. */
export async function deleteFace(face) {
  const address = authorized(new URL(`users/${face.userId}/face-models/${face.faceModelId}`, API));
  const response = await fetch(address, { method: "DELETE" }).catch(() => null);
  if (!response?.ok && response?.status !== 404) throw new Error("The face could not be deleted: the service did not answer. Try again.");
  forgetFace(face);
}

/** Forgets a face that the service no longer has. */
export function forgetFace(face) {
  mine.faceModelIds = mine.faceModelIds.filter((id) => id !== face.faceModelId);
  save(mine);
}
