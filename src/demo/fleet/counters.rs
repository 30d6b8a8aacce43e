//! What one ipamd process has counted. Comes in: calls, requests, errors, one at a time or many.
//! Goes out: sorted label vectors, in which a child exists from its first use on, as in client_golang.
//! Never: a number that falls.

use super::release::Release;
use super::rng::Rng;

/// Free-text series one process may gather; ipamd has no cap, our memory needs one.
const TEXTS: usize = 200;

/// A label vector: children in the order in which client_golang prints them.
#[derive(Debug, Clone)]
pub(super) struct Vector<K>(Vec<(K, u64)>);

impl<K> Default for Vector<K> {
    fn default() -> Self {
        Vector(Vec::new())
    }
}

impl<K: Ord> Vector<K> {
    /// Adds to a child; it comes into being with that, even with 0.
    pub(super) fn add(&mut self, key: K, count: u64) {
        match self.0.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(at) => self.0[at].1 += count,
            Err(at) => self.0.insert(at, (key, count)),
        }
    }

    /// Children in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, u64)> {
        self.0.iter().map(|(key, count)| (key, *count))
    }

    /// Whether the vector prints nothing at all.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why EC2 refuses a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The subnet has no free address.
    SubnetFull,
    /// The subnet has no free /28.
    NoCidrBlock,
    /// Too many calls in the account.
    Throttled,
    /// The node's role may not do it.
    Denied,
    /// The interface is in use.
    InUse,
    /// A code that no catalogue knows.
    Novel,
}

impl Fault {
    /// The AWS error code.
    pub(super) fn code(self) -> &'static str {
        match self {
            Fault::SubnetFull => "InsufficientFreeAddressesInSubnet",
            Fault::NoCidrBlock => "InsufficientCidrBlocks",
            Fault::Throttled => "RequestLimitExceeded",
            Fault::Denied => "UnauthorizedOperation",
            Fault::InUse => "InvalidParameterValue",
            Fault::Novel => "FleetNovelFault",
        }
    }

    fn http_status(self) -> &'static str {
        match self {
            Fault::Throttled => "503",
            Fault::Denied => "403",
            _ => "400",
        }
    }
}

/// Sum and count of one latency series.
#[derive(Debug, Clone)]
pub(super) struct Latency {
    pub(super) api: &'static str,
    pub(super) failed: bool,
    pub(super) status: &'static str,
    pub(super) sum_ms: u64,
    pub(super) count: u64,
}

/// All counters of one process.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters {
    pub(super) adds: u64,
    pub(super) refused: u64,
    pub(super) forced_enis: u64,
    pub(super) forced_ips: u64,
    pub(super) unrecovered: u64,
    pub(super) connmark_errors: u64,
    pub(super) connmark_successes: u64,
    pub(super) dels: Vector<&'static str>,
    pub(super) api_errors: Vector<(&'static str, &'static str)>,
    pub(super) utils: Vector<(&'static str, String)>,
    pub(super) ec2_calls: Vector<&'static str>,
    pub(super) ec2_errors: Vector<&'static str>,
    pub(super) ipamd_errors: Vector<&'static str>,
    pub(super) pod_eni_errors: Vector<&'static str>,
    pub(super) reconciled: Vector<&'static str>,
    pub(super) future: Vector<&'static str>,
    /// Sorted as printed.
    pub(super) latency: Vec<Latency>,
    pub(super) texts: usize,
}

impl Counters {
    /// EC2 calls that succeeded.
    pub(super) fn calls(&mut self, api: &'static str, times: u64, ms_each: u64) {
        self.ec2_calls.add(api, times);
        self.took(api, false, "200", times, ms_each);
    }

    /// An EC2 call that failed.
    pub(super) fn failed_call(
        &mut self,
        release: &Release,
        api: &'static str,
        fault: Fault,
        ms: u64,
    ) {
        self.ec2_calls.add(api, 1);
        self.ec2_errors.add(api, 1);
        self.api_errors.add((api, fault.code()), 1);
        let status = if release.sdk_v2 { fault.code() } else { fault.http_status() };
        self.took(api, true, status, 1, ms);
    }

