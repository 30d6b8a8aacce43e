//! Basic authentication against bcrypt hashes. Comes in: the header `Authorization`. Goes out: whether a
//! user is known. Never: a password that is kept, an answer that comes sooner for a name that does not exist,
//! a hash on the threads that answer everyone else.
//!
//! # When it cannot keep up
//! A hash costs 50 ms to seconds of a processor, and anyone may ask for one. [`CHECKS`] are computed at once
//! with at most [`WAITING`] behind them; what comes over that is answered with 503. A password that was right
//! is remembered by a keyed hash, so that a scraper costs one check and never stands in that queue again.

use crate::observe::Observe;
use crate::observe::web::PasswordCheck;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use axum::http::HeaderValue;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Hashes computed at once: whoever guesses passwords gets one processor of the several there are.
const CHECKS: usize = 1;

/// Checks that may wait: at the usual cost of 10 the last one waits half a second.
const WAITING: usize = 8;

/// Passwords remembered. More than there are users only where one password has several spellings, as bcrypt
/// reads 72 bytes of it.
const REMEMBERED: usize = 100;

/// Costs that are allowed: bcrypt's least, and one that takes some ten seconds, after which scrapers give up.
const COSTS: RangeInclusive<u32> = 4..=18;

/// Users and their hashes.
#[derive(Debug)]
pub(crate) struct Users {
    hashes: BTreeMap<String, String>,
    /// What is computed for names that do not exist: no password has it, and it costs as much as the dearest
    /// of those that do.
    nobody: String,
}

/// Bytes of a keyed hash.
const TAG: usize = 32;

/// Whether a request may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    Known,
    Unknown,
    /// Nobody looked: too many are waiting.
    Busy,
}

impl Users {
    /// What is wrong with a user, if anything.
    pub(crate) fn check(name: &str, hash: &str) -> Result<(), String> {
        if name.is_empty() || name.contains(':') {
            return Err("a name is not empty and has no colon".to_owned());
        }
        if cost(hash).is_some_and(|cost| COSTS.contains(&cost)) {
            return Ok(());
        }
        Err(format!(
            "a bcrypt hash is allowed: $2a$, $2b$ or $2y$, a cost from {} to {}, 53 characters",
            COSTS.start(),
            COSTS.end()
        ))
    }

    /// Users whose names and hashes have been checked; none where there are none.
    pub(crate) fn new(hashes: BTreeMap<String, String>) -> Option<Users> {
        let cost = hashes.values().filter_map(|hash| cost(hash)).max()?;
        // 22 characters of salt and 31 of digest.
        let nobody = format!("$2b${cost:02}${}", ".".repeat(53));
        Some(Users { hashes, nobody })
    }

    /// Whether this header is a user's.
    pub(crate) async fn login(
        &self,
        header: Option<&HeaderValue>,
        checks: &Checks,
        observe: &Observe,
    ) -> Login {
        let Some((name, password)) = header.and_then(credentials) else { return Login::Unknown };
        let known = std::str::from_utf8(&name).ok().and_then(|name| self.hashes.get(name));
        let hash = known.unwrap_or(&self.nobody);
        let tag = checks.tag(&name, hash, &password);
        if known.is_some() && checks.remembers(&tag) {
            return Login::Known;
        }
        let hash = hash.clone();
        let is_right = checks.run(move || bcrypt::verify(&password, &hash).unwrap_or(false)).await;
        let (outcome, login) = match is_right {
            None => (PasswordCheck::Refused, Login::Busy),
            Some(true) if known.is_some() => {
                checks.remember(tag);
                (PasswordCheck::Right, Login::Known)
            }
            Some(_) => (PasswordCheck::Wrong, Login::Unknown),
        };
        observe.password_checked(outcome);
        login
    }
}

/// The cost of a bcrypt hash, if it is one that a password can be held against.
fn cost(hash: &str) -> Option<u32> {
    ["$2a$", "$2b$", "$2y$"].iter().find(|kind| hash.starts_with(**kind))?;
    hash.parse::<bcrypt::HashParts>().ok().map(|parts| parts.get_cost())
}

/// Name and password, where the header has both.
fn credentials(header: &HeaderValue) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, encoded) = header.as_bytes().split_at_checked(b"Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let mut name = BASE64_STANDARD.decode(encoded).ok()?;
    let colon = name.iter().position(|byte| *byte == b':')?;
    let password = name.split_off(colon + 1);
    name.truncate(colon);
    Some((name, password))
}

/// Where hashes are computed.
#[derive(Debug)]
pub(crate) struct Checks {
    /// One for each that is computed or waits.
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    /// Of this process alone.
    key: hmac::Key,
    /// Passwords that were right, with their names and hashes: a configuration that is read anew knows them
    /// still, one in which the hash is another does not.
    right: Mutex<HashSet<[u8; TAG]>>,
}

impl Checks {
    /// None running.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(crate) fn new() -> Result<Checks, &'static str> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| "the system has no random numbers")?;
        Ok(Checks {
            places: Arc::new(Semaphore::new(CHECKS + WAITING)),
            turns: Arc::new(Semaphore::new(CHECKS)),
            key,
            right: Mutex::default(),
        })
    }

    fn tag(&self, name: &[u8], hash: &str, password: &[u8]) -> [u8; TAG] {
        let mut context = hmac::Context::with_key(&self.key);
        // With their lengths, so that no two of three are the same text.
        for part in [name, hash.as_bytes(), password] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut tag = [0; TAG];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    fn remembers(&self, tag: &[u8; TAG]) -> bool {
        self.right.lock().unwrap_or_else(PoisonError::into_inner).contains(tag)
    }

    fn remember(&self, tag: [u8; TAG]) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= REMEMBERED {
            right.clear();
        }
        right.insert(tag);
    }

    /// Runs this on the threads for blocking work, in its turn; none where too many are waiting.
    async fn run(&self, check: impl FnOnce() -> bool + Send + 'static) -> Option<bool> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        // A client that leaves meanwhile is not computed for.
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok()?;
        let checking = tokio::task::spawn_blocking(move || {
            // Held here: coming and leaving cannot pile up threads.
            let _held = (place, turn);
            check()
        });
        checking.await.ok()
    }
}

#[cfg(test)]
#[path = "basic_auth_tests.rs"]
mod tests;
