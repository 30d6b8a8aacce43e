//! `tls_server_config`. Comes in: its keys, and the files that they name. Goes out: what rustls serves with.
//! Never: a weaker choice than the one that was asked for; what rustls has not is refused by name.

use super::client::{self, Policy};
use super::files::Files;
use super::format::{self, Tls};
use super::{SECRET, WebConfigError, wrong};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};
use std::sync::Arc;

/// What a key of the section is called in errors.
fn key(name: &str) -> String {
    format!("tls_server_config.{name}")
}

/// What to serve TLS with; none where the section is absent or says nothing.
pub(super) fn server_config(
    section: Option<Tls>,
    files: &mut Files,
) -> Result<Option<Arc<ServerConfig>>, WebConfigError> {
    let section = section.unwrap_or_default();
    if section == Tls::default() {
        return Ok(None);
    }
    let cert = Pem::of("cert", &section.cert, "cert_file", &section.cert_file, files)?;
    let cert = cert.ok_or_else(|| missing("cert", "cert_file"))?;
    let chain = cert.certificates()?;
    let key_pem = Pem::of("key", &section.key, "key_file", &section.key_file, files)?;
    let key_pem = key_pem.ok_or_else(|| missing("key", "key_file"))?;
    let private = PrivateKeyDer::from_pem_slice(&key_pem.bytes)
        .map_err(|error| key_pem.wrong(&format!("a private key in PEM is allowed: {error}")))?;
    let roots =
        Pem::of("client_ca", &section.client_ca, "client_ca_file", &section.client_ca_file, files)?;
    let roots = roots.as_ref().map(Pem::roots).transpose()?;

    let versions = versions(section.min_version.as_deref(), section.max_version.as_deref())?;
    let provider = Arc::new(CryptoProvider {
        cipher_suites: suites(section.cipher_suites.as_deref(), &versions)?,
        kx_groups: groups(section.curve_preferences.as_deref())?,
        ..aws_lc_rs::default_provider()
    });
    let policy = Policy::read(section.client_auth_type.as_deref())?;
    let clients = client::verifier(policy, roots, section.client_allowed_sans, &provider)?;
    let prefers_ours = format::switch(
        &key("prefer_server_cipher_suites"),
        section.prefer_server_cipher_suites.as_deref(),
        true,
    )?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| WebConfigError::File(format!("tls_server_config: {error}")))?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, private)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                key_pem.wrong("it is not the key of the certificate")
            }
            error => cert.wrong(&format!("certificate and key cannot be used: {error}")),
        })?;
    config.ignore_client_order = prefers_ours;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Each connection is verified anew, so that a certificate that has expired, or that a change of the
    // file refuses, does not come back with an old session.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Some(Arc::new(config)))
}

fn missing(inline: &str, file: &str) -> WebConfigError {
    wrong(&key(file), "", format!("TLS needs {inline} or {file}"))
}

/// PEM, from the configuration itself or from a file that it names.
#[derive(Debug)]
struct Pem {
    /// The key that it stands under, and the value for an error's text.
    key: String,
    value: String,
    bytes: Vec<u8>,
}

impl Pem {
    /// None where neither is given. An empty value is an unset one, as templates write it.
    fn of(
        inline: &str,
        text: &Option<String>,
        file: &str,
        name: &Option<String>,
        files: &mut Files,
    ) -> Result<Option<Pem>, WebConfigError> {
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        match (given(text), given(name)) {
            (None, None) => Ok(None),
            (Some(_), Some(name)) => {
                let allowed = format!("beside {inline} it is not allowed");
                Err(wrong(&key(file), &name, allowed))
            }
            (Some(text), None) => {
                let bytes = text.into_bytes();
                Ok(Some(Pem { key: key(inline), value: SECRET.to_owned(), bytes }))
            }
            (None, Some(name)) => match files.read_named(&name) {
                Ok(bytes) => Ok(Some(Pem { key: key(file), value: name, bytes })),
                Err(words) => Err(wrong(&key(file), &name, words)),
            },
        }
    }

