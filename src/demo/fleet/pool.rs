//! One node's addresses: interfaces, secondary addresses or prefixes, and the rows of
//! awscni_assigned_ip_per_cidr, which are never deleted while the process lives. Comes in: pods that
//! come and go, interfaces attached and detached. Goes out: counts. Never: a row that two interfaces own.

use super::rng::{Rng, mix};

/// How a node gets pod addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// One secondary IPv4 address each.
    Secondary,
    /// /28 prefixes.
    Prefix,
    /// One /80 prefix.
    Ipv6,
}

impl Mode {
    /// For people and JSON.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Mode::Secondary => "secondary",
            Mode::Prefix => "prefix",
            Mode::Ipv6 => "ipv6",
        }
    }
}

/// Addresses in a /28.
pub(super) const PREFIX: u64 = 16;
/// Addresses in a /80, as ipamd counts them.
const IPV6_PREFIX: u64 = 1 << 48;

/// One address or prefix.
#[derive(Debug, Clone)]
pub(super) struct Cidr {
    /// The label value.
    pub(super) text: String,
    /// Pods in it.
    pub(super) used: u64,
    /// Printed: it has been used in this process's life.
    pub(super) seen: bool,
    /// `None`: its interface is gone, its row stays.
    eni: Option<u32>,
}

/// One interface.
#[derive(Debug, Clone)]
pub(super) struct Eni {
    /// As EC2 names it.
    pub(super) id: String,
    /// Pods on it.
    pub(super) used: u64,
    number: u32,
}

/// The pool of a node.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    pub(super) mode: Mode,
    /// Sorted by text, as client_golang prints them.
    pub(super) cidrs: Vec<Cidr>,
    /// In order of attachment.
    pub(super) enis: Vec<Eni>,
    /// Pods with an address.
    pub(super) assigned: u64,
    /// Addresses or prefixes attached.
    attached: u64,
    seed: u64,
    next: u32,
}

impl Pool {
    /// An empty pool; `seed` names its interfaces and addresses.
    pub(super) fn new(mode: Mode, seed: u64) -> Pool {
        Pool { mode, cidrs: Vec::new(), enis: Vec::new(), assigned: 0, attached: 0, seed, next: 0 }
    }

    /// Addresses attached, used or warm.
    pub(super) fn total(&self) -> u64 {
        self.attached * self.size()
    }

    /// /28 prefixes attached.
    pub(super) fn prefixes(&self) -> u64 {
        if self.mode == Mode::Prefix { self.attached } else { 0 }
    }

    /// Addresses that no pod has.
    pub(super) fn free(&self) -> u64 {
        self.total().saturating_sub(self.assigned)
    }

    fn size(&self) -> u64 {
        match self.mode {
            Mode::Secondary => 1,
            Mode::Prefix => PREFIX,
            Mode::Ipv6 => IPV6_PREFIX,
        }
    }

    /// Attaches an interface with `count` addresses or prefixes.
    pub(super) fn attach(&mut self, count: u64) {
        let number = self.next;
        self.next += 1;
        let id = format!("eni-0{:016x}", mix(self.seed ^ (u64::from(number) << 32)));
        self.enis.push(Eni { id, used: 0, number });
        self.add_cidrs(number, count);
    }

    /// Adds a prefix to the first interface with fewer than `most`; false when there is none.
    pub(super) fn add_prefix(&mut self, most: u64) -> bool {
        let of = |number: u32| self.cidrs.iter().filter(|c| c.eni == Some(number)).count() as u64;
        let Some(number) = self.enis.iter().map(|e| e.number).find(|n| of(*n) < most) else {
            return false;
        };
        self.add_cidrs(number, 1);
        true
    }

    fn add_cidrs(&mut self, eni: u32, count: u64) {
        for _ in 0..count {
            let number = self.next;
            self.next += 1;
            let text = self.text(number);
            let at = self.cidrs.partition_point(|c| c.text < text);
            self.cidrs.insert(at, Cidr { text, used: 0, seen: false, eni: Some(eni) });
        }
        self.attached += count;
    }

    /// Odd factors walk through a power of two without meeting a value twice: texts are unique.
    fn text(&self, number: u32) -> String {
        let place = u64::from(number).wrapping_mul(0x9e37_79b1).wrapping_add(self.seed);
        let [.., a, b, c] = place.to_be_bytes();
        match self.mode {
            Mode::Secondary => format!("10.{a}.{b}.{c}/32"),
            Mode::Prefix => {
                let [.., a, b, c] = (place << 4).to_be_bytes();
                format!("10.{a}.{b}.{c}/28")
            }
            Mode::Ipv6 => format!("2600:1f14:{a:x}{b:02x}:{c:x}00:{:x}::/80", number + 1),
        }
    }

