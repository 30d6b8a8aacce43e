//! The rules of the election, alone and as several processes play by them: a Lease with compare-and-swap,
//! written and read as the API server's is; processes that are paused, cut off and killed, whose wall
//! clocks are wrong; requests that are slow, lost, or carried out without an answer.

use super::*;
use crate::lead::lease::{CONTENDER, Claim, Form, Read};
use k8s_openapi::api::coordination::v1::Lease;
use proptest::prelude::*;
use std::time::Duration;

const DURATION: f64 = 15.0;

fn record(holder: &str, renewed: u32) -> Record {
    Record {
        holder: holder.to_owned(),
        renewed: renewed.to_string(),
        duration: DURATION,
        contender: false,
        contended: true,
    }
}

fn term() -> Term {
    Term::new("me".to_owned(), None, DURATION)
}

#[test]
fn a_lease_is_created_taken_when_it_is_free_and_renewed_while_it_is_ours() {
    let mut term = term();
    assert_eq!(term.step(None, 0.0), Step::Create);
    assert_eq!(term.wrote(true, 1.0), (11.0, true));
    assert_eq!(term.step(Some(&record("me", 1)), 5.0), Step::Renew { contended: true });
    assert_eq!(term.wrote(true, 5.0), (15.0, false));
    assert_eq!(term.step(Some(&record("other", 2)), 6.0), Step::Announce);
    assert!(!term.holds_lease());
    assert_eq!(term.step(Some(&record("", 3)), 7.0), Step::Take);
    assert_eq!(term.wrote(true, 8.0), (18.0, true), "another term");
}

#[test]
fn a_follower_waits_a_whole_duration_from_when_it_first_saw_the_record() {
    let mut term = term();
    let mut old = Record { contender: true, ..record("other", 1) };
    assert_eq!(term.step(Some(&old), 100.0), Step::Wait);
    assert_eq!(term.step(Some(&old), 114.9), Step::Wait);
    old.renewed = "2".to_owned();
    assert_eq!(term.step(Some(&old), 114.9), Step::Wait);
    assert_eq!(term.step(Some(&old), 129.8), Step::Wait);
    assert_eq!(term.step(Some(&old), 129.9), Step::Take);
    // The holder's own duration counts where it is the longer one.
    let slow = Record { duration: 60.0, ..record("other", 3) };
    term.step(Some(&slow), 200.0);
    assert_eq!(term.step(Some(&slow), 259.0), Step::Announce);
    assert_eq!(term.step(Some(&slow), 260.0), Step::Take);
}

#[test]
fn a_holder_that_never_knew_of_us_is_asked_first() {
    let mut term = term();
    let alone = Record { contended: false, contender: true, ..record("other", 1) };
    term.step(Some(&alone), 0.0);
    assert_eq!(term.step(Some(&alone), 15.0), Step::Ask);
    assert_eq!(term.asked(&alone, Knock::Serves, 1e6), Step::Wait);
    assert_eq!(term.asked(&alone, Knock::Idle, 15.0), Step::Take);
    assert_eq!(term.asked(&alone, Knock::Silent, 59.9), Step::Wait);
    assert_eq!(term.asked(&alone, Knock::Silent, 60.0), Step::Take);
}

#[test]
fn a_holder_knows_itself_alone_after_some_renewals_and_no_more_once_somebody_announces_itself() {
    let mut term = term();
    term.step(None, 0.0);
    term.wrote(true, 0.0);
    let told: Vec<bool> = (1..=4)
        .map(|n| {
            let step = term.step(Some(&record("me", n)), f64::from(n));
            let Step::Renew { contended } = step else { panic!("{step:?}") };
            term.wrote(contended, f64::from(n));
            contended
        })
        .collect();
    assert_eq!(told, [true, true, false, false]);
    // Alone it serves on without an answer, as long as it never stood still.
    assert_eq!(term.unanswered(9.0, 10.0), Some(19.0));
    assert_eq!(term.unanswered(18.0, 18.9), Some(28.0));
    assert_eq!(term.unanswered(28.0, 28.0), None, "it was paused");
    let announced = Record { contender: true, ..record("me", 5) };
    assert_eq!(term.step(Some(&announced), 29.0), Step::Renew { contended: true });
    term.wrote(true, 29.0);
    assert_eq!(term.unanswered(30.0, 31.0), None, "the other one counts from its last renewal");
}

