//! PEM files: read, and made into what rustls takes.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::limits;

/// Where a listener's certificate and its key are, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The CAs whose certificates are taken; without, none is asked for.
    pub ca: Option<PathBuf>,
    /// The certificate, and behind it those between it and its CA, if there are any.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
}

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", .path.display())]
pub struct Error {
    path: PathBuf,
    message: String,
}

impl Error {
    pub(super) fn new(path: &Path, message: impl ToString) -> Self {
        Self { path: path.to_owned(), message: message.to_string() }
    }
}

/// What stands in [`Files`], compared to know whether it has changed. It has a key in it and so no
/// `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Contents {
    ca: Option<Vec<u8>>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// [`Contents`] that could be read.
pub(super) struct Parsed {
    pub(super) ca: Option<Ca>,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// The CAs of a file.
pub(super) struct Ca {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) roots: Arc<RootCertStore>,
}

impl Files {
    /// Reads all of them.
    pub(super) fn read(&self) -> Result<Contents, Error> {
        Ok(Contents {
            ca: self.ca.as_deref().map(read).transpose()?,
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
        })
    }

    /// Makes sense of what was read.
    pub(super) fn parse(&self, contents: &Contents) -> Result<Parsed, Error> {
        let ca = match (&self.ca, &contents.ca) {
            (Some(path), Some(bytes)) => Some(authorities(path, bytes)?),
            _ => None,
        };
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|error| Error::new(&self.key, describe(&error, "private key")))?;
        Ok(Parsed { ca, chain: certificates(&self.certificate, &contents.certificate)?, key })
    }

    /// Whether others on the machine than the owner and the group can read the key.
    pub(super) fn key_is_open(&self) -> bool {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(&self.key).is_ok_and(|file| file.permissions().mode() & 0o007 != 0)
    }
}

/// The bytes of a file that is no larger than such files are.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limits::PEM_BYTES_MAX + 1).read_to_end(&mut bytes))
        .and_then(|_| match bytes.len() as u64 > limits::PEM_BYTES_MAX {
            true => Err(io::Error::other(format!("more than {} bytes", limits::PEM_BYTES_MAX))),
            false => Ok(()),
        })
        .map_err(|error| Error::new(path, error))?;
    Ok(bytes)
}

/// The certificates in a file, at least one.
pub(super) fn load_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    certificates(path, &read(path)?)
}

/// The CAs in a file, at least one.
pub(super) fn load_authorities(path: &Path) -> Result<Ca, Error> {
    authorities(path, &read(path)?)
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(Error::new(path, describe(&PemError::NoItemsFound, "certificate"))),
        Err(error) => Err(Error::new(path, describe(&error, "certificate"))),
    }
}

fn authorities(path: &Path, pem: &[u8]) -> Result<Ca, Error> {
    let certificates = certificates(path, pem)?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots.add(certificate.clone()).map_err(|error| Error::new(path, error))?;
    }
    Ok(Ca { certificates, roots: Arc::new(roots) })
}

/// What is wrong with a file that should have held a `what`. Never what stands in it.
fn describe(error: &PemError, what: &str) -> String {
    match error {
        PemError::NoItemsFound => format!("holds no {what} in PEM"),
        PemError::Base64Decode(_) => format!("holds a {what} that is not Base64"),
        PemError::MissingSectionEnd { .. } => format!("holds a {what} without an end"),
        _ => "is not PEM".to_owned(),
    }
}
