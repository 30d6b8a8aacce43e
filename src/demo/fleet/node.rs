//! One simulated node: its instance, its ipamd process, its pods, and what troubles it. Comes in: the
//! passing of story minutes, and interventions. Goes out: state that a page is made from. Never: a
//! clock (moments are given), a socket.

use super::counters::{Counters, Fault};
use super::pool::{Mode, PREFIX, Pool};
use super::release::{CURRENT, FIRST_MODERN, RELEASES, Release};
use super::rng::Rng;
use std::sync::Arc;

/// An EC2 instance type, as far as pods' addresses depend on it.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: &'static str,
    pub(super) enis: u64,
    /// Addresses per interface, its own included.
    pub(super) addresses: u64,
}

/// Limits as EC2's documentation lists them.
const INSTANCES: &[Instance] = &[
    Instance { name: "t3.medium", enis: 3, addresses: 6 },
    Instance { name: "m5.large", enis: 3, addresses: 10 },
    Instance { name: "m6g.large", enis: 3, addresses: 10 },
    Instance { name: "c5.xlarge", enis: 4, addresses: 15 },
    Instance { name: "m5.2xlarge", enis: 4, addresses: 15 },
    Instance { name: "r5.2xlarge", enis: 4, addresses: 15 },
    Instance { name: "m5.4xlarge", enis: 8, addresses: 30 },
    Instance { name: "c5.9xlarge", enis: 8, addresses: 30 },
];
/// The first so many are small.
const SMALL: usize = 3;

/// Where nodes stand.
pub(super) const REGION: &str = "us-west-2";
/// One subnet each.
pub(super) const ZONES: &[&str] = &["us-west-2a", "us-west-2b", "us-west-2c"];
/// Groups with a role each.
pub(super) const NODEGROUPS: &[&str] = &["general", "batch", "web", "ingest"];

/// How a node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// As it should.
    Ok,
    /// Accepts and never answers.
    Timeout,
    /// Answers, a few bytes a second.
    Slow,
    /// Refuses connections.
    Refuse,
    /// Ends the answer before its last chunk.
    Truncate,
    /// Answers something that is no exposition.
    Garbage,
    /// Status 503.
    Http503,
    /// Serves NaN or an infinity in a gauge and a counter.
    Nan,
}

impl Behaviour {
    /// All, by the words of `POST /misbehave?how=`.
    pub const ALL: [Behaviour; 8] = [
        Behaviour::Ok,
        Behaviour::Timeout,
        Behaviour::Slow,
        Behaviour::Refuse,
        Behaviour::Truncate,
        Behaviour::Garbage,
        Behaviour::Http503,
        Behaviour::Nan,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Behaviour::Ok => "ok",
            Behaviour::Timeout => "timeout",
            Behaviour::Slow => "slow",
            Behaviour::Refuse => "refuse",
            Behaviour::Truncate => "truncate",
            Behaviour::Garbage => "garbage",
            Behaviour::Http503 => "http_503",
            Behaviour::Nan => "nan",
        }
    }
}

/// What EC2 says when the node asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ec2 {
    Fine,
    Refuses(Fault),
}

/// How old a node's process is when the node comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Began this moment.
    Young,
    /// Days old, with large totals.
    Old,
}

/// The ipamd process.
#[derive(Debug, Clone)]
pub(super) struct Process {
    /// Which of the node's processes it is; with the node's name unique for ever.
    pub(super) number: u64,
    /// Unix seconds, real time.
    pub(super) start: f64,
    pub(super) counters: Counters,
    pub(super) startup_seconds: f64,
    pub(super) init_seconds: f64,
    pub(super) with_api_server: bool,
}

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Arc<str>,
    pub(super) instance: &'static Instance,
    pub(super) zone: &'static str,
    pub(super) nodegroup: &'static str,
    pub(super) spot: bool,
    pub(super) nftables: bool,
    pub(super) release: &'static Release,
    pub(super) process: Process,
    pub(super) pool: Pool,
    pub(super) behaviour: Behaviour,
    pub(super) ec2: Ec2,
    /// More pods are sent here than it can ever have addresses for.
    pub(super) crowded: bool,
    /// Seconds by which its clock is off.
    pub(super) clock_offset: f64,
    /// Down: a reboot is under way.
    pub(super) down: bool,
    /// In the targets file.
    pub(super) listed: bool,
    /// Growing the pool failed in the last minute.
    pub(super) growing: bool,
    /// Rises with every change that shows on the page.
    pub(super) version: u64,
    /// Share of its room that it uses at the day's peak, in 1/1000.
    appetite: u64,
    rng: Rng,
}

