// @ts-check
/** Dialog that enrols a face: photo, consent, and the reasons for which a photo is refused. */

import { element, find, inputOf, messageOf } from "./dom.js";
import { PhotoRefused, enrolFace, preparePhoto } from "./faces.js";

/** @import { Face } from "./faces.js" */

/** @param {string} message of the service, which begins in lower case and has no full stop */
function listItem(message) {
  const textContent = `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
  return Object.assign(document.createElement("li"), { textContent });
}

/** The dialog of the page. */
export class EnrolDialog {
  /** @param {(face: Face) => void} onEnrolled */
  constructor(onEnrolled) {
    this._onEnrolled = onEnrolled;
    /** @type {Blob | null} */
    this._photo = null;
    this._busy = false;
    this._dialog = element("enrol", HTMLDialogElement);
    this._consent = element("consent", HTMLInputElement);
    this._preview = element("photo-preview", HTMLImageElement);
    this._button = element("create-face", HTMLButtonElement);
    element("choose-photo").addEventListener("click", () => element("photo-file").click());
    element("photo-file").addEventListener("change", (event) => {
      const input = inputOf(event);
      if (input.files?.[0]) void this._take(input.files[0]);
      input.value = "";
    });
    this._consent.addEventListener("change", () => this._update());
    element("cancel-enrol").addEventListener("click", () => this._dialog.close());
    element("enrol-form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this._submit();
    });
  }

  get isOpen() {
    return this._dialog.open;
  }

  /** @param {File} [file] a photo that was dropped on the page */
  open(file) {
    if (!this.isOpen) {
      this._consent.checked = false;
      this._show(null);
      this._dialog.showModal();
    }
    if (file) void this._take(file);
  }

  /** @param {File} file */
  async _take(file) {
    this._refuse(null);
    try {
      this._show(await preparePhoto(file));
    } catch (error) {
      this._show(null);
      this._refuse(error);
    }
  }

  /** @param {Blob | null} photo */
  _show(photo) {
    this._photo = photo;
    URL.revokeObjectURL(this._preview.src);
    if (photo) this._preview.src = URL.createObjectURL(photo);
    else this._preview.removeAttribute("src");
    this._preview.hidden = !photo;
    this._preview.alt = photo ? "The photo you chose" : "";
    element("photo-hint").hidden = Boolean(photo);
    this._refuse(null);
    this._update();
  }

  _update() {
    this._button.disabled = this._busy || !this._photo || !this._consent.checked;
    const words = this._busy ? "Looking at the photo…" : "Create the face";
    find(this._button, "span").textContent = words;
  }

  async _submit() {
    if (this._button.disabled || !this._photo) return;
    this._setBusy(true);
    this._refuse(null);
    try {
      const face = await enrolFace(this._photo);
      this._dialog.close();
      this._onEnrolled(face);
    } catch (error) {
      this._refuse(error);
    }
    this._setBusy(false);
  }

  /** @param {boolean} busy while the service looks at the photo */
  _setBusy(busy) {
    this._busy = busy;
    this._update();
  }

  /** Show why a photo is refused, one reason below the other. @param {unknown} error null: hide */
  _refuse(error) {
    const box = element("refused");
    const reasons = error instanceof PhotoRefused ? error.reasons : [];
    const words = reasons.length ? "This photo will not do:" : messageOf(error);
    find(box, "p").textContent = error ? words : "";
    find(box, "ul").replaceChildren(...reasons.map(({ message }) => listItem(message)));
    box.hidden = !error;
  }
}