#[test]
fn a_promise_that_ended_while_a_request_was_under_way_is_not_prolonged() {
    let mut term = term();
    term.step(None, 0.0);
    for _ in 0..4 {
        term.wrote(false, 16.0);
    }
    // Sent at 19, stopped until 27, and only then without an answer: somebody may have asked at 26.5.
    assert_eq!(term.unanswered(19.0, 27.0), None);
    assert_eq!(term.unanswered(27.1, 27.2), None);
}

#[test]
fn a_holder_is_bound_by_a_competitor_before_it_has_written_so() {
    let mut term = term();
    term.step(None, 0.0);
    for n in 0..4 {
        term.step(Some(&record("me", n)), 1.0);
        term.wrote(false, 1.0);
    }
    let announced = Record { contender: true, ..record("me", 5) };
    assert_eq!(term.step(Some(&announced), 4.0), Step::Renew { contended: true });
    assert_eq!(term.unanswered(4.0, 5.0), None, "it may have been written all the same");
}

#[test]
fn an_earlier_container_of_the_same_pod_is_not_waited_for() {
    let mut term = Term::new("pod_2".to_owned(), Some("pod_".to_owned()), DURATION);
    let lone = Record { contended: false, ..record("pod_1", 1) };
    assert_eq!(term.step(Some(&lone), 0.0), Step::Take);
    assert_eq!(term.step(Some(&record("pod_2", 2)), 1.0), Step::Renew { contended: true });
    assert_eq!(term.step(Some(&record("pod-x_1", 3)), 2.0), Step::Announce);
    let mut unknown = self::term();
    assert_eq!(unknown.step(Some(&lone), 0.0), Step::Announce);
}

#[test]
fn a_lease_that_somebody_took_away_is_made_anew_only_once_its_holder_has_noticed() {
    let mut follower = term();
    follower.step(Some(&record("other", 1)), 0.0);
    assert_eq!(follower.step(None, 5.0), Step::Wait);
    assert_eq!(follower.step(None, 19.9), Step::Wait);
    assert_eq!(follower.step(None, 20.0), Step::Create);
    let mut holder = term();
    holder.step(None, 0.0);
    holder.wrote(true, 0.0);
    assert_eq!(holder.step(None, 5.0), Step::Create);
}

// === Simulation ===

/// Seconds between two looks at everything.
const TICK: f64 = 0.1;
/// Seconds that a request may take for the one who sent it.
const PATIENCE: f64 = DURATION / 6.0;
/// Seconds from the beginning of an attempt to that of the next.
const PERIOD: f64 = DURATION / 5.0;

/// What happens to a process, or to all of them.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Paused,
    /// Its requests hang.
    CutOff,
    Killed,
    /// Everybody's requests fail at once.
    Outage,
}

/// What a process takes for the time of day. The rules must not care.
#[derive(Debug, Clone, Copy)]
enum Wall {
    Ahead(f64),
    Still,
    /// Set once, at a second and by so much.
    Stepped(f64, f64),
}

const RIGHT: [Wall; 3] = [Wall::Ahead(0.0); 3];

impl Wall {
    fn unix(self, now: f64) -> f64 {
        match self {
            Wall::Ahead(by) => 1.8e9 + now + by,
            Wall::Still => 1.8e9,
            Wall::Stepped(at, by) => 1.8e9 + now + if now < at { 0.0 } else { by },
        }
    }
}

#[derive(Debug, Clone)]
enum Phase {
    Idle { until: f64 },
    Read { began: f64, at: f64 },
    Write { began: f64, sent: f64, step: Step, write: usize, answer: f64 },
}

/// A write on its way: it is carried out, or not, even when nobody waits for its answer any more.
struct Write {
    who: usize,
    /// None announces.
    lease: Option<Lease>,
    version: u64,
    at: f64,
    done: Option<bool>,
}

struct Process {
    name: String,
    form: Form,
    wall: Wall,
    term: Term,
    renewal: u64,
    /// Its clock is ahead of the others' by this.
    ahead: f64,
    phase: Phase,
    until: f64,
    paused: f64,
    /// It answers for a while after a pause before it looks at its own requests.
    wakes: f64,
    cut: f64,
    restarts: u32,
}

#[derive(Default)]
struct World {
    now: f64,
    lease: Option<Lease>,
    version: u64,
    outage: f64,
    seed: u64,
    /// From then on every request is quick.
    calm: f64,
    writes: Vec<Write>,
}