/// Pods by the hour of the day, in 1/1000 of the peak.
const BY_HOUR: [u64; 24] = [
    420, 390, 370, 360, 360, 380, 450, 560, 690, 800, 880, 930, 960, 990, 1000, 980, 940, 880, 800,
    720, 650, 580, 520, 460,
];
/// Story minutes in a day.
const DAY: u64 = 24 * 60;
/// Pods that kubelet starts in a minute at most.
const STARTS: u64 = 12;
/// kubelet's own limit of pods, as EKS recommends it at most.
const MAX_PODS: u64 = 250;
/// The same with prefixes on machines of fewer than 30 vCPUs.
const MAX_PODS_OF_SMALL: u64 = 110;
/// aws-node and kube-proxy.
pub(super) const HOST_NETWORK_PODS: u64 = 2;

impl Node {
    /// The node with a serial number; the number is never used again in a fleet.
    pub(super) fn new(seed: u64, serial: u64, age: Age, minute: u64, now: f64) -> Node {
        let mut rng = Rng::stream(seed, serial);
        let mode = match rng.below(100) {
            0..75 => Mode::Secondary,
            75..90 => Mode::Prefix,
            _ => Mode::Ipv6,
        };
        // Prefixes are for small instances: on large ones nobody reaches the ceiling.
        let choice = if mode == Mode::Prefix { &INSTANCES[..SMALL] } else { INSTANCES };
        let instance = rng.pick(choice);
        let release = match rng.below(100) {
            0..3 if mode == Mode::Secondary => 0,
            0..55 => CURRENT,
            55..58 => CURRENT + 1,
            _ => FIRST_MODERN + rng.index(CURRENT - FIRST_MODERN),
        };
        let place = serial.wrapping_mul(4093);
        let zone = rng.index(ZONES.len());
        let mut node = Node {
            name: format!(
                "ip-10-{}-{}-{}.{REGION}.compute.internal",
                (serial >> 16) * 4 + zone as u64,
                (place >> 8) & 0xff,
                place & 0xff
            )
            .into(),
            instance,
            zone: ZONES[zone],
            nodegroup: NODEGROUPS[rng.index(NODEGROUPS.len())],
            spot: rng.per_mille(300),
            nftables: rng.per_mille(400),
            release: &RELEASES[release],
            process: Process::new(1, now, &mut rng),
            pool: Pool::new(mode, rng.next()),
            behaviour: Behaviour::Ok,
            ec2: Ec2::Fine,
            crowded: false,
            clock_offset: 0.0,
            down: false,
            listed: true,
            growing: false,
            version: 1,
            appetite: rng.between(250, 960),
            rng,
        };
        node.boot(age, minute, now);
        node
    }

    /// Network interfaces that ipamd may manage.
    pub(super) fn eni_max(&self) -> u64 {
        if self.pool.mode == Mode::Ipv6 { 1 } else { self.instance.enis }
    }

    /// The node's ceiling of addresses.
    pub(super) fn ip_max(&self) -> u64 {
        let each = self.instance.addresses - 1;
        let size = if self.pool.mode == Mode::Secondary { 1 } else { PREFIX };
        each * self.eni_max() * size
    }

    /// Pods with an address that the kubelet takes, where that is told: as EKS recommends it, which matters
    /// where prefixes give many more addresses.
    pub(super) fn pod_limit(&self) -> Option<u64> {
        (self.pool.mode == Mode::Prefix).then_some(MAX_PODS_OF_SMALL - HOST_NETWORK_PODS)
    }

    /// Whether connections are accepted.
    pub(super) fn accepts(&self) -> bool {
        !self.down && self.behaviour != Behaviour::Refuse
    }

    /// awscni_assigned_ip_addresses as the page shows it.
    pub(super) fn assigned_shown(&self) -> f64 {
        match self.behaviour {
            Behaviour::Nan if self.process.number.is_multiple_of(2) => f64::INFINITY,
            Behaviour::Nan => f64::NAN,
            _ => self.pool.assigned as f64,
        }
    }

    /// awscni_add_ip_req_count as the page shows it.
    pub(super) fn adds_shown(&self) -> f64 {
        match self.behaviour {
            Behaviour::Nan if self.process.number.is_multiple_of(2) => f64::NAN,
            Behaviour::Nan => f64::INFINITY,
            _ => self.process.counters.adds as f64,
        }
    }

    /// Sets how the node answers.
    pub(super) fn behave(&mut self, behaviour: Behaviour) {
        self.behaviour = behaviour;
        self.version += 1;
    }

