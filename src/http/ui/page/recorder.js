/** What this node's `/metrics` came to, since the page was opened. */

import { request } from "./api.js";
import { Snapshot } from "./metrics.js";
import { poll } from "./poll.js";

const INTERVAL_MS = 2_000;
/** Rates and quantiles are over this time, as far as the page was open for so long. */
const WINDOW_MS = 10_000;
/** An hour of points. */
const POINTS_MAX = 1_800;

/** The requests of clients, not those of operators, probes and this page: these have a binding. */
export const ALL = "all";
const ofClients = ({ binding }) => binding !== "";

/** `{ points, latest, before, error }`: what is drawn, the two newest looks that figures are made of, and what went wrong. */
export const recorded = { points: [], latest: undefined, before: undefined, error: undefined };

let window_ = [];
const listeners = new Set();

/** Calls `listener` after each look, and at once if there was one; gives a function that ends that. */
export function listen(listener) {
  listeners.add(listener);
  if (recorded.latest || recorded.error) listener();
  return () => listeners.delete(listener);
}

export function begin() {
  poll(INTERVAL_MS, async (signal) => {
    try {
      const text = await (await request("metrics", { signal })).text();
      take(new Snapshot(text, Date.now()));
      recorded.error = undefined;
    } catch (error) {
      if (signal.aborted) return;
      recorded.error = error;
    }
    for (const listener of listeners) listener();
  });
}

function take(snapshot) {
  const last = window_.at(-1);
  // After a pause, as of a tab that was hidden, the line is broken rather than drawn through.
  if (last && snapshot.atMs - last.atMs > 3 * WINDOW_MS) {
    window_ = [];
    recorded.points.push({ atMs: last.atMs + INTERVAL_MS });
  }
  while (window_.length > 1 && snapshot.atMs - window_[1].atMs >= WINDOW_MS) window_.shift();
  recorded.latest = snapshot;
  recorded.before = window_[0];
  window_.push(snapshot);
  if (!recorded.before) return;
  recorded.points.push(point(recorded.before, snapshot));
  if (recorded.points.length > POINTS_MAX) recorded.points.shift();
}

function point(before, now) {
  const endpoints = new Map([[ALL, traffic(before, now, ofClients)]]);
  for (const { labels } of now.all("tallykeep_http_request_seconds_count", ofClients)) {
    const { binding, endpoint } = labels;
    const where = (other) => other.binding === binding && other.endpoint === endpoint;
    endpoints.set(`${binding} ${endpoint}`, traffic(before, now, where));
  }
  const p99 = (name) => now.quantile(before, name, 0.99);
  return {
    atMs: now.atMs,
    endpoints,
    queue: p99("tallykeep_proposal_queue_seconds"),
    sync: p99("tallykeep_log_sync_seconds"),
    batch: p99("tallykeep_batch_seconds"),
    apply: p99("tallykeep_apply_seconds"),
    windows: now.rate(before, "tallykeep_alarm_windows_total"),
    removed: now.rate(before, "tallykeep_alarm_entries_total"),
    lateness: now.quantile(before, "tallykeep_alarm_lateness_seconds", 0.99),
    resident: now.sum("process_resident_memory_bytes"),
    memtables: now.sum("tallykeep_rocksdb_memtable_bytes"),
    cache: now.sum("tallykeep_rocksdb_block_cache_bytes"),
    state: now.sum("tallykeep_state_bytes"),
    free: now.sum("tallykeep_disk_free_bytes"),
  };
}

/** What became of requests, per second, and how long they took, in seconds. */
export function traffic(before, now, where) {
  const answered = (is) =>
    now.rate(before, "tallykeep_http_requests_total", (labels) => where(labels) && is(labels.status));
  const quantile = (q) => now.quantile(before, "tallykeep_http_request_seconds", q, where);
  return {
    requests: answered(() => true),
    refused: answered((status) => status === "429"),
    errors: answered((status) => status >= "400" && status !== "429"),
    p50: quantile(0.5),
    p90: quantile(0.9),
    p99: quantile(0.99),
  };
}
