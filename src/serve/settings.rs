//! Flags of the stage `serve`: text in, checked values out. Never: a value that the router or the
//! listener would have to refuse.

use super::guard::Limits;
use crate::observe::serve::Path;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// How the exporter serves HTTP.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Web")]
#[group(id = "web")]
pub struct Settings {
    /// Address and port to listen on: `:61681` (all addresses), `0.0.0.0:61681`, `[::]:61681`
    #[arg(
        long = "web.listen-address",
        env = "VPCCNI_WEB_LISTEN_ADDRESS",
        value_name = "ADDRESS",
        default_value = ":61681"
    )]
    pub listen_address: ListenAddress,

    /// Path of the exposition
    #[arg(
        long = "web.telemetry-path",
        env = "VPCCNI_WEB_TELEMETRY_PATH",
        value_name = "PATH",
        default_value = "/metrics"
    )]
    pub telemetry_path: TelemetryPath,

    /// Connections open at once, at least 1; at the cap the longest idle one makes room, and when
    /// all are answering a new one gets 503
    #[arg(
        long = "web.max-connections",
        env = "VPCCNI_WEB_MAX_CONNECTIONS",
        value_name = "N",
        default_value = "512",
        value_parser = max_connections
    )]
    pub max_connections: NonZeroUsize,

    /// Time that answers under way get when the process stops
    #[arg(
        long = "web.shutdown-timeout",
        env = "VPCCNI_WEB_SHUTDOWN_TIMEOUT",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = crate::units::duration
    )]
    pub shutdown_timeout: Duration,

    /// TLS, client certificates, basic authentication, headers and a rate limit: a file in the format of
    /// Prometheus's exporter-toolkit, read anew when it changes. The probes need no password and know no
    /// limit
    #[arg(long = "web.config.file", env = "VPCCNI_WEB_CONFIG_FILE", value_name = "FILE")]
    pub config_file: Option<PathBuf>,

    /// Time limits of a connection; no flags, so that tests can shorten them
    #[arg(skip)]
    pub limits: Limits,
}

fn max_connections(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "a whole number from 1 is allowed".to_owned())
}

impl Default for Settings {
    /// The defaults of the flags.
    fn default() -> Self {
        Settings {
            listen_address: ListenAddress { host: None, port: 61681 },
            telemetry_path: TelemetryPath("/metrics".to_owned()),
            max_connections: NonZeroUsize::new(512).unwrap_or(NonZeroUsize::MIN),
            shutdown_timeout: Duration::from_secs(10),
            config_file: None,
            limits: Limits::default(),
        }
    }
}

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddress {
    /// `None` is every address, IPv4 and IPv6.
    pub host: Option<IpAddr>,
    /// 0 lets the system choose.
    pub port: u16,
}

impl ListenAddress {
    /// Where nobody but this machine looks, at a port that is free.
    pub fn anywhere_on_loopback() -> ListenAddress {
        ListenAddress { host: Some(Ipv4Addr::LOCALHOST.into()), port: 0 }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            None => write!(f, ":{}", self.port),
            Some(IpAddr::V4(host)) => write!(f, "{host}:{}", self.port),
            Some(IpAddr::V6(host)) => write!(f, "[{host}]:{}", self.port),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = "allowed are :PORT, IPV4:PORT and [IPV6]:PORT";
        let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("no port; {allowed}"))?;
        let port =
            port.parse().map_err(|_| format!("`{port}` is not a port (0 to 65535); {allowed}"))?;
        let host = if host.is_empty() {
            None
        } else if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            let host = inner.parse().map(IpAddr::V6);
            Some(host.map_err(|_| format!("`{inner}` is not an IPv6 address; {allowed}"))?)
        } else {
            let host = host.parse().map(IpAddr::V4);
            Some(host.map_err(|_| format!("the host is not an IPv4 address; {allowed}"))?)
        };
        Ok(ListenAddress { host, port })
    }
}

/// The path of the exposition: one that is free, and that every client sends unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryPath(String);

impl TelemetryPath {
    /// Begins with a slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TelemetryPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
        if !text.starts_with('/') || !text.bytes().all(plain) {
            return Err("a path begins with / and holds letters, digits and -._~/ only".to_owned());
        }
        // Clients resolve such segments before they send.
        if text.split('/').any(|segment| segment == "." || segment == "..") {
            return Err("a path has no segments . or ..".to_owned());
        }
        if text != Path::Metrics.as_str() && Path::ALL.into_iter().any(|path| path.is(text)) {
            return Err(format!("{text} is taken by another page"));
        }
        Ok(TelemetryPath(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        web: Settings,
    }

    #[test]
    fn addresses_are_read_in_three_forms() {
        let read = |text: &str| text.parse::<ListenAddress>();
        assert_eq!(read(":61681"), Ok(ListenAddress { host: None, port: 61681 }));
        let v4 = ListenAddress { host: Some("0.0.0.0".parse().unwrap()), port: 0 };
        assert_eq!(read("0.0.0.0:0"), Ok(v4));
        let v6 = ListenAddress { host: Some("::1".parse().unwrap()), port: 80 };
        assert_eq!(read("[::1]:80"), Ok(v6));
        for text in [":61681", "127.0.0.1:80", "[::]:65535"] {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_wrong_address_says_what_is_allowed() {
        for text in ["", "61681", "host:80", "::1:80", ":", ":65536", ":x", "[127.0.0.1]:1", "[::]"]
        {
            let error = text.parse::<ListenAddress>().unwrap_err();
            assert!(
                error.contains("allowed are :PORT, IPV4:PORT and [IPV6]:PORT"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_telemetry_path_is_plain_and_free() {
        for text in ["/metrics", "/cni/metrics", "/-/metrics", "/m~1.x_y/", "/api/v1"] {
            assert_eq!(text.parse::<TelemetryPath>().unwrap().as_str(), text);
        }
        for text in
            ["", "metrics", "/", "/readyz", "/api/v1/nodes", "/{x}", "/a b", "/*", "/a?b", "/../x"]
        {
            assert!(text.parse::<TelemetryPath>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_flag() {
        for (flag, value) in [
            ("--web.listen-address", "61681"),
            ("--web.telemetry-path", "metrics"),
            ("--web.max-connections", "0"),
            ("--web.shutdown-timeout", "10"),
        ] {
            let error = Cli::try_parse_from(["x", flag, value]).unwrap_err().to_string();
            assert!(error.contains(flag) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn the_flags_have_environment_variables_and_the_documented_defaults() {
        let command = Cli::command();
        let told: Vec<String> = command
            .get_arguments()
            .map(|arg| {
                format!(
                    "{} {} {}",
                    arg.get_long().unwrap(),
                    arg.get_env().unwrap().to_str().unwrap(),
                    arg.get_default_values().first().map_or("-", |value| value.to_str().unwrap())
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                "web.listen-address VPCCNI_WEB_LISTEN_ADDRESS :61681",
                "web.telemetry-path VPCCNI_WEB_TELEMETRY_PATH /metrics",
                "web.max-connections VPCCNI_WEB_MAX_CONNECTIONS 512",
                "web.shutdown-timeout VPCCNI_WEB_SHUTDOWN_TIMEOUT 10s",
                "web.config.file VPCCNI_WEB_CONFIG_FILE -",
            ]
        );
        let Cli { web } = Cli::try_parse_from(["x"]).unwrap();
        assert_eq!(web, Settings::default());
    }
}