    fn boot(&mut self, age: Age, minute: u64, now: f64) {
        self.attach_first();
        let pods = self.wanted(minute);
        for _ in 0..pods {
            self.start_pod(false);
        }
        if age == Age::Old {
            self.grow_old(now);
        }
    }

    fn attach_first(&mut self) {
        let count = match self.pool.mode {
            Mode::Secondary => self.instance.addresses - 1,
            Mode::Prefix | Mode::Ipv6 => 1,
        };
        self.pool.attach(count);
        self.process.counters.calls("DescribeNetworkInterfaces", 1, 41);
    }

    /// A life of days, in one stroke.
    fn grow_old(&mut self, now: f64) {
        let minutes = self.rng.between(DAY, 20 * DAY);
        // Ticks of the kernel's clock are 10 ms.
        let fraction = self.rng.below(100) as f64 / 100.0;
        self.process.start = (now - minutes as f64 * 60.0).floor() + fraction;
        let pods_ever = minutes / self.rng.between(2, 9);
        let (a, b, c) =
            (self.rng.between(30, 60), self.rng.between(60, 700), self.rng.between(200, 900));
        let flips = minutes / 300 + 1;
        let counters = &mut self.process.counters;
        counters.adds += pods_ever;
        counters.dels.add("PodDeleted", pods_ever);
        counters.dels.add("SetupNSFailed", pods_ever / 200);
        counters.calls("DescribeNetworkInterfaces", minutes / 5, a);
        counters.took("GetMetadata", false, "200", minutes * 12, 2);
        if self.pool.mode == Mode::Secondary {
            for (call, ms) in GROWTH {
                counters.calls(call, flips, ms + b);
            }
            for call in SHRINKING {
                counters.calls(call, flips, c);
            }
        }
        counters.reconciled.add("eniDataStorePoolReconcileAdd", flips);
        counters.connmark_successes += minutes;
        let turnover = self.pool.total().min(pods_ever);
        for _ in 0..turnover.min(200) {
            if self.pool.give_back(&mut self.rng) {
                self.pool.take(&mut self.rng);
            }
        }
    }

    /// Pods that want to be here at a minute of the story.
    fn wanted(&self, minute: u64) -> u64 {
        let of_day = minute % DAY;
        let (hour, into) = (usize::try_from(of_day / 60).unwrap_or(0), of_day % 60);
        let share = (BY_HOUR[hour] * (60 - into) + BY_HOUR[(hour + 1) % 24] * into) / 60;
        if self.crowded {
            // The kubelet refuses some, ipamd the others.
            return self.pod_limit().unwrap_or(u64::MAX).min(self.ip_max() + 3);
        }
        let most = self.pod_limit().unwrap_or(MAX_PODS);
        self.ip_max().min(most) * self.appetite * share / 1_000_000
    }

    /// One minute of the story passes.
    pub(super) fn live(&mut self, minute: u64) {
        if self.down {
            return;
        }
        self.version += 1;
        let wanted = self.wanted(minute);
        let turnover = self.rng.below(2 + self.pool.assigned / 20);
        let surplus = self.pool.assigned.saturating_sub(wanted).min(STARTS);
        for _ in 0..turnover + surplus {
            self.stop_pod();
        }
        let starts = wanted.saturating_sub(self.pool.assigned).min(STARTS);
        for _ in 0..starts {
            self.start_pod(true);
        }
        self.tend_pool();
        self.reconcile(minute);
    }

    fn start_pod(&mut self, by_ec2: bool) {
        self.process.counters.adds += 1;
        if self.pool.take(&mut self.rng) {
            return;
        }
        if (by_ec2 && !self.grow_pool()) || (!by_ec2 && !self.grow_quietly()) {
            self.process.counters.refused += 1;
            return;
        }
        self.pool.take(&mut self.rng);
    }

    fn stop_pod(&mut self) {
        if self.pool.give_back(&mut self.rng) {
            let reason = if self.rng.per_mille(8) { "SetupNSFailed" } else { "PodDeleted" };
            self.process.counters.dels.add(reason, 1);
        }
    }

    /// Keeps warm addresses, and gives back interfaces that nothing needs.
    fn tend_pool(&mut self) {
        self.growing = false;
        let each = self.instance.addresses - 1;
        let warm = match self.pool.mode {
            Mode::Secondary => each / 2,
            Mode::Prefix => PREFIX / 2,
            Mode::Ipv6 => 0,
        };
        if self.pool.free() < warm {
            self.grow_pool();
        } else if self.pool.mode == Mode::Secondary
            && self.pool.free() > 2 * each
            && self.rng.per_mille(200)
        {
            self.shrink_pool();
        }
    }

