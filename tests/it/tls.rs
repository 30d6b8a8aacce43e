//! TLS for tests: authorities and certificates that are made anew for each test, and a client that says
//! what it got. Never: a certificate that is kept on disk between two runs.

use crate::support::{Answer, HANG, read_answer};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType, date_time_ymd,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

/// Who signs.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// PEM.
    pub(crate) certificate: String,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    /// For a server on loopback.
    pub(crate) fn server(&self) -> Pair {
        let loopback = SanType::IpAddress(Ipv4Addr::LOCALHOST.into());
        self.sign(&[loopback], ExtendedKeyUsagePurpose::ServerAuth, None)
    }

    /// For a client with these alternative names.
    pub(crate) fn client(&self, names: &[SanType]) -> Pair {
        self.sign(names, ExtendedKeyUsagePurpose::ClientAuth, None)
    }

    /// For a client of the past.
    pub(crate) fn expired_client(&self) -> Pair {
        self.sign(&[], ExtendedKeyUsagePurpose::ClientAuth, Some(2001))
    }

    fn sign(&self, names: &[SanType], usage: ExtendedKeyUsagePurpose, until: Option<i32>) -> Pair {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        params.extended_key_usages = vec![usage];
        if let Some(year) = until {
            params.not_before = date_time_ymd(year - 1, 1, 1);
            params.not_after = date_time_ymd(year, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }
}

/// How a client speaks TLS.
#[derive(Clone)]
pub(crate) struct Client {
    config: ClientConfig,
}

/// What a client got.
pub(crate) struct Got {
    pub(crate) answer: Answer,
    pub(crate) version: rustls::ProtocolVersion,
    pub(crate) suite: rustls::CipherSuite,
    pub(crate) alpn: Option<Vec<u8>>,
    /// The server's certificate.
    pub(crate) certificate: Vec<u8>,
}

/// A certificate of a PEM, as a connection shows it.
pub(crate) fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

impl Client {
    /// One that trusts this authority, and shows this certificate where it is asked for one.
    pub(crate) fn new(trusts: &Authority, shows: Option<&Pair>) -> Client {
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        Client::with(trusts, shows, aws_lc_rs::default_provider(), &versions)
    }

    /// The same with these suites and versions.
    pub(crate) fn with(
        trusts: &Authority,
        shows: Option<&Pair>,
        provider: CryptoProvider,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(der(&trusts.certificate))).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shows {
            None => config.with_no_client_auth(),
            Some(pair) => {
                let chain = vec![CertificateDer::from(der(&pair.certificate))];
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Client { config }
    }

    /// Gets a path on a connection of its own.
    ///
    /// # Errors
    /// When the two do not agree on TLS, or the answer is none of HTTP/1.1.
    pub(crate) fn get(
        &self,
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> io::Result<Got> {
        let stream = TcpStream::connect_timeout(&address, HANG)?;
        stream.set_read_timeout(Some(HANG))?;
        stream.set_write_timeout(Some(HANG))?;
        let name = ServerName::from(address.ip());
        let connection =
            ClientConnection::new(Arc::new(self.config.clone()), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        let mut request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes())?;
        let mut stream = BufReader::new(stream);
        let answer = read_answer(&mut stream)?;
        let connection = &stream.get_ref().conn;
        Ok(Got {
            answer,
            version: connection.protocol_version().unwrap(),
            suite: connection.negotiated_cipher_suite().unwrap().suite(),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            certificate: connection.peer_certificates().unwrap()[0].to_vec(),
        })
    }

    /// Why there is no answer.
    pub(crate) fn refusal(&self, address: SocketAddr) -> String {
        match self.get(address, "/metrics", &[]) {
            Ok(got) => panic!("answered with {}", got.answer.status),
            Err(error) => error.to_string(),
        }
    }
}
