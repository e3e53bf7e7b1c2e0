//! The CA, and what it signs: ECDSA on P-256, which every TLS library knows.

use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::Error;
use crate::limits::CA_DAYS;
use crate::tls::{Certificate, node_name};

/// How a CA's own name begins; a random number makes it one that no other has, so that who does not
/// know a CA says so, and does not take it for another with a bad signature.
const NAME: &str = "tallykeep CA ";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Certificates are valid from so long ago, for machines whose clocks are behind.
const BACKDATED_MS: u64 = 60 * 60 * 1000;

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// A CA with its key.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pair: Pair,
    /// It signs for nodes of this one.
    cluster: String,
    not_after_ms: u64,
}

impl Authority {
    /// A new one, for nodes of `cluster`.
    pub(super) fn new(cluster: &str, now_ms: u64) -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let name = format!("{NAME}{:08x}", rand::random::<u32>());
        let not_after_ms = now_ms + u64::from(CA_DAYS) * DAY_MS;
        let mut params = params(&name, cluster, now_ms, not_after_ms);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        let pair = Pair { certificate: certificate.pem(), key: key.serialize_pem() };
        let issuer = Issuer::new(params, key);
        Ok(Self { issuer, pair, cluster: cluster.to_owned(), not_after_ms })
    }

    /// One that `new` has made before; its certificate is at `path`.
    pub(super) fn load(path: &Path, pair: Pair, now_ms: u64) -> Result<Self, Error> {
        let refused = |why: &str| Error::Authority { path: path.to_owned(), why: why.to_owned() };
        let certificate = Certificate::load(path)?.remove(0);
        let name = certificate.common_name.filter(|name| name.starts_with(NAME));
        let (Some(name), Some(cluster), true) = (name, certificate.organization, certificate.is_ca)
        else {
            return Err(refused("is no CA of tallykeep certs init"));
        };
        let key = KeyPair::from_pem(&pair.key)?;
        if key.public_key_raw() != certificate.public_key {
            return Err(refused("is not of the key beside it"));
        }
        if certificate.not_after_ms <= now_ms {
            return Err(refused("has expired"));
        }
        // Of all this only its name goes into what it signs, which has to be the same.
        let issuer = Issuer::new(params(&name, &cluster, now_ms, certificate.not_after_ms), key);
        Ok(Self { issuer, pair, cluster, not_after_ms: certificate.not_after_ms })
    }

    pub(super) fn pair(&self) -> Pair {
        self.pair.clone()
    }

    /// What node `id` has to prove.
    pub(super) fn node_name(&self, id: u64) -> String {
        node_name(&self.cluster, id)
    }

    /// A certificate for a node, with a key of its own. It is for both sides of a connection, for
    /// nodes call each other.
    pub(super) fn issue(
        &self,
        subject: &str,
        names: Vec<String>,
        days: u32,
        now_ms: u64,
    ) -> Result<Pair, Error> {
        let key = KeyPair::generate()?;
        let not_after_ms = (now_ms + u64::from(days) * DAY_MS).min(self.not_after_ms);
        let mut params = params(subject, &self.cluster, now_ms, not_after_ms);
        params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn params(subject: &str, cluster: &str, from_ms: u64, to_ms: u64) -> CertificateParams {
    let at = |ms: u64| date_time_ymd(1970, 1, 1) + Duration::from_secs(ms / 1000);
    let mut params = CertificateParams::default();
    params.not_before = at(from_ms.saturating_sub(BACKDATED_MS));
    params.not_after = at(to_ms);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, cluster);
    params.distinguished_name.push(DnType::CommonName, subject);
    params
}
