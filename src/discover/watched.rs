//! One watch that goes on whatever happens. Comes in: the library's events and errors. Goes out: an
//! index that is as good as the last answer, and the trouble there is. Never: a try right after a
//! failed one, trouble kept to itself.

use super::index::{Index, Readable, Told};
use super::trouble::trouble;
use crate::observe::Observe;
use crate::observe::kubernetes::{Resource, Trouble};
use backon::ExponentialBuilder;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, ExponentialBackoff};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// The first pause after an error, doubled with each further one up to [`LONGEST_PAUSE`], with jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// See [`FIRST_PAUSE`]. A server that comes back is noticed within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A watch that reported an error and then none for so long goes on: a good one may say nothing.
const QUIET: Duration = Duration::from_secs(60);

fn pauses() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times()
        .with_jitter()
}

type Events<K> = BoxStream<'static, watcher::Result<Event<K>>>;

/// A watch and what it told.
pub(super) struct Watched<K: 'static, V> {
    pub(super) resource: Resource,
    pub(super) index: Index<V>,
    begin: Box<dyn Fn() -> Events<K> + Send>,
    stream: Events<K>,
    backoff: ExponentialBackoff,
    paused_until: Option<Instant>,
    /// The last error: when, what kind, in words.
    trouble: Option<(Instant, Trouble, String)>,
}

impl<K: Readable + 'static, V: Clone + PartialEq> Watched<K, V> {
    /// `begin` makes a watch that lists everything anew.
    pub(super) fn new(
        resource: Resource,
        begin: impl Fn() -> Events<K> + Send + 'static,
    ) -> Watched<K, V> {
        Watched {
            resource,
            index: Index::default(),
            stream: begin(),
            begin: Box::new(begin),
            backoff: pauses().into(),
            paused_until: None,
            trouble: None,
        }
    }

    /// The next event, after errors have had their pause; `None` when trouble counts as over because it
    /// was not repeated. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Option<watcher::Result<Event<K>>> {
        if let Some(until) = self.paused_until {
            sleep_until(until).await;
            self.paused_until = None;
        }
        let quiet = self.trouble.as_ref().map(|(at, _, _)| *at + QUIET);
        let silence = async {
            match quiet {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = self.stream.next() => match event {
                Some(event) => Some(event),
                // It does not end by itself.
                None => {
                    self.stream = (self.begin)();
                    self.paused_until = Some(Instant::now() + FIRST_PAUSE);
                    None
                }
            },
            () = silence => None,
        }
    }

    /// Takes over what [`Watched::next`] gave. Whether anything is different.
    pub(super) fn take(
        &mut self,
        next: Option<watcher::Result<Event<K>>>,
        keep: impl FnMut(K::Object) -> Option<V>,
        namespace: &str,
        observe: &Observe,
    ) -> bool {
        match next {
            Some(Ok(event)) => {
                // A listing that begins has not answered yet.
                let cured = !matches!(event, Event::Init) && self.trouble.take().is_some();
                if cured {
                    observe.watch_goes_on(self.resource);
                }
                let told = self.index.take(event, keep);
                if let Told::Unreadable { name, words } = &told {
                    observe.object_unreadable(self.resource, name, words);
                }
                cured || told == Told::Changed
            }
            Some(Err(error)) => {
                self.pause(&error, namespace, observe);
                true
            }
            None => {
                self.backoff.reset();
                let cured = self.trouble.take().is_some();
                if cured {
                    observe.watch_goes_on(self.resource);
                }
                cured
            }
        }
    }

    fn pause(&mut self, error: &watcher::Error, namespace: &str, observe: &Observe) {
        let now = Instant::now();
        let (trouble, words) = trouble(error);
        let known = self.trouble.as_ref().is_some_and(|(_, before, _)| *before == trouble);
        observe.watch_troubled(self.resource, trouble, &words, namespace, known);
        if trouble == Trouble::Gone {
            // Where the answer's own status is 410, the library would ask for the same version again.
            self.stream = (self.begin)();
        }
        self.paused_until = Some(now + self.backoff.next().unwrap_or(LONGEST_PAUSE));
        self.trouble = Some((now, trouble, words));
    }

    /// The trouble there is: its kind, and what the API server or the network said.
    pub(super) fn trouble(&self) -> Option<(Trouble, &str)> {
        self.trouble.as_ref().map(|(_, trouble, words)| (*trouble, words.as_str()))
    }
}
