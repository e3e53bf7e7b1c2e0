/** Requests to this node. Paths are relative, so that the page may stand behind a proxy's prefix. */

import * as token from "./token.js";

const TIMEOUT_MS = 15_000;

/** What a node answers when it does not do what it was asked (RFC 9457); status 0 if it does not answer. */
export class Problem extends Error {
  constructor({ status, code, title, detail }) {
    super(detail ?? title);
    Object.assign(this, { status, code, title, detail });
  }

  static async of(response) {
    const { status, statusText } = response;
    const body = await response.json().catch(() => ({}));
    return new Problem({ status, code: body.code, title: body.title ?? statusText, detail: body.detail });
  }
}

async function send(path, { method = "GET", body, signal, timeoutMs = TIMEOUT_MS } = {}, bearer) {
  const headers = bearer ? { Authorization: `Bearer ${bearer}` } : {};
  const signals = [signal, timeoutMs && AbortSignal.timeout(timeoutMs)].filter(Boolean);
  const options = { method, headers, signal: AbortSignal.any(signals), cache: "no-store", credentials: "omit" };
  if (body !== undefined) options.body = JSON.stringify(body);
  try {
    return await fetch(path, options);
  } catch (error) {
    if (signal?.aborted) throw error;
    const detail = error.name === "TimeoutError" ? "The node did not answer in time." : "The node could not be reached.";
    throw new Problem({ status: 0, code: "unreachable", title: "No answer", detail });
  }
}

/**
 * Asks the node, and the user for a token where that is needed. Gives the response.
 * @throws {Problem} for any status but 2xx, and if there is no answer
 */
export async function request(path, options) {
  for (;;) {
    const used = token.current();
    const response = await send(path, options, used);
    if (response.ok) return response;
    const problem = await Problem.of(response);
    if (response.status !== 401) throw problem;
    // Meanwhile another request may have been given a token.
    if (token.current() === used && !(await token.ask(problem))) throw problem;
  }
}

export async function getJson(path, options) {
  return (await request(path, options)).json();
}

export async function postJson(path, body, options) {
  return (await request(path, { ...options, method: "POST", body })).json();
}

/** `path?name=value`, of the parameters that have a value. */
export function withQuery(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  return query.size ? `${path}?${query}` : path;
}
