/** Asking again and again, while somebody looks. */

/**
 * Calls `look(signal)` at once and then every `intervalMs` after it has ended, while the page is seen. `look`
 * deals with its own errors. Gives `stop()`, after which nothing more is asked for, and `again()`, which does not wait.
 */
export function poll(intervalMs, look) {
  const ended = new AbortController();
  let timer;
  let isLooking = false;

  async function round() {
    clearTimeout(timer);
    if (ended.signal.aborted || isLooking || document.hidden) return;
    isLooking = true;
    try {
      await look(ended.signal);
    } catch (error) {
      if (!ended.signal.aborted) console.error(error);
    } finally {
      isLooking = false;
    }
    if (!ended.signal.aborted) timer = setTimeout(round, intervalMs);
  }

  document.addEventListener("visibilitychange", round, { signal: ended.signal });
  document.addEventListener("token", round, { signal: ended.signal });
  round();
  return {
    again: round,
    stop() {
      ended.abort();
      clearTimeout(timer);
    },
  };
}
