//! Every metric, by the place where it is counted.

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

use super::buckets::{LONG_SECONDS, REQUESTS, SECONDS};

/// A list of metrics, each with its maker: so that none is forgotten on registering.
macro_rules! metrics {
    (
        $(#[$about:meta])*
        $name:ident {
            $($field:ident: $kind:ty = $make:ident($metric:literal, $help:literal $(, $more:expr)?);)*
        }
    ) => {
        $(#[$about])*
        pub struct $name {
            $(#[doc = $help] pub $field: $kind,)*
        }

        impl $name {
            /// All of them, in `registry`.
            ///
            /// # Panics
            /// If two have one name.
            pub(super) fn new(registry: &Registry) -> Self {
                Self {
                    $($field: {
                        let made = $make($metric, $help $(, $more)?);
                        registry.register(Box::new(made.clone())).expect("each name once");
                        made
                    },)*
                }
            }

            #[cfg(test)]
            pub(super) fn names(&self) -> Vec<String> {
                vec![$($metric.to_owned(),)*]
            }
        }
    };
}

metrics! {
    /// What happens, counted and timed.
    Counted {
        http_requests: IntCounterVec = counters("tallykeep_http_requests_total",
            "Requests that were answered, by binding, class, endpoint and status.",
            &["binding", "class", "endpoint", "status"]);
        http_seconds: HistogramVec = timers("tallykeep_http_request_seconds",
            "Seconds from a request's head to the head of its answer.",
            &["binding", "class", "endpoint"]);
        http_refused_connections: IntCounter = counter("tallykeep_http_connections_refused_total",
            "Clients' connections that were one too many.");
        http_address_refused_connections: IntCounter = counter("tallykeep_http_address_connections_refused_total",
            "Clients' connections that were one too many of their address.");
        http_token_limited: IntCounter = counter("tallykeep_http_token_limited_total",
            "Requests that were refused because their token asks more often than it may.");
        http_connections: IntGauge = gauge("tallykeep_http_connections",
            "Clients' connections that are open.");
        tail_clients: IntGauge = gauge("tallykeep_tail_clients",
            "Clients that follow this node's requests.");
        tail_dropped: IntCounter = counter("tallykeep_tail_dropped_total",
            "Requests that somebody who watches was not told of, having been too slow.");
        spans: IntCounterVec = counters("tallykeep_spans_total",
            "Spans for the collector, by what came of them: exported, dropped for want of room, or failed.",
            &["outcome"]);
        checks: IntCounterVec = counters("tallykeep_checks_total",
            "Checks that clients of this node had decided: admitted, refused by an entry of the log, or refused by a read.",
            &["outcome"]);
        queue_seconds: Histogram = timer("tallykeep_proposal_queue_seconds",
            "Seconds that a change waited on this node until its group was made.");
        group_requests: Histogram = sizes("tallykeep_group_requests",
            "Requests in a group that this node sent to the leader.");
        batch_groups: Histogram = sizes("tallykeep_batch_groups",
            "Groups in a batch that this node proposed as leader.");
        batch_bytes: IntCounter = counter("tallykeep_batch_bytes_total",
            "Bytes of the batches that this node proposed as leader.");
        batches: IntCounterVec = counters("tallykeep_batches_total",
            "Batches that this node proposed as leader, by what came of them.",
            &["outcome"]);
        batch_seconds: Histogram = timer("tallykeep_batch_seconds",
            "Seconds from the proposal of a batch to its outcome, on the leader: sync, replication, commit and application.");
        apply_seconds: Histogram = timer("tallykeep_apply_seconds",
            "Seconds to apply an entry of the log.");
        sync_seconds: Histogram = timer("tallykeep_log_sync_seconds",
            "Seconds of a sync of the log.");
        log_bytes: IntCounter = counter("tallykeep_log_appended_bytes_total",
            "Bytes of the entries that were appended to the log.");
        read_rounds: Histogram = timer("tallykeep_read_round_seconds",
            "Seconds to ask for a read index, for all reads that waited.");
        ticks: IntCounter = counter("tallykeep_alarm_ticks_total",
            "Ticks that were applied, on whichever node led.");
        alarm_windows: IntCounter = counter("tallykeep_alarm_windows_total",
            "Limiter windows that ticks ended.");
        alarm_entries: IntCounter = counter("tallykeep_alarm_entries_total",
            "Audit entries that ticks removed one by one.");
        alarm_shards: IntCounter = counter("tallykeep_alarm_shards_total",
            "Audit shards that ticks removed whole.");
        alarm_lateness: Histogram = timer("tallykeep_alarm_lateness_seconds",
            "Seconds from an alarm's time to its tick, on the leader.");
        quota_refusals: IntCounterVec = counters("tallykeep_quota_refusals_total",
            "Changes that a quota refused to clients of this node, by which: object_bytes, objects.", &["quota"]);
        snapshot_seconds: Histogram = long_timer("tallykeep_snapshot_build_seconds",
            "Seconds to build a snapshot.");
        snapshots: IntCounterVec = counters("tallykeep_snapshots_total",
            "Snapshots that were built, or installed here.",
            &["what"]);
    }
}

metrics! {
    /// What is, as of the moment at which it is looked.
    Gauges {
        build: IntGaugeVec = gauge_vec("tallykeep_build_info",
            "Always 1; the labels say which build this is.", &["version"]);
        ready: IntGauge = gauge("tallykeep_ready",
            "1 if this node can serve.");
        queue_requests: IntGauge = gauge("tallykeep_proposal_queue_requests",
            "Changes that wait on this node.");
        queue_bytes: IntGauge = gauge("tallykeep_proposal_queue_bytes",
            "Bytes of the changes that wait on this node.");
        alarm_overdue_seconds: Gauge = float_gauge("tallykeep_alarm_overdue_seconds",
            "Seconds since the first alarm that was not rung was due; 0 if none is.");
        raft_term: IntGauge = gauge("tallykeep_raft_term",
            "The term.");
        raft_role: IntGaugeVec = gauge_vec("tallykeep_raft_role",
            "1 for what this node is, 0 for the rest.", &["role"]);
        raft_leader: IntGauge = gauge("tallykeep_raft_leader_id",
            "The leader's id, as far as this node knows; 0 if it knows none.");
        raft_last_log: IntGauge = gauge("tallykeep_raft_last_log_index",
            "Index of the last entry in the log.");
        raft_applied: IntGauge = gauge("tallykeep_raft_applied_index",
            "Index of the last entry that was applied.");
        raft_snapshot: IntGauge = gauge("tallykeep_raft_snapshot_index",
            "Index up to which the last snapshot goes.");
        raft_purged: IntGauge = gauge("tallykeep_raft_purged_index",
            "Index up to which the log was dropped.");
        raft_lag_entries: IntGaugeVec = gauge_vec("tallykeep_raft_lag_entries",
            "On the leader: entries that each other node is behind the leader's log.", &["node"]);
        peer_reachable: IntGaugeVec = gauge_vec("tallykeep_peer_reachable",
            "1 for each other node that answers this one.", &["node"]);
        clock_trusted: IntGauge = gauge("tallykeep_clock_trusted",
            "0 while this node's wall clock is far from its peers' clocks, and not used.");
        command_version: IntGauge = gauge("tallykeep_command_version",
            "Up to which version the log may hold commands.");
        disk_free_bytes: IntGauge = gauge("tallykeep_disk_free_bytes",
            "Bytes that are free where this node keeps its data.");
        disk_reserve_bytes: IntGauge = gauge("tallykeep_disk_reserve_bytes",
            "Bytes that are to be free: with less, clients' writes are refused.");
        objects: IntGaugeVec = gauge_vec("tallykeep_objects",
            "Objects.", &["binding"]);
        objects_bytes: IntGaugeVec = gauge_vec("tallykeep_objects_bytes",
            "Bytes that objects take, as quotas count them.", &["binding"]);
        quota_object_bytes: IntGaugeVec = gauge_vec("tallykeep_quota_object_bytes",
            "Bytes that one object may take.", &["binding"]);
        quota_objects: IntGaugeVec = gauge_vec("tallykeep_quota_objects",
            "Objects that there may be, where that is bounded.", &["binding"]);
        crowded_objects: IntGaugeVec = gauge_vec("tallykeep_quota_crowded_objects",
            "Objects that were written in the last hour and take 80 % of what they may, or were refused more.", &["binding"]);
        table_rows: IntGaugeVec = gauge_vec("tallykeep_state_rows",
            "Rows of each table of the state on disk, as RocksDB estimates them.", &["table"]);
        table_bytes: IntGaugeVec = gauge_vec("tallykeep_state_bytes",
            "Bytes of the files of each table of the state.", &["table"]);
        memtable_bytes: IntGaugeVec = gauge_vec("tallykeep_rocksdb_memtable_bytes",
            "Bytes of memtables.", &["db"]);
        pending_compaction_bytes: IntGaugeVec = gauge_vec("tallykeep_rocksdb_pending_compaction_bytes",
            "Bytes that compactions have yet to rewrite, as RocksDB estimates them.", &["db"]);
        running_compactions: IntGaugeVec = gauge_vec("tallykeep_rocksdb_running_compactions",
            "Compactions under way.", &["db"]);
        running_flushes: IntGaugeVec = gauge_vec("tallykeep_rocksdb_running_flushes",
            "Flushes under way.", &["db"]);
        write_stopped: IntGaugeVec = gauge_vec("tallykeep_rocksdb_write_stopped",
            "1 while RocksDB takes no writes.", &["db"]);
        block_cache_bytes: IntGauge = gauge("tallykeep_rocksdb_block_cache_bytes",
            "Bytes in the block cache of the state, what is charged for memtables among them.");
        certificate_expiry: IntGaugeVec = gauge_vec("tallykeep_certificate_expiry_timestamp_seconds",
            "When a certificate in use ends, in seconds since the Unix epoch.", &["listener"]);
    }
}

fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::new(name, help).expect("a good name")
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect("good names")
}

fn gauge(name: &str, help: &str) -> IntGauge {
    IntGauge::new(name, help).expect("a good name")
}

fn gauge_vec(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    IntGaugeVec::new(Opts::new(name, help), labels).expect("good names")
}

fn float_gauge(name: &str, help: &str) -> Gauge {
    Gauge::new(name, help).expect("a good name")
}

fn histogram(name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    Histogram::with_opts(options).expect("good names, and bounds that ascend")
}

fn timer(name: &str, help: &str) -> Histogram {
    histogram(name, help, SECONDS)
}

fn long_timer(name: &str, help: &str) -> Histogram {
    histogram(name, help, LONG_SECONDS)
}

fn sizes(name: &str, help: &str) -> Histogram {
    histogram(name, help, REQUESTS)
}

fn timers(name: &str, help: &str, labels: &[&str]) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
    HistogramVec::new(options, labels).expect("good names, and bounds that ascend")
}
