//! What RocksDB knows of its instances, set in the metrics when somebody asks for them.

use std::io;

use rocksdb::{ColumnFamily, DB, properties};

use super::rocks;
use crate::metrics::{IntGaugeVec, gauges};

/// Sets the gauges that both instances have: `name` is which one, `families` are all of its own.
pub(super) fn instance(name: &str, db: &DB, families: &[&ColumnFamily]) -> io::Result<()> {
    let gauges = gauges();
    let sum = |property| -> io::Result<u64> {
        families.iter().map(|family| property_of(db, family, property)).sum()
    };
    let set = |gauge: &IntGaugeVec, value: u64| {
        gauge.with_label_values(&[name]).set(i64::try_from(value).unwrap_or(i64::MAX));
    };
    set(&gauges.memtable_bytes, sum(properties::CUR_SIZE_ALL_MEM_TABLES)?);
    set(&gauges.pending_compaction_bytes, sum(properties::ESTIMATE_PENDING_COMPACTION_BYTES)?);
    // These are the instance's, whichever family is asked.
    if let Some(family) = families.first() {
        let of = |property| property_of(db, family, property);
        set(&gauges.running_compactions, of(properties::NUM_RUNNING_COMPACTIONS)?);
        set(&gauges.running_flushes, of(properties::NUM_RUNNING_FLUSHES)?);
        set(&gauges.write_stopped, of(properties::IS_WRITE_STOPPED)?);
    }
    Ok(())
}

/// Sets the gauges of one table of the state.
pub(super) fn table(name: &str, db: &DB, family: &ColumnFamily) -> io::Result<()> {
    let gauges = gauges();
    for (gauge, property) in [
        (&gauges.table_rows, properties::ESTIMATE_NUM_KEYS),
        (&gauges.table_bytes, properties::TOTAL_SST_FILES_SIZE),
    ] {
        let value = property_of(db, family, property)?;
        gauge.with_label_values(&[name]).set(i64::try_from(value).unwrap_or(i64::MAX));
    }
    Ok(())
}

fn property_of(db: &DB, family: &ColumnFamily, property: &properties::PropName) -> io::Result<u64> {
    let value = db.property_int_value_cf(family, property);
    let value = value.map_err(|error| rocks::fault("look at", db.path(), &error))?;
    Ok(value.unwrap_or(0))
}
