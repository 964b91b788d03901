// @ts-check
/**
 * Typed look-ups in the page, and words of errors.
 */

/**
 * Element of an id; the page is broken without it.
 * @template {Element} [Kind=HTMLElement]
 * @param {string} id
 * @param {new () => Kind} [kind]
 * @returns {Kind}
 * @throws {Error} where there is none, or one of another kind
 */
export function element(id, kind) {
  return find(document, `#${id}`, kind);
}

/**
 * First element that a selector matches; the page is broken without it.
 * @template {Element} [Kind=HTMLElement]
 * @param {ParentNode} parent
 * @param {string} selector
 * @param {new () => Kind} [kind] defaults to HTMLElement
 * @returns {Kind}
 * @throws {Error} where there is none, or one of another kind
 */
export function find(parent, selector, kind) {
  const found = parent.querySelector(selector);
  if (found instanceof (kind ?? HTMLElement)) return /** @type {Kind} */ (found);
  throw new Error(`the page has no ${kind?.name ?? "element"} ${selector}`);
}

/** Every button, input or other HTML element that a selector matches. @param {string} selector */
export function findAll(selector) {
  return /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(selector));
}

/**
 * Input on which an event occurred.
 * @param {Event} event
 * @returns {HTMLInputElement}
 */
export function inputOf({ target }) {
  return /** @type {HTMLInputElement} */ (target);
}

/**
 * Painter of a canvas.
 * @template {HTMLCanvasElement | OffscreenCanvas} Canvas
 * @param {Canvas} canvas
 * @returns {Canvas extends HTMLCanvasElement ? CanvasRenderingContext2D
 *   : OffscreenCanvasRenderingContext2D}
 * @throws {Error} where the browser provides none
 */
export function painterOf(canvas) {
  const painter = canvas.getContext("2d");
  if (!painter) throw new Error("this browser cannot draw on a canvas");
  return /** @type {any} */ (painter);
}

/**
 * Message of whatever was thrown.
 * @param {unknown} error
 * @returns {string}
 */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