    fn wrong(&self, words: &str) -> WebConfigError {
        wrong(&self.key, &self.value, words)
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, WebConfigError> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        match read {
            Ok(read) if !read.is_empty() => Ok(read),
            Ok(_) => Err(self.wrong("certificates in PEM are allowed: there is none in it")),
            Err(error) => Err(self.wrong(&format!("certificates in PEM are allowed: {error}"))),
        }
    }

    fn roots(&self) -> Result<RootCertStore, WebConfigError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|error| {
                self.wrong(&format!("certificates of authorities are allowed: {error}"))
            })?;
        }
        Ok(roots)
    }
}

type Version = &'static SupportedProtocolVersion;

/// The versions from `min_version` to `max_version`.
fn versions(min: Option<&str>, max: Option<&str>) -> Result<Vec<Version>, WebConfigError> {
    let read = |name: &str, value: Option<&str>, default: u8| match value.unwrap_or_default() {
        "" => Ok(default),
        "TLS12" => Ok(12),
        "TLS13" => Ok(13),
        old @ ("TLS10" | "TLS11") => {
            let allowed = "TLS12 and TLS13 are allowed: this program does not speak older versions";
            Err(wrong(&key(name), old, allowed))
        }
        other => Err(wrong(&key(name), other, "TLS12 and TLS13 are allowed")),
    };
    let least = read("min_version", min, 12)?;
    let most = read("max_version", max, 13)?;
    if least > most {
        let allowed = "at most max_version (TLS12) is allowed";
        return Err(wrong(&key("min_version"), "TLS13", allowed));
    }
    let all = [(12, &TLS12), (13, &TLS13)];
    Ok(all
        .iter()
        .filter(|(n, _)| (least..=most).contains(n))
        .map(|(_, version)| *version)
        .collect())
}

/// A suite's name as Go and the registry of IANA write it.
fn name(suite: &SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or_default();
    name.replacen("TLS13_", "TLS_", 1)
}

/// The suites that are named, in their order. As in Go and in the format's documentation those of TLS 1.3
/// are not chosen: all of them stay.
fn suites(
    named: Option<&[String]>,
    versions: &[Version],
) -> Result<Vec<SupportedCipherSuite>, WebConfigError> {
    let all = aws_lc_rs::ALL_CIPHER_SUITES;
    let Some(named) = named.filter(|named| !named.is_empty()) else {
        return Ok(aws_lc_rs::DEFAULT_CIPHER_SUITES.to_vec());
    };
    let is_new = |suite: &SupportedCipherSuite| suite.tls13().is_some();
    let mut chosen: Vec<SupportedCipherSuite> = all.iter().copied().filter(is_new).collect();
    for wanted in named {
        let Some(suite) = all.iter().find(|suite| name(suite) == *wanted) else {
            let names: Vec<String> = all.iter().map(name).collect();
            let mut allowed = format!("allowed are {}", names.join(", "));
            if wanted.starts_with("TLS_") {
                allowed.push_str(
                    "; this program has no suites with CBC, RC4, 3DES or RSA key exchange",
                );
            }
            return Err(wrong(&key("cipher_suites"), wanted, allowed));
        };
        if !chosen.contains(suite) {
            chosen.push(*suite);
        }
    }
    if !versions.contains(&&TLS13) && chosen.iter().all(is_new) {
        let allowed = "at least one suite of TLS 1.2 is needed where max_version is TLS12";
        return Err(wrong(&key("cipher_suites"), &named.join(", "), allowed));
    }
    Ok(chosen)
}

/// The groups that are named; which of them is the client's choice.
fn groups(named: Option<&[String]>) -> Result<Vec<&'static dyn SupportedKxGroup>, WebConfigError> {
    let Some(named) = named.filter(|named| !named.is_empty()) else {
        return Ok(aws_lc_rs::DEFAULT_KX_GROUPS.to_vec());
    };
    let group = |wanted: &String| match wanted.as_str() {
        "CurveP256" => Ok(kx_group::SECP256R1),
        "CurveP384" => Ok(kx_group::SECP384R1),
        "X25519" => Ok(kx_group::X25519),
        other => {
            let mut allowed = "CurveP256, CurveP384 and X25519 are allowed".to_owned();
            if other == "CurveP521" {
                allowed.push_str(": this program does not have CurveP521");
            }
            Err(wrong(&key("curve_preferences"), other, allowed))
        }
    };
    named.iter().map(group).collect()
}
