//! Certificates for people.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::DateTime;

use super::Error;
use crate::tls::Certificate;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// What stands in a file, or in all files of a folder that end in `.crt`.
pub(super) fn show(path: &Path, now_ms: u64) -> Result<String, Error> {
    let mut text = String::new();
    for file in files(path)? {
        for certificate in Certificate::load(&file)? {
            describe(&mut text, &file, &certificate, now_ms);
        }
    }
    Ok(text)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "crt") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn describe(text: &mut String, file: &Path, certificate: &Certificate, now_ms: u64) {
    let Certificate { subject, issuer, serial, not_before_ms, not_after_ms, .. } = certificate;
    let left = match not_after_ms.checked_sub(now_ms) {
        Some(left_ms) => format!("{} days left", left_ms / DAY_MS),
        None => "EXPIRED".to_owned(),
    };
    let names = match (certificate.is_ca, certificate.names.join(", ")) {
        (true, names) if names.is_empty() => "(a CA)".to_owned(),
        (_, names) => names,
    };
    writeln!(
        text,
        "{}\n  subject  {subject}\n  issuer   {issuer}\n  names    {names}\n  valid    {} to {}, {left}\n  serial   {serial}",
        file.display(),
        day(*not_before_ms),
        day(*not_after_ms),
    )
    .expect("text can be written");
}

fn day(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis);
    time.map_or_else(|| "?".to_owned(), |time| time.format("%Y-%m-%d").to_string())
}
