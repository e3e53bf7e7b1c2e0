/** Three nodes with something to show, started as the JavaScript client's tests do it. */

import { after } from "node:test";

import { startCluster } from "../../../clients/js/test/support/cluster.js";

/** What a file of tests leaves behind, ended when they are over, last things first. */
export function ending() {
  const ends = [];
  after(async () => {
    for (const end of ends.reverse()) await end();
  });
  return { after: (end) => ends.push(end) };
}

export async function send(endpoint, path, body) {
  const answer = await fetch(endpoint + path, { method: "POST", body: JSON.stringify(body) });
  return { status: answer.status, body: await answer.json() };
}

/** Three nodes: a limiter that refuses, one that does not, and some audit entries, through node 1. */
export async function clusterWithData(context) {
  const cluster = await startCluster(context, 3);
  const endpoint = cluster.endpoint(1);
  for (let sent = 0; sent < 12; sent += 1) {
    await send(endpoint, "/check", { identifier: "user-7", type: "wix", config: { requests: 5, windowMs: 3_600_000 } });
    await send(endpoint, "/check", { identifier: `user-${sent}`, type: "gamma", config: { requests: 50, windowMs: 3_600_000 } });
    await send(endpoint, "/log", {
      type: sent % 3 ? "wix_request" : "payment",
      action: sent % 3 ? "api_call" : "captured",
      userId: `user-${sent % 4}`,
      ip: `203.0.113.${sent}`,
      details: { path: "/api/wix/content", method: "POST", sent },
    });
  }
  return cluster;
}
