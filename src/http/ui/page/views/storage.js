/** Disk, memory and alarms of this node. */

import { Chart } from "../chart.js";
import { facts, fill, h, refresh, tile } from "../dom.js";
import { bytes, count, measure, perSecond, time, took } from "../format.js";
import { problemBox } from "../problem.js";
import { listen, recorded } from "../recorder.js";
import { Table } from "../table.js";
import { watched } from "../watch.js";

export const title = "Storage";

const RANGE_S = 900;
/** An alarm that is due for longer is late: the leader looks twice a second. */
const OVERDUE_S = 1;

export function mount(container) {
  const charts = [
    new Chart({
      title: "Alarms",
      note: "windows that ended, entries removed, per second",
      format: perSecond,
      lines: [
        { label: "windows", value: ({ windows }) => windows },
        { label: "entries", value: ({ removed }) => removed },
      ],
    }),
    new Chart({
      title: "Memory",
      note: "of the process, and what RocksDB keeps in it",
      format: bytes,
      least: 1024 ** 2,
      isBinary: true,
      lines: [
        { label: "resident", value: ({ resident }) => resident },
        { label: "memtables", value: ({ memtables }) => memtables },
        { label: "block cache", value: ({ cache }) => cache },
      ],
    }),
    new Chart({
      title: "State on disk",
      note: "files of all tables",
      format: bytes,
      least: 1024 ** 2,
      isBinary: true,
      lines: [{ label: "state", value: ({ state }) => state }],
    }),
  ];
  const tables = new Table({
    caption: "Tables of the state; rows are RocksDB's estimates",
    key: (row) => row.table,
    kind: "compact",
    columns: [
      { title: "Table", kind: "code", cell: (row) => row.table },
      { title: "Rows", kind: "number", cell: (row) => count(row.rows) },
      { title: "On disk", kind: "number", cell: (row) => bytes(row.bytes) },
    ],
  });
  const databases = new Table({
    caption: "RocksDB",
    key: (row) => row.db,
    columns: [
      { title: "Database", kind: "code", cell: (row) => row.db },
      { title: "Memtables", kind: "number", cell: (row) => bytes(row.memtable) },
      { title: "To compact", kind: "number", cell: (row) => bytes(row.pending) },
      { title: "Compactions", kind: "number", cell: (row) => count(row.compactions) },
      { title: "Flushes", kind: "number", cell: (row) => count(row.flushes) },
      { title: "Writes", cell: (row) => h("span", { class: "state", "data-state": row.stopped ? "bad" : "ok" }, row.stopped ? "stopped" : "taken") },
    ],
  });
  const trouble = h("div", {});
  const scope = h("p", { class: "muted" }, "What this node keeps.");
  const tiles = h("dl", { class: "tiles" });
  const alarms = h("div", {});
  const log = h("div", {});
  fill(
    container,
    scope,
    trouble,
    tiles,
    h("div", { class: "charts" }, charts.map(({ element }) => element)),
    h(
      "div",
      { class: "columns" },
      h("section", { "aria-labelledby": "alarms" }, h("h2", { id: "alarms" }, "Alarms since the node started"), alarms),
      h("section", { "aria-labelledby": "log" }, h("h2", { id: "log" }, "Log and snapshots"), log),
    ),
    tables.element,
    databases.element,
  );

  const stop = listen(() => {
    const { points, latest, before, error } = recorded;
    fill(trouble, error && problemBox(error));
    if (watched.report) fill(scope, `What node ${watched.report.id} keeps, and what its alarms do.`);
    if (!latest) return;
    refresh(tiles, figures(latest));
    for (const chart of charts) chart.update(points, RANGE_S);
    fill(alarms, alarmFacts(latest, before ?? latest));
    fill(log, logFacts(latest));
    tables.update(rowsOf(latest, "table", { rows: "tallykeep_state_rows", bytes: "tallykeep_state_bytes" }));
    databases.update(
      rowsOf(latest, "db", {
        memtable: "tallykeep_rocksdb_memtable_bytes",
        pending: "tallykeep_rocksdb_pending_compaction_bytes",
        compactions: "tallykeep_rocksdb_running_compactions",
        flushes: "tallykeep_rocksdb_running_flushes",
        stopped: "tallykeep_rocksdb_write_stopped",
      }),
    );
  });
  return {
    unmount() {
      stop();
      for (const chart of charts) chart.end();
    },
  };
}

function figures(now) {
  const free = now.sum("tallykeep_disk_free_bytes");
  const reserve = now.sum("tallykeep_disk_reserve_bytes");
  const overdue = now.sum("tallykeep_alarm_overdue_seconds");
  return [
    tile("Disk, free", bytes(free), `${bytes(reserve)} in reserve`, free < reserve ? "bad" : free < 2 * reserve ? "warn" : undefined),
    tile("State on disk", bytes(now.sum("tallykeep_state_bytes"))),
    tile("Memory", bytes(now.sum("process_resident_memory_bytes"))),
    tile("Open files", count(now.sum("process_open_fds")), `of ${count(now.sum("process_max_fds"))}`),
    tile("Alarm overdue", took(overdue), "up to 0.5 s is usual", overdue > OVERDUE_S ? "warn" : undefined),
  ];
}

function alarmFacts(now, before) {
  const total = (name) => count(now.sum(name));
  return facts([
    ["Ticks", total("tallykeep_alarm_ticks_total")],
    ["Limiter windows ended", total("tallykeep_alarm_windows_total")],
    ["Audit entries removed", total("tallykeep_alarm_entries_total")],
    ["Audit shards removed whole", total("tallykeep_alarm_shards_total")],
    ["Lateness, p99 (on the leader)", took(now.quantile(before, "tallykeep_alarm_lateness_seconds", 0.99))],
  ]);
}

function logFacts(now) {
  const value = (name) => count(now.sum(name));
  const started = now.sum("process_start_time_seconds");
  const [build] = now.all("tallykeep_build_info");
  return facts([
    ["Last entry", value("tallykeep_raft_last_log_index")],
    ["Applied", value("tallykeep_raft_applied_index")],
    ["Newest snapshot up to", value("tallykeep_raft_snapshot_index")],
    ["Dropped up to", value("tallykeep_raft_purged_index")],
    ["Snapshots built, installed", ["built", "installed"].map((what) => measure(now.sum("tallykeep_snapshots_total", (labels) => labels.what === what) ?? 0)).join(", ")],
    ["Node started", started ? time(started * 1000) : undefined],
    ["Version", build?.labels.version],
  ].filter(([, text]) => text !== undefined));
}

/** A row for each value of `label`, with a column for each metric. */
function rowsOf(now, label, metrics) {
  const rows = new Map();
  for (const [column, name] of Object.entries(metrics)) {
    for (const { labels, value } of now.all(name)) {
      const row = rows.get(labels[label]) ?? { [label]: labels[label] };
      row[column] = value;
      rows.set(labels[label], row);
    }
  }
  return [...rows.values()];
}
