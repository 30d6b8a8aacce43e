//! The keys of a web configuration file. Comes in: its bytes. Goes out: checked values, or the key that is
//! wrong, its value and what is allowed. Never: a key that is not known, a secret in an error's text.
//!
//! All values are read as text first, so that an error can name its key.

use super::super::basic_auth::Users;
use super::super::rate_limit::RateLimit;
use super::{SECRET, WebConfigError, wrong};
use crate::units;
use axum::http::{HeaderName, HeaderValue, header};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parsed {
    #[serde(rename = "tls_server_config")]
    pub(super) tls: Option<Tls>,
    #[serde(rename = "http_server_config")]
    pub(super) http: Option<Http>,
    #[serde(rename = "basic_auth_users")]
    pub(super) users: Option<BTreeMap<String, Option<String>>>,
    pub(super) rate_limit: Option<Rate>,
}

/// `tls_server_config`, checked in `tls.rs`.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) cert: Option<String>,
    pub(super) cert_file: Option<String>,
    pub(super) key: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) client_ca: Option<String>,
    pub(super) client_ca_file: Option<String>,
    pub(super) client_auth_type: Option<String>,
    pub(super) client_allowed_sans: Option<Vec<String>>,
    pub(super) min_version: Option<String>,
    pub(super) max_version: Option<String>,
    pub(super) cipher_suites: Option<Vec<String>>,
    pub(super) prefer_server_cipher_suites: Option<String>,
    pub(super) curve_preferences: Option<Vec<String>>,
}

/// `http_server_config`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    http2: Option<String>,
    headers: Option<BTreeMap<String, Option<String>>>,
}

/// `rate_limit`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rate {
    interval: Option<String>,
    burst: Option<String>,
}

/// Reads the file's text.
pub(super) fn parse(content: &[u8]) -> Result<Parsed, WebConfigError> {
    let text = std::str::from_utf8(content)
        .map_err(|error| WebConfigError::File(format!("it is not UTF-8: {error}")))?;
    // A file that is being written, or a mistake of a template's, must not open everything.
    let empty = || {
        WebConfigError::File("it is empty; one that turns nothing on is written as {}".to_owned())
    };
    if text.trim().is_empty() {
        return Err(empty());
    }
    let options = serde_saphyr::options! { with_snippet: false };
    let parsed: Option<Parsed> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            // The reader draws the place over several lines; the first one says it.
            let words = error.to_string().lines().next().unwrap_or_default().to_owned();
            WebConfigError::File(format!("not a web configuration: {words}"))
        })?;
    parsed.ok_or_else(empty)
}

/// A switch as YAML writes it.
pub(super) fn switch(
    key: &str,
    value: Option<&str>,
    default: bool,
) -> Result<bool, WebConfigError> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(default) };
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Ok(true),
        "false" | "no" | "off" => Ok(false),
        _ => Err(wrong(key, value, "true and false are allowed")),
    }
}

/// The headers that may be set, and the values that some of them are bound to.
const HEADERS: [(&str, HeaderName, &[&str]); 5] = [
    ("Content-Security-Policy", header::CONTENT_SECURITY_POLICY, &[]),
    ("Strict-Transport-Security", header::STRICT_TRANSPORT_SECURITY, &[]),
    ("X-Content-Type-Options", header::X_CONTENT_TYPE_OPTIONS, &["nosniff"]),
    ("X-Frame-Options", header::X_FRAME_OPTIONS, &["deny", "sameorigin"]),
    ("X-XSS-Protection", header::X_XSS_PROTECTION, &[]),
];

/// The headers of every answer.
pub(super) fn headers(
    http: Option<Http>,
) -> Result<Vec<(HeaderName, HeaderValue)>, WebConfigError> {
    let Some(http) = http else { return Ok(Vec::new()) };
    // Allowed, and done in neither way: this server speaks HTTP/1.1.
    switch("http_server_config.http2", http.http2.as_deref(), true)?;
    let mut headers = Vec::new();
    for (name, value) in http.headers.unwrap_or_default() {
        let key = format!("http_server_config.headers.{name}");
        let value = value.unwrap_or_default();
        let Some((_, header, allowed)) = HEADERS.iter().find(|(known, ..)| *known == name) else {
            let names = HEADERS.map(|(known, ..)| known).join(", ");
            return Err(wrong(&key, &value, format!("the headers {names} are allowed")));
        };
        // One that is blank is unset.
        if value.is_empty() {
            continue;
        }
        if !allowed.is_empty() && !allowed.contains(&value.as_str()) {
            return Err(wrong(&key, &value, format!("{} is allowed", allowed.join(" or "))));
        }
        let read = HeaderValue::from_str(&value)
            .map_err(|_| wrong(&key, &value, "one line of printable characters is allowed"))?;
        headers.push((header.clone(), read));
    }
    Ok(headers)
}

/// Who may log in.
pub(super) fn users(
    users: Option<BTreeMap<String, Option<String>>>,
) -> Result<Option<Users>, WebConfigError> {
    let users = users.unwrap_or_default();
    for (name, hash) in &users {
        let key = format!("basic_auth_users.{name}");
        let value = if hash.is_some() { SECRET } else { "" };
        Users::check(name, hash.as_deref().unwrap_or_default())
            .map_err(|allowed| wrong(&key, value, allowed))?;
    }
    let hashes = users.into_iter().filter_map(|(name, hash)| Some((name, hash?)));
    Ok(Users::new(hashes.collect()))
}

/// How many requests are answered.
pub(super) fn rate_limit(rate: Option<Rate>) -> Result<Option<RateLimit>, WebConfigError> {
    let Some(Rate { interval, burst }) = rate else { return Ok(None) };
    let interval = interval.as_deref().filter(|text| !text.is_empty()).unwrap_or("0");
    let time = units::duration(interval).map_err(|allowed| {
        wrong("rate_limit.interval", interval, format!("{allowed}, or 0 for no limit"))
    })?;
    if time.is_zero() {
        return Ok(None);
    }
    let burst = burst.as_deref().unwrap_or_default();
    let most: NonZeroU32 = burst.parse().map_err(|_| {
        let allowed = "a whole number from 1 is allowed: with 0 no request would be answered";
        wrong("rate_limit.burst", burst, allowed)
    })?;
    Ok(Some(RateLimit::new(time, most)))
}
