//! What keeps a watch from going on. Comes in: the client's errors. Goes out: one of a few kinds, and
//! the words of whoever refused. Never: a retry.

use crate::kubernetes::words;
use crate::observe::kubernetes::Trouble;
use kube::core::Status;
use kube::runtime::watcher;

fn of_status(status: &Status) -> Trouble {
    match status.code {
        401 => Trouble::Unauthorized,
        403 => Trouble::Forbidden,
        410 => Trouble::Gone,
        429 => Trouble::Throttled,
        _ => Trouble::Server,
    }
}

/// The kind of an error, and what it says.
pub(super) fn trouble(error: &watcher::Error) -> (Trouble, String) {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    let trouble = match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => match error {
            kube::Error::Api(status) => of_status(status),
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Trouble::Undecodable,
            kube::Error::Auth(_) => Trouble::Unauthorized,
            _ => Trouble::Unreachable,
        },
        WatchError(status) => of_status(status),
        watcher::Error::NoResourceVersion => Trouble::Undecodable,
    };
    (trouble, words(error))
}
