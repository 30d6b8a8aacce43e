//! Tells when a file may have changed. Comes in: the patterns. Goes out: a wake-up. Never: what
//! changed: the files are read anew and compared.
//!
//! Directories are watched, not files: editors and ConfigMaps replace a file by renaming another one,
//! or a symbolic link, over it.

use crate::observe::Observe;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Replacing a file is several events within milliseconds; they are answered by one reading.
const SETTLE: Duration = Duration::from_millis(100);

pub(super) struct Notices {
    wake: Arc<Notify>,
    /// Held so that it goes on watching; none where the system has no such service.
    _watcher: Option<RecommendedWatcher>,
}

impl Notices {
    pub(super) fn new(patterns: &[String], observe: &Observe) -> Notices {
        let wake = Arc::new(Notify::new());
        let watcher = if patterns.is_empty() { None } else { watch(patterns, &wake, observe) };
        Notices { wake, _watcher: watcher }
    }

    /// Waits until something happened in a directory of the patterns, and a moment more.
    pub(super) async fn changed(&self) {
        self.wake.notified().await;
        tokio::time::sleep(SETTLE).await;
    }
}

fn watch(patterns: &[String], wake: &Arc<Notify>, observe: &Observe) -> Option<RecommendedWatcher> {
    let wake = Arc::clone(wake);
    // A reading of the files is an event too; only writers wake us.
    let handler = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            wake.notify_one();
        }
    };
    let mut watcher = match notify::recommended_watcher(handler) {
        Ok(watcher) => watcher,
        Err(error) => {
            observe.files_unwatched("all files", &error.to_string());
            return None;
        }
    };
    let directories: BTreeSet<PathBuf> = patterns.iter().map(|p| directory(p)).collect();
    for directory in directories {
        if let Err(error) = watcher.watch(&directory, RecursiveMode::NonRecursive) {
            observe.files_unwatched(&directory.display().to_string(), &error.to_string());
        }
    }
    Some(watcher)
}

/// The directory of a pattern's last part.
fn directory(pattern: &str) -> PathBuf {
    match Path::new(pattern).parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
