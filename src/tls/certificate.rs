//! What a certificate says, for people and for warnings.

use std::net::IpAddr;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};
use x509_cert::time::Time;

use super::files::{Error, load_certificates};

/// A certificate, as far as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whose it is, as a distinguished name.
    pub subject: String,
    /// The common name in it, if it has one.
    pub common_name: Option<String>,
    /// The organization in it, if it has one.
    pub organization: Option<String>,
    /// Who signed it.
    pub issuer: String,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// The DNS names and IP addresses that it is made out to.
    pub names: Vec<String>,
    /// Whether it may sign others.
    pub is_ca: bool,
    /// Its public key, as its algorithm has it.
    pub public_key: Vec<u8>,
    /// The first moment at which it is valid, in ms since the Unix epoch.
    pub not_before_ms: u64,
    /// The last one.
    pub not_after_ms: u64,
}

impl Certificate {
    /// All certificates of a PEM file, at least one, in their order.
    ///
    /// # Errors
    /// If the file cannot be read, or holds what is no certificate.
    pub fn load(path: &Path) -> Result<Vec<Self>, Error> {
        let read = load_certificates(path)?;
        read.iter().map(|der| Self::of(der).map_err(|why| Error::new(path, why))).collect()
    }

    pub(super) fn of(der: &CertificateDer<'_>) -> Result<Self, String> {
        let broken = |error| format!("holds what is no certificate: {error}");
        let certificate = x509_cert::Certificate::from_der(der).map_err(broken)?;
        let certificate = certificate.tbs_certificate();
        let names = certificate.get_extension::<SubjectAltName>().map_err(broken)?;
        let constraints = certificate.get_extension::<BasicConstraints>().map_err(broken)?;
        let common_name = certificate.subject().common_name().map_err(broken)?;
        let organization = certificate.subject().organization().map_err(broken)?;
        let key = &certificate.subject_public_key_info().subject_public_key;
        Ok(Self {
            subject: certificate.subject().to_string(),
            common_name: common_name.map(|name| name.value().into_owned()),
            organization: organization.map(|name| name.value().into_owned()),
            issuer: certificate.issuer().to_string(),
            serial: hex::encode(certificate.serial_number().as_bytes()),
            names: names.iter().flat_map(|(_, names)| &names.0).filter_map(name).collect(),
            is_ca: constraints.is_some_and(|(_, constraints)| constraints.ca),
            public_key: key.raw_bytes().to_vec(),
            not_before_ms: ms(certificate.validity().not_before),
            not_after_ms: ms(certificate.validity().not_after),
        })
    }
}

/// The names that are of use here: others are left out.
fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        GeneralName::IpAddress(address) => {
            let bytes = address.as_bytes();
            let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

fn ms(time: Time) -> u64 {
    u64::try_from(time.to_unix_duration().as_millis()).unwrap_or(u64::MAX)
}
