//! The files of `--discover.file`. Comes in: patterns, and what the file system holds. Goes out: the
//! targets of each file as it was last good. Never: targets lost because a file is broken or a
//! directory cannot be listed; a wait for a pipe.

use super::Defaults;
use super::file::{self, Parsed};
use super::notice::Watching;
use crate::model::Target;
use crate::observe::Observe;
use crate::observe::discover::News;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Bytes of one file. 100,000 nodes with a dozen labels each take half of it.
const MAX_FILE: u64 = 64 << 20;

/// What the patterns matched at one time.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// In order of their paths, each with its content or the reason why it has none.
    pub(super) files: BTreeMap<PathBuf, Result<Vec<u8>, String>>,
    /// Patterns that matched no file.
    pub(super) empty: Vec<String>,
    /// Directories that could not be listed, and why: what is below them may still be there.
    pub(super) unlisted: Vec<(PathBuf, String)>,
}

/// Reads all files, and has their directories watched from before that: what changes later is told.
pub(super) fn read_all(patterns: &[String], watching: &mut Watching) -> Reading {
    let mut directories: BTreeSet<PathBuf> =
        patterns.iter().flat_map(|pattern| directories_of(pattern)).collect();
    watching.add(&directories);
    let mut reading = Reading::default();
    let mut paths = BTreeSet::new();
    for pattern in patterns {
        let before = reading.unlisted.len();
        let matched = list(pattern, &mut reading.unlisted);
        if matched.is_empty() && reading.unlisted.len() == before {
            reading.empty.push(pattern.clone());
        }
        paths.extend(matched);
    }
    // Where a file is a link, its target may be written to as well.
    let real: BTreeSet<PathBuf> = paths
        .iter()
        .filter_map(|path| Some(path.canonicalize().ok()?.parent()?.to_owned()))
        .collect();
    watching.add(&real);
    directories.extend(real);
    watching.keep_only(&directories);
    reading.files = paths.into_iter().filter_map(|path| read(&path).map(|c| (path, c))).collect();
    reading
}

/// The directories in which a file can come to match a pattern.
fn directories_of(pattern: &str) -> Vec<PathBuf> {
    let parent = match Path::new(pattern).parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut directories = Vec::new();
    let text = parent.to_string_lossy();
    if has_wildcards(&text) {
        let fixed = parent.ancestors().find(|path| !has_wildcards(&path.to_string_lossy()));
        directories.extend(fixed.map(|path| match path.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => path.to_owned(),
        }));
        // What cannot be listed is told when the files are.
        let below = glob::glob(&text).into_iter().flatten().flatten();
        directories.extend(below.filter(|path| path.is_dir()));
    } else {
        directories.push(parent);
    }
    directories
}

