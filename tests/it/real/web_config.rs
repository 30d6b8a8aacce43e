//! A real Prometheus against `--web.config.file`: it scrapes with a client certificate and a password, and
//! neither with another password nor without the certificate.

use super::prometheus::Prometheus;
use crate::support::until;
use crate::tls::Authority;
use crate::web_config::{Folder, TLS};
use rcgen::SanType;
use serde_json::{Value, json};

#[test]
fn prometheus_scrapes_with_certificate_and_password_and_with_neither_wrong() {
    let folder = Folder::new("{}\n");
    let client = folder.authority.client(&[SanType::DnsName("prometheus".try_into().unwrap())]);
    folder.write("client.crt", &client.certificate);
    folder.write("client.key", &client.key);
    let stranger = Authority::new("not ours").client(&[]);
    folder.write("stranger.crt", &stranger.certificate);
    folder.write("stranger.key", &stranger.key);
    folder.write(
        "web.yml",
        &format!(
            "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  \
             client_allowed_sans: [prometheus]\nbasic_auth_users:\n  scraper: {}\n",
            bcrypt::hash("secret", 10).unwrap()
        ),
    );
    let service = folder.start();
    let path = |name: &str| folder.path(name).display().to_string();
    let settings = |pair: &str, password: &str| {
        json!({
            "scheme": "https",
            "basic_auth": { "username": "scraper", "password": password },
            "tls_config": {
                "ca_file": path("ca.crt"),
                "cert_file": path(&format!("{pair}.crt")),
                "key_file": path(&format!("{pair}.key")),
            },
        })
    };
    let job = |name: &str, settings: Value| {
        let mut job = settings;
        job["job_name"] = json!(name);
        job["static_configs"] = json!([{ "targets": [service.address.to_string()] }]);
        job
    };
    let others = json!([
        job("password", settings("client", "no")),
        job("pair", settings("stranger", "secret"))
    ]);
    let targets = [service.address];
    let prometheus =
        Prometheus::of("VPCCNI_PROMETHEUS", &targets, settings("client", "secret"), others);
    prometheus.until_scraped(service.address);
    assert_eq!(prometheus.value("vpccni_cluster_nodes{state=\"up\"}"), Some(1.0));
    for (job, why) in [("password", "401"), ("pair", "tls")] {
        let error = until(&format!("failed scrape of {job}"), || prometheus.last_error(job));
        assert!(error.contains(why), "{job}: {error}");
        assert_eq!(prometheus.value(&format!("max_over_time(up{{job=\"{job}\"}}[1h])")), Some(0.0));
    }
    let wrong = "vpccni_exporter_web_password_checks_total{outcome=\"wrong\"} > 0";
    assert_eq!(prometheus.vector(wrong).len(), 1, "{}", prometheus.log());
}