    /// Detaches an interface that no pod uses, never the first; its id, if there was one.
    pub(super) fn detach_unused(&mut self) -> Option<String> {
        let at = self.enis.iter().skip(1).position(|eni| eni.used == 0)? + 1;
        let eni = self.enis.remove(at);
        let before = self.attached;
        self.cidrs.retain_mut(|cidr| {
            if cidr.eni == Some(eni.number) {
                cidr.eni = None;
                self.attached -= 1;
            }
            cidr.eni.is_some() || cidr.seen
        });
        debug_assert!(self.attached <= before);
        Some(eni.id)
    }

    /// Gives a pod an address; false when none is free.
    pub(super) fn take(&mut self, rng: &mut Rng) -> bool {
        let size = self.size();
        let len = self.cidrs.len();
        // Secondary addresses rest after use, so ipamd goes round; prefixes are filled up.
        let from = if self.mode == Mode::Secondary { rng.index(len) } else { 0 };
        let free = |cidr: &Cidr| cidr.eni.is_some() && cidr.used < size;
        let Some(at) = (0..len).map(|i| (from + i) % len).find(|i| free(&self.cidrs[*i])) else {
            return false;
        };
        let cidr = &mut self.cidrs[at];
        cidr.used += 1;
        cidr.seen = true;
        self.assigned += 1;
        let eni = cidr.eni;
        self.count_on(eni, true);
        true
    }

    /// Takes a pod's address back; false when there is no pod.
    pub(super) fn give_back(&mut self, rng: &mut Rng) -> bool {
        let len = self.cidrs.len();
        let from = rng.index(len);
        let Some(at) = (0..len).map(|i| (from + i) % len).find(|i| self.cidrs[*i].used > 0) else {
            return false;
        };
        self.cidrs[at].used -= 1;
        self.assigned -= 1;
        let eni = self.cidrs[at].eni;
        self.count_on(eni, false);
        true
    }

    fn count_on(&mut self, number: Option<u32>, up: bool) {
        if let Some(eni) = self.enis.iter_mut().find(|eni| Some(eni.number) == number) {
            eni.used = if up { eni.used + 1 } else { eni.used.saturating_sub(1) };
        }
    }

    /// A new process recovers what is in use and forgets every other row.
    pub(super) fn recover(&mut self) {
        self.cidrs.retain_mut(|cidr| {
            cidr.seen = cidr.used > 0;
            cidr.eni.is_some()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_outlive_their_interface_until_the_process_restarts() {
        let mut pool = Pool::new(Mode::Secondary, 1);
        let mut rng = Rng::new(1);
        pool.attach(2);
        pool.attach(2);
        while pool.take(&mut rng) {}
        assert_eq!((pool.assigned, pool.total()), (4, 4));
        while pool.give_back(&mut rng) {}
        assert!(pool.detach_unused().is_some());
        assert_eq!((pool.total(), pool.cidrs.iter().filter(|c| c.seen).count()), (2, 4));
        assert_eq!(pool.detach_unused(), None, "the first interface stays");
        pool.recover();
        assert_eq!(pool.cidrs.iter().filter(|c| c.seen).count(), 0);
    }

    #[test]
    fn prefixes_hold_sixteen_and_fill_interfaces_in_turn() {
        let mut pool = Pool::new(Mode::Prefix, 1);
        pool.attach(1);
        assert!(pool.add_prefix(2));
        assert!(!pool.add_prefix(2));
        assert_eq!((pool.total(), pool.prefixes()), (32, 2));
    }

    #[test]
    fn an_ipv6_prefix_counts_two_to_the_48() {
        let mut pool = Pool::new(Mode::Ipv6, 1);
        pool.attach(1);
        assert_eq!((pool.total(), pool.prefixes()), (281_474_976_710_656, 0));
    }

    #[test]
    fn texts_are_unique_and_sorted() {
        for mode in [Mode::Secondary, Mode::Prefix] {
            let mut pool = Pool::new(mode, 9);
            pool.attach(700);
            assert!(pool.cidrs.windows(2).all(|w| w[0].text < w[1].text));
        }
    }
}
