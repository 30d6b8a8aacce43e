//! How a batch goes out in requests. Comes in: what one request carries, in the order of the batch, and
//! what became of each try. Goes out: what the next try carries, and what became of whole intervals. A
//! request that is refused as invalid is halved until the culprit is alone. Never: a request, a clock, a
//! point that is counted twice or given to two requests that may both have arrived.

use super::delivery::Delivery;
use crate::mirror::{Drop, Tally, Trouble};

/// So many culprits one after the other, with nothing accepted between them, are no culprits: something
/// is wrong with all of them, such as the namespace. It bounds the requests of one try as well.
const REFUSED_IN_A_ROW: u32 = 10;

/// Why a request was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It was refused, or never sent: it is tried again later.
    NotTaken(Trouble, String),
    /// It was sent and not answered: it may have arrived, and is not sent again.
    Unconfirmed(String),
    /// Something in it is invalid.
    Invalid(String),
}

/// One thing that a request carries, or what became of it already.
#[derive(Debug)]
pub(super) struct Entry<T> {
    /// The start of its interval.
    pub(super) start: i64,
    /// What is sent, and for how many points it stands.
    pub(super) content: Option<(T, u64)>,
    /// What became already of points that are not sent.
    pub(super) known: Tally,
    /// Whether its interval ends with it.
    pub(super) last: bool,
}

impl<T> Entry<T> {
    /// Something to send.
    pub(super) fn content(start: i64, content: T, points: u64) -> Entry<T> {
        let known = Tally::default();
        Entry { start, content: Some((content, points)), known, last: false }
    }

    /// Points that are not sent.
    pub(super) fn known(start: i64, known: Tally) -> Entry<T> {
        Entry { start, content: None, known, last: false }
    }

    /// Points that are not sent, for one reason.
    pub(super) fn dropped(start: i64, reason: Drop, points: u64) -> Entry<T> {
        let mut known = Tally::default();
        known.drop(reason, points);
        Entry::known(start, known)
    }
}

/// How far the interval has come of which only a part is done with, and what the last tries showed.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    open: Option<Open>,
    /// Culprits since something was accepted.
    refused: u32,
    /// Whether the last request was never answered.
    pub(super) doubtful: bool,
}

#[derive(Debug, Default)]
struct Open {
    start: i64,
    done: usize,
    tally: Tally,
}

impl Ledger {
    /// The start of the interval of which a part is done with.
    pub(super) fn open(&self) -> Option<i64> {
        self.open.as_ref().map(|open| open.start)
    }

    /// How many entries of this interval are done with, from its first on.
    pub(super) fn done(&self, start: i64) -> usize {
        self.open.as_ref().filter(|open| open.start == start).map_or(0, |open| open.done)
    }

    /// What became already of points of an interval that is given up.
    pub(super) fn abandon(&mut self, start: i64) -> Tally {
        self.open.take_if(|open| open.start == start).map(|open| open.tally).unwrap_or_default()
    }

    fn note(&mut self, start: i64, tally: &Tally, last: bool, delivery: &mut Delivery) {
        let mut open = self.open.take().filter(|open| open.start == start).unwrap_or_default();
        open.start = start;
        open.done += 1;
        open.tally.add(tally);
        if last {
            delivery.settled += 1;
            delivery.tally.add(&open.tally);
        } else {
            self.open = Some(open);
        }
    }
}

/// What one request carries, until all of it is done with.
#[derive(Debug)]
pub(super) struct Parcel<T> {
    entries: Vec<Entry<T>>,
    /// Where what is not done with begins.
    begin: usize,
    /// Where the next tries end; the last of them is the next one.
    ends: Vec<usize>,
}

impl<T: Clone> Parcel<T> {
    /// All in one request, as long as nobody objects.
    pub(super) fn new(entries: Vec<Entry<T>>) -> Parcel<T> {
        Parcel { ends: vec![entries.len()], begin: 0, entries }
    }

    /// What the next request carries: nothing at all where no point is left to send. `None` when all is
    /// done with.
    pub(super) fn next(&self) -> Option<Vec<T>> {
        let end = *self.ends.last()?;
        let entries = &self.entries[self.begin..end];
        Some(entries.iter().filter_map(|e| Some(e.content.as_ref()?.0.clone())).collect())
    }

    /// Takes some of what the next request carries out of what was accepted: it was refused by itself.
    pub(super) fn refuse(&mut self, which: impl Fn(usize) -> Option<Drop>) {
        let end = self.ends.last().copied().unwrap_or(self.begin);
        let sent = self.entries[self.begin..end].iter_mut().filter(|e| e.content.is_some());
        for (at, entry) in sent.enumerate() {
            if let Some(reason) = which(at)
                && let Some((_, points)) = entry.content.take()
            {
                entry.known.drop(reason, points);
            }
        }
    }

    /// Notes what became of what [`Parcel::next`] gave.
    ///
    /// # Errors
    /// Why nothing more is to be sent now.
    pub(super) fn settle(
        &mut self,
        outcome: Result<(), Fault>,
        ledger: &mut Ledger,
        delivery: &mut Delivery,
    ) -> Result<(), (Trouble, String)> {
        let Some(&end) = self.ends.last() else { return Ok(()) };
        let sent = self.entries[self.begin..end].iter().filter(|e| e.content.is_some()).count();
        match outcome {
            Ok(()) => {
                if sent > 0 {
                    (ledger.refused, ledger.doubtful) = (0, false);
                }
                self.close(end, ledger, delivery, |tally, points| tally.sent += points);
                Ok(())
            }
            Err(Fault::Unconfirmed(why)) => {
                ledger.doubtful = true;
                self.close(end, ledger, delivery, |tally, points| tally.unconfirmed += points);
                Err((Trouble::Unreachable, why))
            }
            Err(Fault::NotTaken(trouble, why)) => Err((trouble, why)),
            Err(Fault::Invalid(_)) if sent > 1 => {
                self.ends.push(self.middle(end, sent / 2));
                Ok(())
            }
            Err(Fault::Invalid(why)) => {
                let rejected = |tally: &mut Tally, points| tally.drop(Drop::Rejected, points);
                self.close(end, ledger, delivery, rejected);
                ledger.refused += 1;
                if ledger.refused < REFUSED_IN_A_ROW {
                    return Ok(());
                }
                ledger.refused = 0;
                Err((Trouble::Refused, why))
            }
        }
    }

