/** Whether a cluster carries requests out once for their `Idempotency-Key`. */

import { waitFor } from "./wait.js";

/**
 * Waits until keys are not refused: nodes that have just started refuse them until they know of each
 * other that they know keys. Gives whether a key does anything then; old servers ignore it.
 */
export async function takesKeys(endpoint) {
  const headers = { "Idempotency-Key": crypto.randomUUID() };
  const body = JSON.stringify({ identifier: "takesKeys", config: { requests: 1_000, windowMs: 60_000 } });
  const ask = async () => {
    const answer = await fetch(`${endpoint}/check`, { method: "POST", headers, body });
    await answer.text();
    return answer;
  };
  await waitFor("keys are not refused", async () => (await ask()).status === 200);
  return (await ask()).headers.get("idempotency-replayed") === "true";
}