    /// Time spent in calls, EC2's or instance metadata's.
    pub(super) fn took(
        &mut self,
        api: &'static str,
        failed: bool,
        status: &'static str,
        times: u64,
        ms_each: u64,
    ) {
        let key = (api, failed, status);
        match self.latency.binary_search_by(|l| (l.api, l.failed, l.status).cmp(&key)) {
            Ok(at) => {
                self.latency[at].sum_ms += ms_each * times;
                self.latency[at].count += times;
            }
            Err(at) => self
                .latency
                .insert(at, Latency { api, failed, status, sum_ms: ms_each * times, count: times }),
        }
    }

    /// An error in a helper function, with its free text: a series of its own nearly every time.
    pub(super) fn helper_failed(
        &mut self,
        release: &Release,
        function: &'static str,
        call: &str,
        fault: Fault,
        eni: &str,
        rng: &mut Rng,
    ) {
        self.texts = (self.texts + 1).min(TEXTS);
        if self.texts == TEXTS {
            return self.utils.add((function, "unable to delete ENI, giving up".to_owned()), 1);
        }
        self.utils.add((function, error_text(release, call, fault, eni, rng)), 1);
    }
}

/// An error as the AWS SDK for Go words it, in our own words where it quotes EC2.
fn error_text(release: &Release, call: &str, fault: Fault, eni: &str, rng: &mut Rng) -> String {
    let (a, b) = (rng.next(), rng.next());
    let request = format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xffff,
        b >> 48,
        b & 0xffff_ffff_ffff
    );
    let message = match fault {
        Fault::InUse => format!("Interface '{eni}' is still in use."),
        Fault::Denied => {
            // EC2 appends the encoded reason: longer than any sane limit for a label value.
            let encoded: String = (0..72).map(|_| format!("{:016x}", rng.next())).collect();
            format!("Not allowed to do this. Encoded authorization failure message: {encoded}")
        }
        _ => "Try again \"later\".".to_owned(),
    };
    let code = fault.code();
    let status = fault.http_status();
    if release.sdk_v2 {
        format!(
            "unable to delete ENI: operation error EC2: {call}, https response error StatusCode: {status}, RequestID: {request}, api error {code}: {message}"
        )
    } else {
        format!(
            "unable to delete ENI: {code}: {message}\n\tstatus code: {status}, request id: {request}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::release::{CURRENT, RELEASES};
    use super::*;

    #[test]
    fn a_child_exists_from_its_first_use_and_children_are_sorted() {
        let mut vector = Vector::default();
        vector.add("b", 1);
        vector.add("a", 0);
        vector.add("b", 2);
        assert_eq!(vector.iter().collect::<Vec<_>>(), [(&"a", 0), (&"b", 3)]);
    }

    #[test]
    fn a_failed_call_is_counted_as_call_error_code_and_time() {
        let mut counters = Counters::default();
        let release = &RELEASES[CURRENT];
        counters.failed_call(release, "CreateNetworkInterface", Fault::Throttled, 30);
        assert_eq!(counters.ec2_calls.iter().next(), Some((&"CreateNetworkInterface", 1)));
        assert_eq!(counters.ec2_errors.iter().next(), Some((&"CreateNetworkInterface", 1)));
        assert_eq!(
            counters.api_errors.iter().next(),
            Some((&("CreateNetworkInterface", "RequestLimitExceeded"), 1))
        );
        let latency = &counters.latency[0];
        assert_eq!((latency.status, latency.sum_ms), ("RequestLimitExceeded", 30));
    }

    #[test]
    fn free_texts_are_a_series_each_and_end_at_the_cap() {
        let mut counters = Counters::default();
        let mut rng = Rng::new(1);
        for _ in 0..TEXTS + 50 {
            let release = &RELEASES[0];
            counters.helper_failed(
                release,
                "AllocENIDeleteErr",
                "x",
                Fault::InUse,
                "eni-0",
                &mut rng,
            );
        }
        assert_eq!(counters.utils.iter().count(), TEXTS);
        assert_eq!(counters.utils.iter().map(|(_, n)| n).sum::<u64>(), TEXTS as u64 + 50);
    }
}
