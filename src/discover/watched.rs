//! One watch that goes on whatever happens. Comes in: the library's events and errors. Goes out: an
//! index that is as good as the last answer, and the trouble there is. Never: a try right after a
//! failed one, trouble kept to itself.

use super::guarded::Guarded;
use super::index::{Index, Told};
use super::spaced::{Began, FIRST_PAUSE, LONGEST_PAUSE, STANDS, pauses};
use super::trouble::trouble;
use crate::observe::Observe;
use crate::observe::kubernetes::{Resource, Trouble};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, ExponentialBackoff};
use std::future::pending;
use tokio::time::{Instant, sleep_until};

type Events<K> = BoxStream<'static, watcher::Result<Event<Guarded<K>>>>;

/// A watch and what it told.
pub(super) struct Watched<K: 'static, V> {
    pub(super) resource: Resource,
    pub(super) index: Index<V>,
    begin: Box<dyn Fn() -> Events<K> + Send>,
    stream: Events<K>,
    began: Began,
    backoff: ExponentialBackoff,
    paused_until: Option<Instant>,
    /// The last error that no watch has outlived yet: when, and what kind.
    failed: Option<(Instant, Trouble)>,
    /// What is told: the last error, but a missing right for as long as nothing works.
    trouble: Option<(Trouble, String)>,
}

/// What a watch has to say.
pub(super) enum Next<K> {
    Told(Box<watcher::Result<Event<Guarded<K>>>>),
    /// A watch that began after the last error lives on: a good one may say nothing.
    Stands,
    /// The stream had ended, and is there again.
    Nothing,
}

impl<K: kube::Resource + 'static, V: Clone + PartialEq> Watched<K, V> {
    /// `begin` makes a watch that lists everything anew; `began` is of its client.
    pub(super) fn new(
        resource: Resource,
        began: Began,
        begin: impl Fn() -> Events<K> + Send + 'static,
    ) -> Watched<K, V> {
        Watched {
            resource,
            index: Index::default(),
            stream: begin(),
            begin: Box::new(begin),
            began,
            backoff: pauses().into(),
            paused_until: None,
            failed: None,
            trouble: None,
        }
    }

    /// The next event, after errors have had their pause. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Next<K> {
        if let Some(until) = self.paused_until {
            sleep_until(until).await;
            self.paused_until = None;
        }
        let (failed, began) = (self.failed, &mut self.began);
        let stands = async {
            let Some((failed, _)) = failed else { return pending().await };
            let after = |began: &Option<Instant>| began.is_some_and(|began| began > failed);
            let began = began.wait_for(after).await.ok().and_then(|began| *began);
            match began {
                Some(began) => sleep_until(began + STANDS).await,
                // The client has gone, and with it the stream will end.
                None => pending().await,
            }
        };
        tokio::select! {
            event = self.stream.next() => match event {
                Some(event) => Next::Told(Box::new(event)),
                // It does not end by itself.
                None => {
                    self.stream = (self.begin)();
                    self.paused_until = Some(Instant::now() + FIRST_PAUSE);
                    Next::Nothing
                }
            },
            () = stands => Next::Stands,
        }
    }

    /// Takes over what [`Watched::next`] gave. Whether anything is different.
    pub(super) fn take(
        &mut self,
        next: Next<K>,
        keep: impl FnMut(K) -> Option<V>,
        namespace: &str,
        observe: &Observe,
    ) -> bool {
        let event = match next {
            Next::Nothing => return false,
            Next::Stands => return self.works(observe),
            Next::Told(told) => match *told {
                Ok(event) => event,
                Err(error) => {
                    self.pause(&error, namespace, observe);
                    return true;
                }
            },
        };
        let cured = match &event {
            // Half a listing may be all that works.
            Event::Init | Event::InitApply(_) => false,
            // Pauses grow on until a watch of it works, too: listings cost the API server most.
            Event::InitDone => self.cured(observe),
            Event::Apply(_) | Event::Delete(_) => self.works(observe),
        };
        let told = self.index.take(event, keep);
        if let Told::Unreadable { name, words } = &told {
            observe.object_unreadable(self.resource, name, words);
        }
        cured || told == Told::Changed
    }

    /// A watch goes on. Whether there was trouble before.
    fn works(&mut self, observe: &Observe) -> bool {
        if self.failed.take().is_some() {
            self.backoff.reset();
        }
        self.cured(observe)
    }

    fn cured(&mut self, observe: &Observe) -> bool {
        let cured = self.trouble.take().is_some();
        if cured {
            observe.watch_goes_on(self.resource);
        }
        cured
    }

    fn pause(&mut self, error: &watcher::Error, namespace: &str, observe: &Observe) {
        let now = Instant::now();
        let (kind, words) = trouble(error);
        let known = self.failed.is_some_and(|(_, before)| before == kind);
        observe.watch_troubled(self.resource, kind, &words, namespace, known);
        if kind == Trouble::Gone {
            // Where the answer's own status is 410, the library would ask for the same version again.
            self.stream = (self.begin)();
        }
        self.paused_until = Some(now + self.backoff.next().unwrap_or(LONGEST_PAUSE));
        self.failed = Some((now, kind));
        // That somebody did not answer at all does not say that he would not refuse.
        let denied = matches!(self.trouble, Some((Trouble::Forbidden, _)));
        if !denied || kind == Trouble::Forbidden {
            self.trouble = Some((kind, words));
        }
    }

    /// The trouble there is: its kind, and what the API server or the network said.
    pub(super) fn trouble(&self) -> Option<(Trouble, &str)> {
        self.trouble.as_ref().map(|(trouble, words)| (*trouble, words.as_str()))
    }
}