    /// Room for more, without a call: as found at boot.
    fn grow_quietly(&mut self) -> bool {
        let each = self.instance.addresses - 1;
        let room = (self.pool.enis.len() as u64) < self.eni_max();
        match self.pool.mode {
            Mode::Prefix => {
                let added = self.pool.add_prefix(each);
                if !added && room {
                    self.pool.attach(1);
                }
                added || room
            }
            Mode::Secondary if room => {
                self.pool.attach(each);
                true
            }
            Mode::Secondary | Mode::Ipv6 => false,
        }
    }

    /// Asks EC2 for more; false when it cannot be had.
    fn grow_pool(&mut self) -> bool {
        let ms = self.rng.between(80, 900);
        let prefix = self.pool.mode == Mode::Prefix;
        let each = self.instance.addresses - 1;
        let room = (self.pool.enis.len() as u64) < self.eni_max();
        let full = self.pool.prefixes() >= each * self.pool.enis.len() as u64;
        if self.pool.mode == Mode::Ipv6 || (!room && (!prefix || full)) {
            return false;
        }
        let by_prefix = prefix && !full;
        let call = if by_prefix { "AssignPrivateIpAddresses" } else { "CreateNetworkInterface" };
        let counters = &mut self.process.counters;
        if let Ec2::Refuses(fault) = self.ec2 {
            let fault = match fault {
                Fault::SubnetFull if prefix => Fault::NoCidrBlock,
                other => other,
            };
            counters.failed_call(self.release, call, fault, ms);
            let function = if by_prefix {
                "increaseIPPoolAllocIPAddressesFailed"
            } else {
                "increaseIPPoolAllocENI"
            };
            counters.ipamd_errors.add(function, 1);
            if fault == Fault::Denied {
                let eni = "eni-00000000000000000";
                let function = "AllocENIDeleteErr";
                counters.helper_failed(self.release, function, call, fault, eni, &mut self.rng);
            }
            self.growing = true;
            return false;
        }
        if by_prefix {
            counters.calls(call, 1, ms);
        } else {
            for (call, extra) in GROWTH {
                counters.calls(call, 1, ms + extra);
            }
        }
        self.grow_quietly()
    }

    fn shrink_pool(&mut self) {
        let ms = self.rng.between(100, 700);
        if let Ec2::Refuses(fault @ (Fault::Throttled | Fault::Denied)) = self.ec2 {
            let call = "DetachNetworkInterface";
            self.process.counters.failed_call(self.release, call, fault, ms);
            self.process.counters.ipamd_errors.add("decreaseIPPoolFreeENIFailed", 1);
            return;
        }
        let Some(eni) = self.pool.detach_unused() else { return };
        let counters = &mut self.process.counters;
        for call in SHRINKING {
            counters.calls(call, 1, ms);
        }
        // Now and then EC2 is not done with the detaching when it is asked to delete.
        if self.rng.per_mille(150) {
            let (call, fault) = ("DeleteNetworkInterface", Fault::InUse);
            counters.failed_call(self.release, call, fault, ms);
            let function = "FreeENIDeleteErr";
            counters.helper_failed(self.release, function, call, fault, &eni, &mut self.rng);
        }
    }

    fn reconcile(&mut self, minute: u64) {
        let (few, ms) = (self.rng.below(40), self.rng.between(20, 70));
        let counters = &mut self.process.counters;
        counters.took("GetMetadata", false, "200", 12, 1 + few % 3);
        counters.connmark_successes += 1;
        if minute.is_multiple_of(5) {
            match self.ec2 {
                Ec2::Refuses(fault @ Fault::Throttled) => {
                    counters.failed_call(self.release, "DescribeNetworkInterfaces", fault, ms);
                    counters.ipamd_errors.add("reconcileFailedGetENIs", 1);
                }
                _ => counters.calls("DescribeNetworkInterfaces", 1, ms),
            }
        }
        match few {
            0 => counters.reconciled.add("eniDataStorePoolReconcileAdd", 1),
            1 => counters.connmark_errors += 1,
            2 if minute.is_multiple_of(7) => counters.reconciled.add("eniReconcileDel", 1),
            3 if minute.is_multiple_of(11) => counters.forced_ips += 1,
            4 if minute.is_multiple_of(13) => counters.forced_enis += 1,
            5 if minute.is_multiple_of(3) => counters.pod_eni_errors.add("nodeInit", 1),
            _ => {}
        }
        if self.release.future {
            counters.future.add("warm", 1 + few % 2);
            if few < 3 {
                counters.future.add("cold", 1);
                counters.failed_call(self.release, "FleetFutureCall", Fault::Novel, ms);
                counters.ipamd_errors.add("fleetFutureError", 1);
            }
        }
    }

