// @ts-check
/**
 * Faces that a visitor can choose: the shipped one and those enrolled from this browser.
 *
 * A visitor has no account: a random user id and the ids of their faces stay in localStorage, the
 * photos at the service.
 */

import { authorized, userId } from "./access.js";
import { uniqueId } from "./client.js";
import { painterOf } from "./dom.js";

/**
 * @typedef {object} Face
 * @property {string} userId
 * @property {string} faceModelId
 * @property {string} name
 *
 * @typedef {object} OwnFaces
 * @property {string} userId
 * @property {string[]} faceModelIds
 *
 * @typedef {object} Reason
 * @property {string} code
 * @property {string} message
 */

const API = new URL("../v1/", import.meta.url);
const STORAGE_KEY = userId ? `lipsync.faces.${userId}` : "lipsync.faces";

/** Longest side of an uploaded photo: more pixels than any model uses, and quick to upload. */
const MAX_PHOTO_SIDE = 2048;

const JPEG_QUALITY = 0.93;

/** Media types that the service accepts as they are. */
const ACCEPTED_TYPES = ["image/jpeg", "image/png", "image/webp"];

/** @type {Face} */
export const DEMO_FACE = { userId: "demo", faceModelId: "demo", name: "Demo portrait" };

/** Refusal of a photo by the service. */
export class PhotoRefused extends Error {
  /**
   * @param {string} message
   * @param {Reason[]} reasons for the visitor to act on; may be empty
   */
  constructor(message, reasons) {
    super(message);
    this.reasons = reasons;
  }
}

/** @returns {OwnFaces} */
function load() {
  try {
    const stored = /** @type {Partial<OwnFaces> | null} */ (
      JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "null")
    );
    if (stored?.userId && Array.isArray(stored.faceModelIds)) {
      return { userId: stored.userId, faceModelIds: stored.faceModelIds };
    }
  } catch {
    // Storage may be forbidden or contain something else: the visitor then has no faces yet.
  }
  return { userId: userId || `visitor-${uniqueId()}`, faceModelIds: [] };
}

/** @param {OwnFaces} faces */
function save(faces) {
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify(faces));
  } catch {
    // Without storage the faces last until the page is closed.
  }
}

const mine = load();

/** Address of a user's faces, or of something of them. @param {string} user @param {string} path */
function facesUrl(user, path = "") {
  return authorized(new URL(`users/${user}/face-models${path}`, API));
}

/**
 * Faces to choose from: the shipped one first, where the visitor may use it.
 * @returns {Face[]}
 */
export function listFaces() {
  const own = mine.faceModelIds.map((faceModelId, index) => ownFace(faceModelId, index));
  return userId ? own : [DEMO_FACE, ...own];
}

/** @param {string} faceModelId @param {number} index @returns {Face} */
function ownFace(faceModelId, index) {
  return { userId: mine.userId, faceModelId, name: `Your face ${index + 1}` };
}

/** Load the faces of a user with a token, whichever browser they were enrolled with. */
export async function findFaces() {
  if (!userId) return;
  // While the service is away the faces known here stay.
  const response = await fetch(facesUrl(userId)).catch(() => null);
  if (!response?.ok) return;
  const { faceModels } = /** @type {{faceModels: string[]}} */ (await response.json());
  mine.faceModelIds = faceModels;
  save(mine);
}

/** @param {Face} face @returns {string} address of its photo */
export function posterUrl(face) {
  return facesUrl(face.userId, `/${face.faceModelId}/preview.jpg`).href;
}

/**
 * Turn a photo upright and shrink a huge one.
 * @param {File} file
 * @returns {Promise<Blob>}
 * @throws {Error} with words for the visitor
 */
export async function preparePhoto(file) {
  const picture = await openPhoto(file);
  const scale = Math.min(1, MAX_PHOTO_SIDE / Math.max(picture.width, picture.height));
  if (scale === 1 && ACCEPTED_TYPES.includes(file.type)) return file;
  const [width, height] = [picture.width, picture.height].map((side) => Math.round(side * scale));
  const canvas = new OffscreenCanvas(width, height);
  const context = painterOf(canvas);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, width, height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
}

/** @param {File} file */
async function openPhoto(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch (cause) {
    const words = "This browser cannot open that picture. Choose a JPEG, PNG or WebP file.";
    throw new Error(words, { cause });
  }
}

/**
 * Enrol a face from a photo; the visitor has given consent.
 * @param {Blob} photo
 * @returns {Promise<Face>}
 * @throws {PhotoRefused} with reasons a person can act on
 * @throws {Error} where the service is away
 */
export async function enrolFace(photo) {
  const form = new FormData();
  form.append("consent", "true");
  form.append("photo", photo, "photo");
  const request = fetch(facesUrl(mine.userId), { method: "POST", body: form });
  const response = await request.catch((/** @type {unknown} */ cause) => {
    throw new Error("The service cannot be reached just now.", { cause });
  });
  if (!response.ok) throw await refusalOf(response);
  const { id } = /** @type {{id: string}} */ (await response.json());
  mine.faceModelIds.push(id);
  save(mine);
  return ownFace(id, mine.faceModelIds.length - 1);
}

/** @param {Response} response @returns {Promise<PhotoRefused>} */
async function refusalOf(response) {
  /** @type {{errorMessage?: string, details?: {reasons?: Reason[]}}} */
  const unnamed = {};
  // A gateway's refusal may not be JSON; its status is shown then.
  const body = /** @type {Promise<typeof unnamed>} */ (response.json());
  const { errorMessage, details } = await body.catch(() => unnamed);
  const words = errorMessage ?? `The service answered ${response.status}.`;
  return new PhotoRefused(words, details?.reasons ?? []);
}

/**
 * Delete a face's photo at the service, and forget it here.
 * @param {Face} face
 * @throws {Error} with words for the visitor
 */
export async function deleteFace(face) {
  const address = facesUrl(face.userId, `/${face.faceModelId}`);
  // Both a missing response and a refusal become the error below.
  const response = await fetch(address, { method: "DELETE" }).catch(() => null);
  if (!response?.ok && response?.status !== 404) {
    throw new Error("The face could not be deleted: the service did not answer. Try again.");
  }
  forgetFace(face);
}

/** Forget a face that the service no longer has. @param {Face} face */
export function forgetFace(face) {
  mine.faceModelIds = mine.faceModelIds.filter((id) => id !== face.faceModelId);
  save(mine);
}
