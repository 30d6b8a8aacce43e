//! Tells when a file may have changed. Comes in: directories. Goes out: a wake-up. Never: what
//! changed: the files are read anew and compared.
//!
//! Directories are watched, not files: editors and ConfigMaps replace a file by renaming another one,
//! or a symbolic link, over it.

use crate::observe::Observe;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Replacing a file is several events within milliseconds; they are answered by one reading.
const SETTLE: Duration = Duration::from_millis(100);

/// Hears of changes.
#[derive(Debug)]
pub(super) struct Notices {
    happened: watch::Receiver<()>,
    /// Keeps the channel open where there is no watcher.
    _open: watch::Sender<()>,
}

impl Notices {
    /// Waits until something happened in a watched directory, and a moment more.
    pub(super) async fn changed(&mut self) {
        // The sender is ours: it cannot be gone.
        drop(self.happened.changed().await);
        tokio::time::sleep(SETTLE).await;
        self.happened.mark_unchanged();
    }
}

/// Watches directories.
#[derive(Debug)]
pub(super) struct Watching {
    /// None where the system has no such service.
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    /// Directories that could not be watched, and it was told.
    told: BTreeSet<PathBuf>,
    observe: Arc<Observe>,
}

/// A watch over no directory yet.
pub(super) fn start(observe: &Arc<Observe>) -> (Watching, Notices) {
    let (tell, happened) = watch::channel(());
    let open = tell.clone();
    // Our own reading of the files is an event too; only writers wake us.
    let handler = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            tell.send_replace(());
        }
    };
    let watcher = notify::recommended_watcher(handler)
        .map_err(|error| observe.files_unwatched("all directories", &error.to_string()))
        .ok();
    let watching = Watching {
        watcher,
        watched: BTreeSet::new(),
        told: BTreeSet::new(),
        observe: Arc::clone(observe),
    };
    (watching, Notices { happened, _open: open })
}

impl Watching {
    /// Watches these too, from now on. What is watched already is watched anew: a directory may have
    /// been replaced by another of its name.
    pub(super) fn add(&mut self, directories: &BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        for directory in directories {
            match watcher.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(directory.clone());
                    self.told.remove(directory);
                }
                Err(error) => {
                    self.watched.remove(directory);
                    if self.told.insert(directory.clone()) {
                        let place = directory.display().to_string();
                        self.observe.files_unwatched(&place, &error.to_string());
                    }
                }
            }
        }
    }

    /// Watches nothing but these.
    pub(super) fn keep_only(&mut self, directories: &BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        self.told.retain(|directory| directories.contains(directory));
        self.watched.retain(|directory| {
            let kept = directories.contains(directory);
            if !kept {
                // It fails where the directory is gone, and its watch with it.
                drop(watcher.unwatch(directory));
            }
            kept
        });
    }
}
