/** Waits for a condition, never for a time. */

/** Tries `condition` until it gives something true, which is returned; fails with `what` if it does not. */
export async function waitFor(what, condition, timeoutMs = 60_000) {
  const deadlineMs = Date.now() + timeoutMs;
  let last;
  for (;;) {
    try {
      const value = await condition();
      if (value) return value;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadlineMs) throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
