//! Certificates of clients: who is asked for one, and what it must show. Comes in: a policy, authorities,
//! names. Goes out: what rustls asks at each handshake. Never: a certificate that is believed without its
//! key, which the handshake proves under every policy.

use super::{WebConfigError, wrong};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use std::net::IpAddr;
use std::sync::Arc;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// `client_auth_type`, by the names that Go has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    NoClientCert,
    RequestClientCert,
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

impl Policy {
    const ALL: [(&str, Policy); 5] = [
        ("NoClientCert", Policy::NoClientCert),
        ("RequestClientCert", Policy::RequestClientCert),
        ("RequireAnyClientCert", Policy::RequireAnyClientCert),
        ("VerifyClientCertIfGiven", Policy::VerifyClientCertIfGiven),
        ("RequireAndVerifyClientCert", Policy::RequireAndVerifyClientCert),
    ];

    pub(super) fn read(value: Option<&str>) -> Result<Policy, WebConfigError> {
        // The second is the exporter-toolkit's own, from before it had Go's.
        let value = match value.unwrap_or_default() {
            "" => return Ok(Policy::NoClientCert),
            "RequireClientCert" => "RequireAnyClientCert",
            value => value,
        };
        let known = Policy::ALL.iter().find(|(name, _)| *name == value);
        known.map(|(_, policy)| *policy).ok_or_else(|| {
            let names = Policy::ALL.map(|(name, _)| name).join(", ");
            wrong(KEY, value, format!("allowed are {names}"))
        })
    }

    fn as_str(self) -> &'static str {
        Policy::ALL.iter().find(|(_, policy)| *policy == self).map_or("", |(name, _)| name)
    }

    fn is_required(self) -> bool {
        matches!(self, Policy::RequireAnyClientCert | Policy::RequireAndVerifyClientCert)
    }
}

const KEY: &str = "tls_server_config.client_auth_type";

/// What is asked of clients. `roots` are those of `client_ca`, `names` of `client_allowed_sans`.
pub(super) fn verifier(
    policy: Policy,
    roots: Option<RootCertStore>,
    names: Option<Vec<String>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, WebConfigError> {
    let cannot = |error: rustls::server::VerifierBuilderError| {
        WebConfigError::File(format!("tls_server_config.client_ca: {error}"))
    };
    let verifier: Arc<dyn ClientCertVerifier> = match (policy, roots) {
        (Policy::NoClientCert, None) => WebPkiClientVerifier::no_client_auth(),
        (Policy::NoClientCert, Some(_)) => {
            let allowed = "with client_ca or client_ca_file another one is needed: \
                           RequireAndVerifyClientCert asks for a certificate of these authorities";
            return Err(wrong(KEY, policy.as_str(), allowed));
        }
        (Policy::RequestClientCert | Policy::RequireAnyClientCert, roots) => {
            Arc::new(AnyCertificate {
                is_required: policy.is_required(),
                hints: roots.map(|roots| roots.subjects()).unwrap_or_default(),
                algorithms: provider.signature_verification_algorithms,
            })
        }
        (Policy::VerifyClientCertIfGiven | Policy::RequireAndVerifyClientCert, None) => {
            // Go would take every public authority's.
            return Err(wrong(
                KEY,
                policy.as_str(),
                "client_ca or client_ca_file is needed with it",
            ));
        }
        (Policy::VerifyClientCertIfGiven | Policy::RequireAndVerifyClientCert, Some(roots)) => {
            let builder =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
            let builder =
                if policy.is_required() { builder } else { builder.allow_unauthenticated() };
            builder.build().map_err(cannot)?
        }
    };
    let Some(names) = names else { return Ok(verifier) };
    let of_names = "tls_server_config.client_allowed_sans";
    let told = names.join(", ");
    if names.is_empty() {
        return Err(wrong(of_names, &told, "at least one name is needed: nobody has none of none"));
    }
    // Without an authority anybody can make a certificate of any name.
    if !matches!(policy, Policy::RequireAndVerifyClientCert) {
        let allowed = format!(
            "client_auth_type RequireAndVerifyClientCert is needed with it, not {}",
            policy.as_str()
        );
        return Err(wrong(of_names, &told, allowed));
    }
    Ok(Arc::new(Named { verifier, names }))
}

/// Any certificate, of whatever authority, as long as the client has its key.
#[derive(Debug)]
struct AnyCertificate {
    is_required: bool,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What another verifier accepts, if it also has one of these alternative names.
#[derive(Debug)]
struct Named {
    verifier: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

/// Told to the log alone; the client hears that its certificate is not accepted.
#[derive(Debug, thiserror::Error)]
#[error("the client's certificate has no subject alternative name of client_allowed_sans")]
struct Stranger;

impl ClientCertVerifier for Named {
    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.verifier.verify_client_cert(end_entity, intermediates, now)?;
        let names = alternative_names(end_entity)
            .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if names.iter().any(|name| self.names.contains(name)) {
            Ok(verified)
        } else {
            let other = CertificateError::Other(OtherError(Arc::new(Stranger)));
            Err(Error::InvalidCertificate(other))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// DNS names, addresses of mail and of IP, and URIs, as Go writes them; none where the certificate cannot be
/// read.
fn alternative_names(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let read = Certificate::from_der(certificate).ok()?;
    let Some((_, names)) = read.tbs_certificate().get_extension::<SubjectAltName>().ok()? else {
        return Some(Vec::new());
    };
    let text = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::Rfc822Name(name) => Some(name.to_string()),
        GeneralName::UniformResourceIdentifier(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => address(bytes.as_bytes()),
        _ => None,
    };
    Some(names.0.iter().filter_map(text).collect())
}

fn address(bytes: &[u8]) -> Option<String> {
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some(ip.to_canonical().to_string())
}
