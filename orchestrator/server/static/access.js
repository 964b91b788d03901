// @ts-check
/**
 * The visitor's token and user, where the service requires one: `/#access_token=TOKEN&user=NAME`.
 *
 * The fragment stays in the browser: only this page's own requests carry the token.
 */

const given = new URLSearchParams(location.hash.slice(1));

export const token = given.get("access_token") ?? "";

/** User whose faces the token opens; empty where the service requires no token. */
export const userId = given.get("user") ?? "";

/**
 * Add the token to an address, if there is one.
 * @param {URL} address of the service
 * @returns {URL} the same object
 */
export function authorized(address) {
  if (token) address.searchParams.set("access_token", token);
  return address;
}
