//! What rustls is told. One provider, `ring`, and its own choice of ciphers.

use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, DEFAULT_VERSIONS, RootCertStore, ServerConfig};

use super::files::{Ca, Parsed};

/// Protocols of the client listener, the better one first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Both ways of a peer: TLS 1.3 alone, a certificate from both sides, and each connection checked
/// anew. A resumed session would go on with what was checked long ago, after a CA was taken out too.
pub(super) struct PeerConfigs {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
}

impl PeerConfigs {
    /// Made of a certificate and a CA, which are first looked at as this node's peers will: a
    /// certificate that nobody would take is refused here.
    ///
    /// # Errors
    /// One sentence.
    pub(super) fn new(parsed: Parsed, name: &ServerName<'static>) -> Result<Self, String> {
        let Parsed { ca, chain, key } = parsed;
        let Ca { roots, .. } = ca.ok_or("peers need a CA")?;
        let provider = provider();
        let text = |error: rustls::Error| error.to_string();

        let callers = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| error.to_string())?;
        let called = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| error.to_string())?;
        let (own, between) = chain.split_first().ok_or("no certificate")?;
        let now = UnixTime::now();
        let own_side = |error: rustls::Error| format!("peers would refuse this node: {error}");
        called.verify_server_cert(own, between, name, &[], now).map_err(own_side)?;
        callers.verify_client_cert(own, between, now).map_err(own_side)?;

        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(text)?
            .with_client_cert_verifier(callers)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(text)?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;

        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(text)?
            .with_webpki_verifier(called)
            .with_client_auth_cert(chain, key)
            .map_err(text)?;
        client.resumption = Resumption::disabled();
        Ok(Self { server: Arc::new(server), client: Arc::new(client) })
    }
}

/// What clients meet: TLS 1.2 or 1.3, and no question for a certificate.
pub(super) fn for_clients(parsed: Parsed) -> Result<Arc<ServerConfig>, String> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(DEFAULT_VERSIONS)
        .and_then(|builder| {
            builder.with_no_client_auth().with_single_cert(parsed.chain, parsed.key)
        })
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}

/// A client that shows no certificate and trusts `roots`.
pub(super) fn of_a_client(roots: Arc<RootCertStore>) -> Result<ClientConfig, String> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(DEFAULT_VERSIONS)
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
        .map_err(|error| error.to_string())
}

/// The certificates that the operating system trusts.
pub(super) fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
    Err(format!("this system has no CA certificates{why}"))
}

/// Whether a certificate is made out to `name`.
pub(super) fn is_made_out_to(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
) -> Result<(), String> {
    rustls::server::ParsedCertificate::try_from(certificate)
        .and_then(|parsed| rustls::client::verify_server_name(&parsed, name))
        .map_err(|error| error.to_string())
}
