//! The files of a web configuration: itself, certificate, key, authorities. Comes in: paths. Goes out:
//! their bytes, and what tells whether they are still the same. Never: a wait for a pipe, a file of any size.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes of one file. A bundle of every public authority has a quarter of it.
const MAX_FILE: u64 = 1 << 20;

/// Files by what the system says of them. A path is followed through its links, so that the swap of a
/// mounted Secret, which renames a link over another, is another file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Prints(Vec<(PathBuf, Print)>);

impl Prints {
    /// The same files as they are now.
    pub(super) fn now(&self) -> Prints {
        let now = |(path, _): &(PathBuf, Print)| (path.clone(), Print::of(&fs::metadata(path)));
        Prints(self.0.iter().map(now).collect())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Print {
    /// Device, inode, bytes, times of the last change of content and of anything else.
    Is(u64, u64, u64, (i64, i64), (i64, i64)),
    IsNot(io::ErrorKind),
}

impl Print {
    fn of(metadata: &io::Result<Metadata>) -> Print {
        match metadata {
            Ok(of) => Print::Is(
                of.dev(),
                of.ino(),
                of.len(),
                (of.mtime(), of.mtime_nsec()),
                (of.ctime(), of.ctime_nsec()),
            ),
            Err(error) => Print::IsNot(error.kind()),
        }
    }
}

/// Reads files, and keeps in mind which.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    read: Vec<(PathBuf, Print)>,
}

impl Files {
    /// Relative paths begin where this file is.
    pub(super) fn beside(file: &Path) -> Files {
        Files { folder: file.parent().map(Path::to_owned).unwrap_or_default(), read: Vec::new() }
    }

    /// The bytes of a file that the configuration names.
    pub(super) fn read_named(&mut self, name: &str) -> Result<Vec<u8>, String> {
        self.read(&self.folder.join(name))
    }

    /// The bytes of a file, or in words why there are none.
    pub(super) fn read(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        let metadata = fs::metadata(path);
        // From before the reading: what changes meanwhile is seen by the next look.
        self.read.push((path.to_owned(), Print::of(&metadata)));
        let content = metadata.and_then(|metadata| {
            // Opening a pipe would wait for its writer.
            if !metadata.is_file() {
                return Err(io::Error::other("it is not a regular file"));
            }
            let mut content = Vec::new();
            File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut content)?;
            if content.len() as u64 > MAX_FILE {
                return Err(io::Error::other("it has more than 1 MiB"));
            }
            Ok(content)
        });
        content.map_err(|error| format!("cannot be read: {error}"))
    }

    /// What was read, as it was.
    pub(super) fn prints(self) -> Prints {
        Prints(self.read)
    }
}