impl World {
    /// The API server's side of what is under way.
    fn carry_out(&mut self, processes: &[Process]) {
        for index in 0..self.writes.len() {
            let (now, outage, version) = (self.now, self.outage, self.version);
            let write = &mut self.writes[index];
            if write.done.is_some() || now < write.at {
                continue;
            }
            let reaches = processes[write.who].cut <= now && outage <= now;
            let announces = write.lease.is_none();
            let done = reaches && (announces || version == write.version);
            write.done = Some(done);
            if !done {
                continue;
            }
            self.version += 1;
            match write.lease.take() {
                Some(lease) => self.lease = Some(lease),
                None => {
                    let metadata = &mut self.lease.as_mut().unwrap().metadata;
                    let notes = metadata.annotations.as_mut().unwrap();
                    notes.insert(CONTENDER.to_owned(), "somebody".to_owned());
                }
            }
        }
    }

    fn share(&mut self) -> f64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) as f64 / f64::from(1u32 << 31)
    }

    /// Mostly quick, sometimes slower than anybody's patience.
    fn delay(&mut self) -> f64 {
        let share = self.share();
        let quick = share < 0.9 || self.now >= self.calm;
        if quick { share * 0.3 } else { (share - 0.9) * 10.0 * PATIENCE * 2.0 }
    }
}

impl Process {
    fn new(index: usize, wall: Wall) -> Process {
        let form = Form {
            family: "x".to_owned(),
            name: "x".to_owned(),
            shards: 1,
            duration: Duration::from_secs_f64(DURATION),
            address: None,
        };
        let (name, term) = Process::identity(index, 0);
        Process {
            name,
            form,
            wall,
            term,
            renewal: 0,
            ahead: index as f64 * 1_000.0,
            phase: Phase::Idle { until: 0.0 },
            until: f64::NEG_INFINITY,
            paused: 0.0,
            wakes: 0.0,
            cut: 0.0,
            restarts: 0,
        }
    }

    /// Every second one knows the earlier containers of its pod.
    fn identity(index: usize, restarts: u32) -> (String, Term) {
        let name = format!("p{index}_{restarts}");
        let pod = index.is_multiple_of(2).then(|| format!("p{index}_"));
        (name.clone(), Term::new(name, pod, DURATION))
    }

    fn serves(&self, now: f64) -> bool {
        self.paused <= now && now + self.ahead < self.until
    }

    fn reaches(&self, world: &World) -> bool {
        self.cut <= world.now && world.outage <= world.now
    }

    fn go_on(&mut self, who: usize, world: &mut World, knocks: &[(String, Knock)]) {
        let (now, mine) = (world.now, world.now + self.ahead);
        if self.wakes > now {
            return;
        }
        match self.phase.clone() {
            Phase::Idle { until } if now >= until => {
                self.phase = Phase::Read { began: mine, at: now + world.delay() };
            }
            Phase::Idle { .. } => {}
            Phase::Read { began, at }
                if (now >= at && self.cut <= now) || mine - began > PATIENCE =>
            {
                if !self.reaches(world) || mine - began > PATIENCE {
                    return self.unanswered(began, mine);
                }
                let read = world.lease.clone().map(Read::of);
                let record = read.as_ref().map(|read| &read.record);
                let mut step = self.term.step(record, mine);
                if !self.term.holds_lease() {
                    self.until = f64::NEG_INFINITY;
                }
                if let (Step::Ask, Some(record)) = (step, record) {
                    let answer = knocks.iter().find(|(name, _)| *name == record.holder);
                    let knock = answer.map_or(Knock::Silent, |(_, knock)| *knock);
                    step = self.term.asked(record, knock, mine);
                }
                if step == Step::Wait {
                    self.phase = Phase::Idle { until: began - self.ahead + PERIOD };
                    return;
                }
                let at = now + world.delay();
                let answer = at + world.delay();
                self.renewal += 1;
                let claim = Claim {
                    holder: &self.name,
                    contended: !matches!(step, Step::Renew { contended: false }),
                    unix: self.wall.unix(now),
                    renewal: self.renewal,
                    note: "",
                };
                let lease =
                    (step != Step::Announce).then(|| self.form.lease(&claim, read.as_ref()));
                let (write, version) = (world.writes.len(), world.version);
                world.writes.push(Write { who, lease, version, at, done: None });
                self.phase = Phase::Write { began, sent: mine, step, write, answer };
            }
            Phase::Read { .. } => {}
            Phase::Write { began, sent, step, write, answer }
                if (now >= answer && self.cut <= now) || mine - sent > PATIENCE =>
            {
                if !self.reaches(world) || mine - sent > PATIENCE {
                    return self.unanswered(began, mine);
                }
                let done = world.writes[write].done == Some(true);
                if done && step != Step::Announce {
                    let contended = !matches!(step, Step::Renew { contended: false });
                    self.until = self.term.wrote(contended, sent).0;
                }
                let next = began - self.ahead + PERIOD;
                self.phase = Phase::Idle { until: if done { next } else { now } };
            }
            Phase::Write { .. } => {}
        }
    }