fn has_wildcards(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

fn list(pattern: &str, unlisted: &mut Vec<(PathBuf, String)>) -> Vec<PathBuf> {
    if !has_wildcards(pattern) {
        let path = PathBuf::from(pattern);
        return if is_gone(&path) { Vec::new() } else { vec![path] };
    }
    let mut paths = Vec::new();
    // Checked when the configuration was resolved.
    for found in glob::glob(pattern).into_iter().flatten() {
        match found {
            Ok(path) if path.is_dir() => {}
            Ok(path) => paths.push(path),
            Err(error) => {
                unlisted.push((error.path().to_owned(), error.error().to_string()));
            }
        }
    }
    paths
}

fn is_gone(path: &Path) -> bool {
    fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// None where there is no such file (any more).
fn read(path: &Path) -> Option<Result<Vec<u8>, String>> {
    let content = fs::metadata(path).and_then(|metadata| {
        // Opening a pipe would wait for its writer.
        if !metadata.is_file() {
            return Err(std::io::Error::other("it is not a regular file"));
        }
        // One byte more than it has now: reading its end asks for no more room.
        let size = metadata.len().min(MAX_FILE) + 1;
        let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut content)?;
        if content.len() as u64 > MAX_FILE {
            return Err(std::io::Error::other("it has more than 64 MiB"));
        }
        Ok(content)
    });
    match content {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        content => Some(content.map_err(|error| format!("it cannot be read: {error}"))),
    }
}

/// The files as they are known: their last good targets.
#[derive(Debug, Default)]
pub(super) struct Known {
    files: BTreeMap<PathBuf, KnownFile>,
    hasher: RandomState,
    /// Patterns and places that had nothing to read the last time.
    missing: Vec<String>,
    /// Everything was read well once. From then on what breaks keeps its last good targets, and what
    /// goes is gone.
    complete: bool,
}

#[derive(Debug, Default)]
struct KnownFile {
    /// The last good content's length and hash, and what it holds.
    content: Option<(usize, u64)>,
    parsed: Parsed,
    /// Why the newest content is not used.
    broken: Option<String>,
}

impl Known {
    /// Takes over what was read.
    pub(super) fn take(&mut self, reading: Reading, defaults: &Defaults, observe: &Observe) {
        let Reading { files, empty, unlisted } = reading;
        let hasher = &self.hasher;
        for pattern in &empty {
            observe.pattern_empty(pattern);
        }
        for (place, reason) in &unlisted {
            observe.place_unlisted(&place.display().to_string(), reason);
        }
        self.files.retain(|path, file| {
            let stays = files.contains_key(path)
                || unlisted.iter().any(|(place, _)| path.starts_with(place));
            if !stays {
                observe.file_vanished(&path.display().to_string(), file.parsed.targets.len());
            }
            stays
        });
        for (path, content) in files {
            let name = path.display().to_string();
            self.files.entry(path).or_default().take(&name, content, defaults, observe, hasher);
        }
        self.missing = empty;
        self.missing.extend(unlisted.into_iter().map(|(place, _)| place.display().to_string()));
        observe.labels_dropped(self.files.values().map(|file| file.parsed.labels_dropped).sum());
    }

    /// Files, patterns and places that wait for their first good reading: until then the targets are
    /// not all of them.
    pub(super) fn unread(&mut self) -> Vec<String> {
        let broken = self.files.iter().filter(|(_, file)| file.content.is_none());
        let mut unread: Vec<String> = broken
            .map(|(path, _)| path.display().to_string())
            .chain(self.missing.clone())
            .map(|source| format!("--discover.file {source}"))
            .collect();
        self.complete |= unread.is_empty();
        if self.complete {
            unread.clear();
        }
        unread
    }

    /// All targets, file by file in order of their paths.
    pub(super) fn targets(&self) -> impl Iterator<Item = Target> {
        self.files.values().flat_map(|file| file.parsed.targets.iter().cloned())
    }
}

impl KnownFile {
    fn take(
        &mut self,
        name: &str,
        content: Result<Vec<u8>, String>,
        defaults: &Defaults,
        observe: &Observe,
        hasher: &RandomState,
    ) {
        let read = match content {
            Ok(content) => match (content.len(), hasher.hash_one(&content)) {
                known if self.content == Some(known) => Ok(None),
                new => file::parse(name, &content, defaults)
                    .map(|parsed| Some((new, parsed)))
                    .map_err(|error| error.to_string()),
            },
            Err(reason) => Err(format!("{name}: {reason}")),
        };
        match read {
            Ok(changed) => {
                let news = match (self.broken.take(), &changed) {
                    (Some(_), _) => News::Mended,
                    (None, Some(_)) => News::Changed,
                    (None, None) => News::Same,
                };
                if let Some((content, parsed)) = changed {
                    self.content = Some(content);
                    self.parsed = parsed;
                }
                observe.file_read(name, self.parsed.targets.len(), news);
            }
            Err(reason) => {
                let known = self.broken.as_ref() == Some(&reason);
                observe.file_broken(name, &reason, self.parsed.targets.len(), known);
                self.broken = Some(reason);
            }
        }
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