    /// The place behind the first `wanted` entries that are sent.
    fn middle(&self, end: usize, wanted: usize) -> usize {
        let sent = (self.begin..end).filter(|&at| self.entries[at].content.is_some());
        sent.take(wanted).last().map_or(end, |at| at + 1)
    }

    fn close(
        &mut self,
        end: usize,
        ledger: &mut Ledger,
        delivery: &mut Delivery,
        count: impl Fn(&mut Tally, u64),
    ) {
        for entry in &self.entries[self.begin..end] {
            let mut tally = entry.known;
            if let Some((_, points)) = entry.content {
                count(&mut tally, points);
            }
            ledger.note(entry.start, &tally, entry.last, delivery);
        }
        self.begin = end;
        self.ends.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Intervals of these numbers of entries, a point each, numbered throughout.
    fn parcel(intervals: &[usize]) -> Parcel<usize> {
        let mut entries: Vec<Entry<usize>> = Vec::new();
        for (start, &length) in (0..).zip(intervals) {
            for _ in 0..length {
                entries.push(Entry::content(start, entries.len(), 1));
            }
            if let Some(last) = entries.last_mut() {
                last.last = true;
            }
        }
        Parcel::new(entries)
    }

    /// Sends it all to a side that refuses what holds one of these. Gives the number of requests.
    fn send(
        parcel: &mut Parcel<usize>,
        ledger: &mut Ledger,
        bad: &[usize],
    ) -> (Delivery, usize, Option<Trouble>) {
        let (mut delivery, mut requests) = (Delivery::default(), 0);
        while let Some(sent) = parcel.next() {
            requests += 1;
            let invalid = sent.iter().any(|n| bad.contains(n));
            let outcome = if invalid { Err(Fault::Invalid(String::new())) } else { Ok(()) };
            if let Err((trouble, _)) = parcel.settle(outcome, ledger, &mut delivery) {
                return (delivery, requests, Some(trouble));
            }
        }
        (delivery, requests, None)
    }

    #[test]
    fn a_culprit_goes_alone_and_all_others_arrive() {
        let (delivery, requests, trouble) =
            send(&mut parcel(&[10, 10, 12]), &mut Ledger::default(), &[13]);
        assert_eq!((delivery.settled, trouble), (3, None));
        assert_eq!(delivery.tally.sent, 31);
        assert_eq!(delivery.tally.dropped[Drop::Rejected as usize], 1);
        // One for all, two for each of five halvings.
        assert_eq!(requests, 11);
    }

    #[test]
    fn where_all_is_refused_the_try_ends_and_what_is_left_stays() {
        let all: Vec<usize> = (0..100).collect();
        let mut ledger = Ledger::default();
        let (delivery, _, trouble) = send(&mut parcel(&[100]), &mut ledger, &all);
        assert_eq!((delivery.settled, trouble), (0, Some(Trouble::Refused)));
        assert_eq!(delivery.tally, Tally::default());
        assert_eq!(ledger.done(0), 10);
        assert_eq!(ledger.abandon(0).dropped[Drop::Rejected as usize], 10);
        assert_eq!(ledger.done(0), 0);
    }

    #[test]
    fn a_part_of_an_interval_is_counted_with_its_rest() {
        let mut ledger = Ledger::default();
        let mut delivery = Delivery::default();
        let mut first = parcel(&[3, 2]);
        first.entries.truncate(4);
        first.ends = vec![4];
        assert_eq!(first.settle(Ok(()), &mut ledger, &mut delivery), Ok(()));
        assert_eq!((delivery.settled, delivery.tally.sent), (1, 3));
        assert_eq!((ledger.done(0), ledger.done(1), ledger.open()), (0, 1, Some(1)));
        let mut rest = parcel(&[0, 1]);
        let lost = Err(Fault::Unconfirmed(String::new()));
        assert!(rest.settle(lost, &mut ledger, &mut delivery).is_err());
        assert_eq!(delivery.settled, 2);
        assert_eq!((delivery.tally.sent, delivery.tally.unconfirmed), (4, 1));
        assert!(ledger.doubtful);
        assert!(rest.next().is_none());
    }

    #[test]
    fn what_was_not_taken_is_given_again_and_what_is_refused_by_itself_is_counted() {
        let (mut ledger, mut delivery) = (Ledger::default(), Delivery::default());
        let mut parcel = parcel(&[3]);
        let busy = Err(Fault::NotTaken(Trouble::Throttled, "slow".to_owned()));
        let told = parcel.settle(busy, &mut ledger, &mut delivery);
        assert_eq!(told, Err((Trouble::Throttled, "slow".to_owned())));
        assert_eq!(parcel.next(), Some(vec![0, 1, 2]));
        parcel.refuse(|at| (at == 1).then_some(Drop::TooOld));
        assert_eq!(parcel.settle(Ok(()), &mut ledger, &mut delivery), Ok(()));
        assert_eq!((delivery.settled, delivery.tally.sent), (1, 2));
        assert_eq!(delivery.tally.dropped[Drop::TooOld as usize], 1);
    }
}
