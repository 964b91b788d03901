/**
 * Who the visitor is where the service asks for a token: `/#access_token=TOKEN&user=NAME`.
 *
 * What stands behind the # stays in the browser: it is sent to nobody but as this page's own requests need it.
 */

const given = new URLSearchParams(location.hash.slice(1));

export const token = given.get("access_token") ?? "";

/** Whose faces the token opens; empty where nobody is asked. */
export const userId = given.get("user") ?? "";

/** @param {URL} address of the service @returns {URL} the same with the token, if there is one */
export function authorized(address) {
  if (token) address.searchParams.set("access_token", token);
  return address;
}
