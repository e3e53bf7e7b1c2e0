/** Small HTTP servers that fail in chosen ways. */

import { once } from "node:events";
import { createServer } from "node:http";

import { freePorts } from "./ports.js";

/**
 * A node that answers as `answer(request, response, body)` says, and remembers what it was asked:
 * `{ method, path, headers, body }`.
 */
export async function fakeNode(context, answer) {
  const requests = [];
  const sockets = new Set();
  const server = createServer(async (request, response) => {
    const chunks = [];
    try {
      for await (const chunk of request) chunks.push(chunk);
    } catch {
      return; // The client went away.
    }
    const body = Buffer.concat(chunks).toString();
    const { method, url: path, headers } = request;
    requests.push({ method, path, headers, body });
    await answer(request, response, body);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    if (!server.listening) return;
    server.close();
    await once(server, "close");
  };
  context.after(close);
  return { endpoint: `http://127.0.0.1:${server.address().port}`, requests, close, sockets };
}

/** An endpoint where nobody listens. */
export async function deadEndpoint() {
  const [port] = await freePorts(1);
  return `http://127.0.0.1:${port}`;
}

export function json(response, status, value, headers = {}) {
  response.writeHead(status, { "Content-Type": "application/json", ...headers });
  response.end(JSON.stringify(value));
}

/** tallykeep's form of an error (RFC 9457). */
export function problem(response, status, code, headers = {}) {
  const title = { 400: "Bad Request", 500: "Internal Server Error", 503: "Service Unavailable" }[status] ?? "Error";
  const body = { type: "about:blank", title, status, detail: `detail of ${code}`, code, error: title };
  json(response, status, body, { "Content-Type": "application/problem+json", ...headers });
}

/** An answer of `POST /check`. */
export const ALLOWED = { allowed: true, remaining: 95, resetTime: 1634567890000 };