    fn unanswered(&mut self, began: f64, mine: f64) {
        if let Some(until) = self.term.unanswered(began, mine) {
            self.until = until;
        }
        self.phase = Phase::Idle { until: began - self.ahead + PERIOD };
    }

    /// What it says to whoever asks it.
    fn knock(&self, now: f64) -> Knock {
        if self.paused > now {
            Knock::Silent
        } else if self.serves(now) {
            Knock::Serves
        } else {
            Knock::Idle
        }
    }

    fn strike(&mut self, index: usize, trouble: Trouble, world: &mut World, seconds: f64) {
        let end = world.now + seconds;
        match trouble {
            Trouble::Outage => world.outage = world.outage.max(end),
            Trouble::Paused => {
                self.paused = self.paused.max(end);
                self.wakes = self.wakes.max(end + 2.0 * world.share());
            }
            Trouble::CutOff => self.cut = self.cut.max(end),
            Trouble::Killed => {
                // Whatever it had under way may still be carried out, which is nobody's any more.
                let (cut, restarts) = (self.cut, self.restarts + 1);
                *self = Process::new(index, self.wall);
                (self.name, self.term) = Process::identity(index, restarts);
                (self.cut, self.restarts) = (cut, restarts);
                self.phase = Phase::Idle { until: world.now + 1.0 };
            }
        }
    }
}

/// Seconds after which those that began together are at work.
const BEGUN: f64 = 120.0;

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// Seconds without a server after the beginning.
    unserved: f64,
    /// The last of them.
    last: f64,
    /// Who served, in turn, and since when.
    turns: Vec<(f64, String)>,
}

/// Processes, their wall clocks, troubles each at its second, and how requests fare.
struct Play<'a> {
    walls: &'a [Wall],
    troubles: &'a [(f64, usize, Trouble, f64)],
    end: f64,
    calm: f64,
    seed: u64,
}

impl Play<'_> {
    fn play(&self) -> Outcome {
        let mut world = World { seed: self.seed, calm: self.calm, ..World::default() };
        let new = |(index, wall): (usize, &Wall)| Process::new(index, *wall);
        let mut processes: Vec<Process> = self.walls.iter().enumerate().map(new).collect();
        let mut struck = 0;
        let mut outcome = Outcome::default();
        while world.now < self.end {
            while let Some(&(at, who, trouble, seconds)) = self.troubles.get(struck)
                && at <= world.now
            {
                struck += 1;
                let who = who % processes.len();
                processes[who].strike(who, trouble, &mut world, seconds);
            }
            world.carry_out(&processes);
            let now = world.now;
            let serving: Vec<&Process> = processes.iter().filter(|p| p.serves(now)).collect();
            let names: Vec<&String> = serving.iter().map(|p| &p.name).collect();
            assert!(names.len() <= 1, "at {now}: {names:?} serve at once");
            match names.first() {
                Some(name) if outcome.turns.last().is_none_or(|(_, last)| last != *name) => {
                    outcome.turns.push((now, (*name).clone()));
                }
                None if now > BEGUN => {
                    outcome.unserved += TICK;
                    outcome.last = now;
                }
                _ => {}
            }
            let knocks: Vec<(String, Knock)> =
                processes.iter().map(|p| (p.name.clone(), p.knock(now))).collect();
            for (who, process) in processes.iter_mut().enumerate() {
                process.go_on(who, &mut world, &knocks);
            }
            world.now += TICK;
        }
        outcome
    }
}

