// @ts-check
/** Row of faces: the shipped one, the visitor's own, and a button that deletes each of those. */

import { element, messageOf } from "./dom.js";
import { DEMO_FACE, deleteFace, forgetFace, listFaces, posterUrl } from "./faces.js";

/** @import { Face } from "./faces.js" */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Partial<HTMLElementTagNameMap[Tag]>} properties
 * @returns {HTMLElementTagNameMap[Tag]}
 */
function create(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

/** The faces on the page. */
export class FaceGallery {
  /** @param {{onChoose: (face: Face | null) => void, onProblem: (words: string) => void}} hooks */
  constructor({ onChoose, onProblem }) {
    this._onChoose = onChoose;
    this._onProblem = onProblem;
    /** @type {Face | null} */
    this.chosen = null;
    this.chooseFirst();
  }

  /** Choose the first face where none is chosen. */
  chooseFirst() {
    this.chosen ??= listFaces().at(0) ?? null;
  }

  /** Draw the row anew. */
  show() {
    element("faces").replaceChildren(...listFaces().map((face) => this._choice(face)));
  }

  /** @param {Face} face */
  _choice(face) {
    const choice = create("div", { className: "face-choice" });
    choice.append(this._radio(face), this._picture(face));
    if (face !== DEMO_FACE) choice.append(this._deleteButton(face));
    return choice;
  }

  /** @param {Face} face */
  _radio(face) {
    const { faceModelId, name } = face;
    const radio = create("input", { type: "radio", name: "face", value: faceModelId, title: name });
    radio.checked = faceModelId === this.chosen?.faceModelId;
    radio.setAttribute("aria-label", name);
    radio.addEventListener("change", () => this._onChoose(face));
    return radio;
  }

  /** @param {Face} face */
  _picture(face) {
    const picture = create("img", { src: posterUrl(face), alt: "" });
    picture.addEventListener("error", () => void this._dropMissing(face, picture));
    return picture;
  }

  /**
   * Withdraw a face that the service no longer has; one whose photo merely failed to load stays.
   * @param {Face} face
   * @param {HTMLImageElement} picture
   */
  async _dropMissing(face, picture) {
    picture.replaceWith(create("span", { className: "blank" }));
    if (face === DEMO_FACE) return;
    // A service that is away says nothing about the face.
    const response = await fetch(posterUrl(face)).catch(() => null);
    if (response?.status !== 404) return;
    forgetFace(face);
    const wasChosen = this.chosen?.faceModelId === face.faceModelId;
    this._onChoose(wasChosen ? (listFaces().at(0) ?? null) : this.chosen);
  }

  /** @param {Face} face */
  _deleteButton(face) {
    const button = create("button", {
      type: "button",
      textContent: "×",
      title: "Delete this face",
    });
    button.setAttribute("aria-label", `Delete ${face.name}`);
    button.addEventListener("click", () => void this._delete(face));
    return button;
  }

  /** @param {Face} face */
  async _delete(face) {
    try {
      await deleteFace(face);
      this._onChoose(listFaces().at(0) ?? null);
    } catch (error) {
      this._onProblem(messageOf(error));
    }
  }
}