    /// ipamd begins anew: it finds its pods again, counts from zero, and keeps nothing else.
    pub(super) fn restart(&mut self, now: f64) {
        self.process = Process::new(self.process.number + 1, now, &mut self.rng);
        self.process.counters.calls("DescribeNetworkInterfaces", 2, 44);
        self.pool.recover();
        self.growing = false;
        self.version += 1;
    }

    /// The machine comes back from a reboot: every pod starts again.
    pub(super) fn come_back(&mut self, minute: u64, now: f64) {
        self.down = false;
        while self.pool.give_back(&mut self.rng) {}
        self.restart(now);
        for _ in 0..self.wanted(minute) {
            self.start_pod(false);
        }
    }

    /// ipamd begins anew in another release.
    pub(super) fn upgrade(&mut self, release: &'static Release, now: f64) {
        self.release = release;
        self.restart(now);
    }
}

/// Calls that bring an interface, with milliseconds beyond a call's usual.
const GROWTH: [(&str, u64); 5] = [
    ("CreateNetworkInterface", 300),
    ("AttachNetworkInterface", 600),
    ("ModifyNetworkInterfaceAttribute", 80),
    ("CreateTags", 120),
    ("DescribeNetworkInterfaces", 0),
];
/// Calls that give one back.
const SHRINKING: [&str; 2] = ["DetachNetworkInterface", "DeleteNetworkInterface"];

impl Process {
    fn new(number: u64, start: f64, rng: &mut Rng) -> Process {
        Process {
            number,
            // /proc counts in ticks of 10 ms.
            start: (start * 100.0).floor() / 100.0,
            counters: Counters { unrecovered: rng.below(20) / 19, ..Counters::default() },
            startup_seconds: rng.between(700, 13_000) as f64 / 1000.0,
            init_seconds: rng.between(40, 6_000) as f64 / 1000.0,
            with_api_server: !rng.per_mille(50),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(serial: u64) -> Node {
        Node::new(5, serial, Age::Old, 600, 1.8e9)
    }

    #[test]
    fn an_old_node_has_an_old_process_and_large_totals() {
        let node = node(1);
        assert!(node.process.start < 1.8e9 - 86_000.0);
        assert!(node.process.counters.adds > 100);
    }

    #[test]
    fn a_crowded_node_meets_its_ceiling_and_refuses() {
        let mut node = (0..).map(node).find(|n| n.pool.mode == Mode::Secondary).unwrap();
        node.crowded = true;
        let before = node.process.counters.refused;
        (600..1200).for_each(|minute| node.live(minute));
        assert_eq!((node.pool.total(), node.pool.free()), (node.ip_max(), 0));
        assert!(node.process.counters.refused > before);
    }

    #[test]
    fn a_crowded_node_with_prefixes_has_as_many_pods_as_its_kubelet_takes() {
        let mut node = (0..).map(node).find(|n| n.pool.mode == Mode::Prefix).unwrap();
        node.crowded = true;
        let before = node.process.counters.refused;
        (600..1200).for_each(|minute| node.live(minute));
        assert_eq!(Some(node.pool.assigned), node.pod_limit());
        assert!(node.pool.free() > 0 && node.pool.assigned < node.ip_max());
        assert_eq!(node.process.counters.refused, before);
    }

    #[test]
    fn a_full_subnet_shows_as_refusals_with_the_code_of_ec2() {
        let mut node = (0..).map(node).find(|n| n.pool.mode == Mode::Secondary).unwrap();
        (node.crowded, node.ec2) = (true, Ec2::Refuses(Fault::SubnetFull));
        (600..660).for_each(|minute| node.live(minute));
        let codes: Vec<_> = node.process.counters.api_errors.iter().map(|(k, _)| *k).collect();
        assert!(codes.contains(&("CreateNetworkInterface", "InsufficientFreeAddressesInSubnet")));
        assert!(node.process.counters.refused > 0);
    }

    #[test]
    fn a_restart_keeps_the_pods_and_forgets_the_counters() {
        let mut node = node(3);
        (600..700).for_each(|minute| node.live(minute));
        let pods = node.pool.assigned;
        node.restart(1.8e9 + 7.123);
        assert_eq!((node.pool.assigned, node.process.counters.adds), (pods, 0));
        assert_eq!(node.process.start, 1.8e9 + 7.12);
        assert_eq!(node.process.number, 2);
    }
}
