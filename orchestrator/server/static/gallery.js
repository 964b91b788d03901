/** The row of faces to choose from: the shipped one, the visitor's own, and a cross to delete each of those. */

import { DEMO_FACE, deleteFace, forgetFace, listFaces, posterUrl } from "./faces.js";

export class FaceGallery {
  /** @param {{onChoose: (face: object) => void, onProblem: (words: string) => void}} hooks */
  constructor({ onChoose, onProblem }) {
    this.chosen = listFaces()[0] ?? null;
    this._onChoose = onChoose;
    this._onProblem = onProblem;
  }

  /** Draws the row anew. */
  show() {
    document.getElementById("faces").replaceChildren(...listFaces().map((face) => this._choice(face)));
  }

  _choice(face) {
    const choice = Object.assign(document.createElement("div"), { className: "face-choice" });
    choice.append(this._radio(face), this._picture(face));
    if (face !== DEMO_FACE) choice.append(this._deleteButton(face));
    return choice;
  }

  _radio(face) {
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "face", value: face.faceModelId, title: face.name });
    radio.checked = face.faceModelId === this.chosen?.faceModelId;
    radio.setAttribute("aria-label", face.name);
    radio.addEventListener("change", () => this._onChoose(face));
    return radio;
  }

  _picture(face) {
    const picture = Object.assign(document.createElement("img"), { src: posterUrl(face), alt: "" });
    picture.addEventListener("error", () => this._dropMissing(face, picture));
    return picture;
  }

  /** A face that the service no longer has must not be offered; one whose picture merely failed to load stays. */
  async _dropMissing(face, picture) {
    picture.replaceWith(Object.assign(document.createElement("span"), { className: "blank" }));
    if (face === DEMO_FACE) return;
    const response = await fetch(posterUrl(face)).catch(() => null);
    if (response?.status !== 404) return;
    forgetFace(face);
    this._onChoose(this.chosen?.faceModelId === face.faceModelId ? (listFaces()[0] ?? null) : this.chosen);
  }

  _deleteButton(face) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: "×", title: "Delete this face" });
    button.setAttribute("aria-label", `Delete ${face.name}`);
    button.addEventListener("click", async () => {
      try {
        await deleteFace(face);
        this._onChoose(listFaces()[0] ?? null);
      } catch (error) {
        this._onProblem(error.message);
      }
    });
    return button;
  }
}
