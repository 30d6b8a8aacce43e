//! `--web.config.file`: TLS, basic authentication, headers and a rate limit, in the file format of
//! Prometheus's exporter-toolkit. Comes in: the file and those that it names. Goes out: what the listener
//! and the [`gate`](super::gate) ask for each connection and request. Never: half of a file, a wrong file
//! that replaces a good one, a key that is quietly not done.
//!
//! # Flow
//! The files are looked at each [`LOOK`]. What has changed, and has then stood still from one look to the
//! next, is read anew as a whole: so a file that is being written, or a certificate whose key comes a
//! moment later, is not taken for a mistake. Connections that are open keep the TLS they began with.
//!
//! # Stopping
//! The task ends with the listener.

use super::basic_auth::{Checks, Users};
use super::rate_limit::RateLimit;
use crate::clock::Clock;
use crate::observe::Observe;
use arc_swap::ArcSwap;
use axum::http::{HeaderName, HeaderValue};
use files::{Files, Prints};
use rustls::ServerConfig;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

mod client;
mod files;
mod format;
mod tls;

/// How often the files are looked at. A change is served after two looks at the latest.
const LOOK: Duration = Duration::from_secs(1);

/// Why a file is refused: nothing of it is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebConfigError {
    /// The file as a whole.
    #[error("{0}")]
    File(String),
    /// One key.
    #[error("{key}={value:?}: {allowed}")]
    Key {
        /// Its path in the file, with dots.
        key: String,
        /// As written; of a secret that it is one.
        value: String,
        /// What is allowed.
        allowed: String,
    },
}

/// Stands for a value that the log must not have.
const SECRET: &str = "<secret>";

fn wrong(key: &str, value: &str, allowed: impl Into<String>) -> WebConfigError {
    WebConfigError::Key { key: key.to_owned(), value: value.to_owned(), allowed: allowed.into() }
}

/// Reads a file and all that it names, and says what is wrong.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(file: &Path) -> Result<(), WebConfigError> {
    Loaded::read(file).map(drop)
}

/// What is served by.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// None is plain HTTP.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// Of every answer.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// None where nobody is asked for a password.
    pub(super) users: Option<Users>,
    pub(super) rate: Option<RateLimit>,
    /// What the files were as they were read.
    prints: Prints,
}

impl Loaded {
    fn read(file: &Path) -> Result<Loaded, WebConfigError> {
        let mut files = Files::beside(file);
        let content = files.read(file).map_err(WebConfigError::File)?;
        let parsed = format::parse(&content)?;
        let tls = tls::server_config(parsed.tls, &mut files)?;
        Ok(Loaded {
            tls,
            headers: format::headers(parsed.http)?,
            users: format::users(parsed.users)?,
            rate: format::rate_limit(parsed.rate_limit)?,
            prints: files.prints(),
        })
    }

    /// What it turns on, in words.
    fn words(&self) -> String {
        let parts = [
            (self.tls.is_some(), "TLS"),
            (self.users.is_some(), "basic authentication"),
            (!self.headers.is_empty(), "headers"),
            (self.rate.is_some(), "a rate limit"),
        ];
        let on: Vec<&str> = parts.iter().filter(|(on, _)| *on).map(|(_, what)| *what).collect();
        if on.is_empty() { "it turns nothing on".to_owned() } else { on.join(", ") }
    }
}

/// The configuration that is in force, and its file.
#[derive(Debug)]
pub(super) struct Web {
    /// None is plain HTTP without a password.
    file: Option<PathBuf>,
    current: ArcSwap<Loaded>,
    /// Outlives each configuration, as the processor does.
    pub(super) checks: Checks,
}

impl Web {
    /// Reads the file, if there is one.
    pub(super) fn open(file: Option<&Path>) -> Result<Web, WebConfigError> {
        let loaded = file.map(Loaded::read).transpose()?.unwrap_or_default();
        Ok(Web {
            file: file.map(Path::to_owned),
            current: ArcSwap::from_pointee(loaded),
            checks: Checks::new().map_err(|error| WebConfigError::File(error.to_owned()))?,
        })
    }

    /// Whether there is a file at all.
    pub(super) fn is_configured(&self) -> bool {
        self.file.is_some()
    }

    /// What is in force now.
    pub(super) fn current(&self) -> Arc<Loaded> {
        self.current.load_full()
    }

    /// Takes over what changes, until it is stopped.
    pub(super) async fn follow(
        self: Arc<Self>,
        observe: Arc<Observe>,
        clock: Clock,
        stop: CancellationToken,
    ) {
        let Some(file) = self.file.clone() else { return };
        observe.web_config_taken(&file, &self.current().words(), clock.now().unix);
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = Seen::default();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = looks.tick() => {}
            }
            let (web, of_file) = (Arc::clone(&self), file.clone());
            // A file system may hang, and nothing else may with it.
            let looking = tokio::task::spawn_blocking(move || {
                let news = web.look(&of_file, &mut seen);
                (news, seen)
            });
            let looked = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                looked = looking => looked,
            };
            let Ok((news, now_seen)) = looked else {
                // It panicked, and that was told; what is in force stays.
                observe.web_config_refused(&file, "the files could not be looked at");
                seen = Seen::default();
                continue;
            };
            seen = now_seen;
            match news {
                None => {}
                Some(News::Taken(words)) => {
                    observe.web_config_taken(&file, &words, clock.now().unix);
                }
                Some(News::Restored) => observe.web_config_restored(&file),
                Some(News::Refused(reason)) => observe.web_config_refused(&file, &reason),
            }
        }
    }

    /// One look at the files.
    fn look(&self, file: &Path, seen: &mut Seen) -> Option<News> {
        let current = self.current();
        let now = current.prints.now();
        if now == current.prints {
            let was_refused = std::mem::take(seen).refused.is_some();
            return was_refused.then_some(News::Restored);
        }
        let stands_still = seen.changed.as_ref() == Some(&now);
        seen.changed = Some(now.clone());
        if !stands_still {
            return None;
        }
        // Tried at each look: what is wrong may be a file that is not one of those looked at.
        match Loaded::read(file).and_then(|loaded| loaded.after(&current)) {
            Ok(loaded) => {
                *seen = Seen::default();
                let words = loaded.words();
                self.current.store(Arc::new(loaded));
                Some(News::Taken(words))
            }
            Err(error) => {
                let refused = Some((now, error.to_string()));
                if seen.refused == refused {
                    return None;
                }
                seen.refused = refused;
                Some(News::Refused(error.to_string()))
            }
        }
    }
}

impl Loaded {
    /// Whether it may follow another without a restart.
    fn after(self, before: &Loaded) -> Result<Loaded, WebConfigError> {
        if self.tls.is_some() == before.tls.is_some() {
            return Ok(self);
        }
        let value = if self.tls.is_some() { "set" } else { "not set" };
        // As with the exporter-toolkit; and whoever scrapes has to change its scheme as well.
        Err(wrong("tls_server_config", value, "turning TLS on or off needs a restart"))
    }
}

/// What earlier looks found that is not in force.
#[derive(Debug, Default)]
struct Seen {
    changed: Option<Prints>,
    /// What was refused and told, and why.
    refused: Option<(Prints, String)>,
}

/// What a look has to tell.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Taken(String),
    Restored,
    Refused(String),
}

#[cfg(test)]
#[path = "web_config/tests.rs"]
mod tests;
