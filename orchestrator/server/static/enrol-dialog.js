/** The dialog in which a visitor turns a photo into a face: photo, consent, and the reasons when the photo will not do. */

import { PhotoRefused, enrolFace, preparePhoto } from "./faces.js";

const element = (id) => document.getElementById(id);

/** @param {string} message the service's words, which begin like the middle of a sentence */
function listItem(message) {
  return Object.assign(document.createElement("li"), { textContent: `${message.charAt(0).toUpperCase()}${message.slice(1)}.` });
}

export class EnrolDialog {
  /** @param {(face: object) => void} onEnrolled */
  constructor(onEnrolled) {
    this._onEnrolled = onEnrolled;
    this._photo = null;
    this._busy = false;
    element("choose-photo").addEventListener("click", () => element("photo-file").click());
    element("photo-file").addEventListener("change", ({ target }) => {
      if (target.files[0]) this._take(target.files[0]);
      target.value = "";
    });
    element("consent").addEventListener("change", () => this._update());
    element("cancel-enrol").addEventListener("click", () => element("enrol").close());
    element("enrol-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this._submit();
    });
  }

  get isOpen() {
    return element("enrol").open;
  }

  /** @param {File} [file] a photo that was dropped on the page */
  open(file) {
    if (!this.isOpen) {
      element("consent").checked = false;
      this._show(null);
      element("enrol").showModal();
    }
    if (file) this._take(file);
  }

  async _take(file) {
    this._refuse(null);
    try {
      this._show(await preparePhoto(file));
    } catch (error) {
      this._show(null);
      this._refuse(error);
    }
  }

  _show(photo) {
    this._photo = photo;
    const preview = element("photo-preview");
    URL.revokeObjectURL(preview.src);
    if (photo) preview.src = URL.createObjectURL(photo);
    else preview.removeAttribute("src");
    preview.hidden = !photo;
    preview.alt = photo ? "The photo you chose" : "";
    element("photo-hint").hidden = Boolean(photo);
    this._refuse(null);
    this._update();
  }

  _update() {
    const button = element("create-face");
    button.disabled = this._busy || !this._photo || !element("consent").checked;
    button.firstElementChild.textContent = this._busy ? "Looking at the photo…" : "Create the face";
  }

  async _submit() {
    if (element("create-face").disabled) return;
    this._busy = true;
    this._refuse(null);
    this._update();
    try {
      const face = await enrolFace(this._photo);
      element("enrol").close();
      this._onEnrolled(face);
    } catch (error) {
      this._refuse(error);
    }
    this._busy = false;
    this._update();
  }

  /** @param {Error | null} error reasons are shown one below the other */
  _refuse(error) {
    const box = element("refused");
    const reasons = error instanceof PhotoRefused ? error.reasons : [];
    box.querySelector("p").textContent = error ? (reasons.length ? "This photo will not do:" : error.message) : "";
    box.querySelector("ul").replaceChildren(...reasons.map(({ message }) => listItem(message)));
    box.hidden = !error;
  }
}