/// With right clocks and a network that is never calm.
fn play(count: usize, troubles: &[(f64, usize, Trouble, f64)], end: f64, seed: u64) -> f64 {
    Play { walls: &RIGHT[..count], troubles, end, calm: end, seed }.play().unserved
}

fn troubles() -> impl Strategy<Value = Vec<(f64, usize, Trouble, f64)>> {
    let kind = prop_oneof![
        Just(Trouble::Paused),
        Just(Trouble::CutOff),
        Just(Trouble::Killed),
        Just(Trouble::Outage),
    ];
    prop::collection::vec((0.0..400.0f64, 0..3usize, kind, 0.0..90.0f64), 0..12).prop_map(
        |mut list| {
            list.sort_by(|a, b| a.0.total_cmp(&b.0));
            list
        },
    )
}

fn walls() -> impl Strategy<Value = Vec<Wall>> {
    let wall = prop_oneof![
        (-1e8..1e8f64).prop_map(Wall::Ahead),
        Just(Wall::Still),
        (0.0..400.0f64, -1e7..1e7f64).prop_map(|(at, by)| Wall::Stepped(at, by)),
    ];
    prop::collection::vec(wall, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn prop_no_two_serve_at_once_and_somebody_does_again(
        walls in walls(),
        troubles in troubles(),
        seed in any::<u64>(),
    ) {
        let over = troubles.iter().map(|t| t.0 + t.3).fold(BEGUN, f64::max);
        // A silent holder's four durations, begun anew by a write that was under way; and some requests.
        let again = over + 6.0 * DURATION;
        let end = again + 60.0;
        let last = Play { walls: &walls, troubles: &troubles, end, calm: over, seed }.play().last;
        prop_assert!(last < again, "nobody serves at {last}, the last trouble was over at {over}");
    }
}

#[test]
fn a_wall_clock_that_is_wrong_changes_nothing() {
    let troubles = [
        (150.0, 0, Trouble::Paused, 40.0),
        (250.0, 1, Trouble::Killed, 0.0),
        (300.0, 2, Trouble::CutOff, 40.0),
        (400.0, 0, Trouble::Outage, 40.0),
    ];
    let wrong = [
        [Wall::Still; 3],
        [Wall::Ahead(-1e8), Wall::Ahead(1e8), Wall::Still],
        [Wall::Stepped(200.0, -3600.0), Wall::Stepped(310.0, 1e6), Wall::Stepped(140.0, 30.0)],
    ];
    for seed in 0..20 {
        let play = |walls: &[Wall]| {
            Play { walls, troubles: &troubles, end: 600.0, calm: 0.0, seed }.play()
        };
        let right = play(&RIGHT);
        assert!(right.turns.len() > 1, "{right:?}");
        for walls in &wrong {
            assert_eq!(play(walls), right, "seed {seed}, {walls:?}");
        }
    }
}

#[test]
fn one_that_is_alone_serves_through_every_outage() {
    for seed in 0..50 {
        let outage = [(200.0, 0, Trouble::Outage, 300.0)];
        assert_eq!(play(1, &outage, 600.0, seed), 0.0, "seed {seed}");
    }
}

#[test]
fn one_that_was_alone_and_stood_still_does_not_go_on_after_it_was_asked() {
    for seed in 0..300u64 {
        // The second one comes when the first is cut off already, and asks it from 215 on.
        let pause = 4.0 + (seed % 11) as f64;
        let begins = 216.0 + (seed / 11) as f64 * 0.25;
        let troubles = [
            (0.0, 1, Trouble::CutOff, 200.0),
            (199.0, 0, Trouble::CutOff, 150.0),
            (begins, 0, Trouble::Paused, pause),
        ];
        let walls = &RIGHT[..2];
        Play { walls, troubles: &troubles, end: 300.0, calm: 0.0, seed }.play();
    }
}

#[test]
fn of_several_another_serves_soon_after_one_was_killed_or_paused() {
    for trouble in [Trouble::Killed, Trouble::Paused, Trouble::CutOff] {
        for seed in 0..50 {
            let all = [0, 1, 2].map(|who| (200.0 + 100.0 * who as f64, who, trouble, 60.0));
            let unserved = play(3, &all, 600.0, seed) - play(3, &[], 600.0, seed);
            assert!(unserved < 3.0 * 2.0 * DURATION, "{trouble:?}: {unserved} s without a server");
        }
    }
}
