//! Why a node gets no more pod addresses. Comes in: what its page says of addresses, and when its error
//! counters rose last. Goes out: one reason, or none while it can grow as far as can be seen. Never: a
//! clock, a guess: where no error tells why, the reason is `unknown`.
//!
//! A node counts as blocked while its warm pool is empty for [`EMPTY_FOR`] or requests were refused within
//! [`REFUSED_FOR`]; besides while it has as many pods as the kubelet takes, however warm the pool: no pod will
//! use it.

use crate::catalog::{FAMILIES, SLOTS};
use crate::model::Growth;
use crate::total::Total;
use crate::view::Page;
use std::sync::LazyLock;

/// Seconds for which an error explains: ipamd tries again within one.
pub const RECENT: f64 = 600.0;

/// Seconds for which a refused request counts, some scrapes: with warm addresses again there is nothing wrong.
pub const REFUSED_FOR: f64 = 120.0;

/// Seconds for which a warm pool must be empty: ipamd fills it up within some.
pub const EMPTY_FOR: f64 = 60.0;

/// How calls begin that only read, or give addresses back: their errors do not keep a node from growing.
const OTHER_CALLS: [&str; 5] = ["Describe", "Get", "Unassign", "Detach", "Delete"];

/// Whether a counter of these labels (as [`crate::view::Series`] has them) can say why a node does not grow.
fn explains(labels: &str) -> bool {
    let call = labels.split(',').find_map(|label| label.strip_prefix("api=\""));
    !call.is_some_and(|call| OTHER_CALLS.iter().any(|other| call.starts_with(other)))
}

/// What a rising counter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// A request for an address was refused.
    Refused,
    /// EC2 has no free address in the subnet.
    Subnet,
    /// A call lacked a right, or its credentials were not accepted.
    Denied,
    /// Too many calls.
    Throttled,
    /// The instance has as much as it can.
    Limit,
    /// Another error of an AWS call.
    Api,
}

const SIGNS: usize = 6;

const SUBNET: [&str; 2] = ["InsufficientCidrBlocks", "InsufficientFreeAddressesInSubnet"];
const LIMIT: [&str; 4] = [
    "AttachmentLimitExceeded",
    "MaxNetworkInterfacesExceeded",
    "MaxNetworkInterfacesReached",
    "PrivateIpAddressLimitExceeded",
];
const DENIED: [&str; 15] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "Blocked",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidIdentityToken",
    "MissingAuthenticationToken",
    "NoCredentialProviders",
    "OperationNotPermitted",
    "SignatureDoesNotMatch",
    "UnauthorizedOperation",
    "UnrecognizedClientException",
];
const THROTTLED: [&str; 10] = [
    "Client.RequestLimitExceeded",
    "EC2ThrottledException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

fn of_code(code: &str) -> Sign {
    [
        (&SUBNET[..], Sign::Subnet),
        (&LIMIT[..], Sign::Limit),
        (&DENIED[..], Sign::Denied),
        (&THROTTLED[..], Sign::Throttled),
    ]
    .into_iter()
    .find(|(codes, _)| codes.contains(&code))
    .map_or(Sign::Api, |(_, sign)| sign)
}

/// By the slot of a cluster counter: what it says when it rises.
static OF_SLOT: LazyLock<Vec<Option<Sign>>> = LazyLock::new(|| {
    let mut signs = vec![None; SLOTS.counters()];
    for (index, family) in (0u16..).zip(FAMILIES) {
        for (labels, slot) in SLOTS.children(index) {
            signs[usize::from(slot)] = match family.name {
                "awscni_no_available_ip_addresses" => Some(Sign::Refused),
                "awscni_aws_api_error_count" => labels.first().map(|code| of_code(code)),
                _ => continue,
            };
        }
    }
    signs
});

/// What is remembered of a node: by its exporter's uptime in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// When a counter rose last that says so, by [`Sign`].
    rose: [f64; SIGNS],
    /// Since when the warm pool is empty.
    empty_since: Option<f64>,
    /// Whether the node was at its ceiling when requests were refused last: pods may have left since.
    refused_at_ceiling: bool,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory { rose: [f64::NEG_INFINITY; SIGNS], empty_since: None, refused_at_ceiling: false }
    }
}

impl Memory {
    /// The cluster counter of this slot rose on the node. `labels` are those of the row, and asked for where
    /// the slot says something: most counters do not.
    pub fn rose<'a>(&mut self, slot: u16, labels: impl FnOnce() -> &'a str, uptime: f64) {
        if let Some(sign) = OF_SLOT.get(usize::from(slot)).copied().flatten()
            && explains(labels())
        {
            self.rose[sign as usize] = uptime;
        }
    }

    /// The node's newest page; what rose with it is told already.
    pub fn saw(&mut self, page: &Page, uptime: f64) {
        let is_empty = matches!((page.assigned(), page.total()), (Some(assigned), Some(total))
            if Total::takes(assigned) && Total::takes(total) && assigned >= total);
        self.empty_since = is_empty.then(|| self.empty_since.unwrap_or(uptime));
        if self.rose[Sign::Refused as usize] >= uptime {
            self.refused_at_ceiling = at_ceiling(page);
        }
    }

    /// Why the node cannot grow, if it cannot, at this uptime. `page` is what stands of it, `pod_limit`
    /// its target's. Where ipamd's ceiling is as low as the pod limit, it is the reason: to raise the
    /// limit alone would not help.
    pub fn blocked(&self, page: &Page, pod_limit: Option<u32>, uptime: f64) -> Option<Growth> {
        let takes_no_more = |limit: f64| {
            page.assigned().is_some_and(|assigned| assigned.is_finite() && assigned >= limit)
                && page.max().is_none_or(|max| limit < max || max <= 0.0)
        };
        if pod_limit.map(f64::from).is_some_and(takes_no_more) {
            return Some(Growth::MaxPods);
        }
        let recently = |sign: Sign| uptime - self.rose[sign as usize] <= RECENT;
        let is_empty = self.empty_since.is_some_and(|since| uptime - since >= EMPTY_FOR);
        let is_refused = uptime - self.rose[Sign::Refused as usize] <= REFUSED_FOR;
        if !is_empty && !is_refused {
            return None;
        }
        if at_ceiling(page) || is_refused && self.refused_at_ceiling {
            return Some(Growth::Ceiling);
        }
        // Of several the newest: an earlier trouble may be over. Of those that rose together the first.
        let newest = [
            (Sign::Api, Growth::Api),
            (Sign::Limit, Growth::Ceiling),
            (Sign::Throttled, Growth::Throttled),
            (Sign::Denied, Growth::Denied),
            (Sign::Subnet, Growth::Subnet),
        ]
        .into_iter()
        .filter(|(sign, _)| recently(*sign))
        .max_by(|(a, _), (b, _)| self.rose[*a as usize].total_cmp(&self.rose[*b as usize]));
        Some(newest.map_or(Growth::Unknown, |(_, reason)| reason))
    }
}

/// Whether the instance has as many addresses as it can, whoever uses them.
fn at_ceiling(page: &Page) -> bool {
    let Some(max) = page.max().filter(|max| *max > 0.0) else { return false };
    [page.assigned(), page.total()].into_iter().flatten().any(|addresses| addresses >= max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::closed::AWS_ERRORS;
    use crate::view::{Layout, Roles};
    use std::sync::Arc;

    fn page(assigned: f64, total: f64, max: f64) -> Page {
        let roles = Roles { address_rows: [Some(0), Some(1), Some(2)], ..Roles::default() };
        let layout = Layout { roles: Arc::new(roles), ..Layout::default() };
        Page { layout: Arc::new(layout), values: [assigned, total, max].into() }
    }

    fn slot(family: &str, label: &str) -> u16 {
        let index = FAMILIES.iter().position(|f| f.name == family).unwrap() as u16;
        let mut children = SLOTS.children(index);
        children.find(|(l, _)| label.is_empty() || l.first() == Some(&label)).unwrap().1
    }

    /// The reason at 1,000 s, with an empty pool or not, and codes that rose at these times.
    fn reason(
        page: &Page,
        limit: Option<u32>,
        empty: bool,
        rose: &[(&str, f64)],
    ) -> Option<Growth> {
        let mut memory = Memory { empty_since: empty.then_some(900.0), ..Memory::default() };
        for (code, at) in rose {
            let slot = match *code {
                "refused" => slot("awscni_no_available_ip_addresses", ""),
                code => slot("awscni_aws_api_error_count", code),
            };
            memory.rose(slot, || "", *at);
        }
        memory.blocked(page, limit, 1000.0)
    }

    #[test]
    fn the_decision_table() {
        use Growth::{Api, Ceiling, Denied, Subnet, Throttled, Unknown};
        let (room, full) = (page(10.0, 10.0, 30.0), page(30.0, 30.0, 30.0));
        let subnet = ("InsufficientFreeAddressesInSubnet", 990.0);
        let denied = ("UnauthorizedOperation", 990.0);
        let throttled = ("RequestLimitExceeded", 990.0);
        for (page, empty, rose, expected) in [
            (&room, false, &[][..], None),
            (&room, false, &[subnet][..], None),
            (&room, true, &[], Some(Unknown)),
            (&full, true, &[subnet], Some(Ceiling)),
            (&room, true, &[subnet], Some(Subnet)),
            (&room, true, &[throttled, denied, subnet], Some(Subnet)),
            (&room, true, &[throttled, denied], Some(Denied)),
            (&room, true, &[throttled, ("UnauthorizedOperation", 989.0)], Some(Throttled)),
            (&room, true, &[subnet, ("InternalError", 991.0)], Some(Api)),
            (&room, true, &[throttled, ("InternalError", 990.0)], Some(Throttled)),
            (&room, true, &[("PrivateIpAddressLimitExceeded", 990.0)], Some(Ceiling)),
            (&room, true, &[("InternalError", 990.0)], Some(Api)),
            (&room, true, &[("other", 990.0)], Some(Api)),
            (&room, true, &[("InsufficientFreeAddressesInSubnet", 399.0)], Some(Unknown)),
            (&room, false, &[("refused", 990.0), subnet], Some(Subnet)),
            (&room, false, &[("refused", 990.0)], Some(Unknown)),
            (&room, false, &[("refused", 879.0), subnet], None),
            (&room, false, &[("refused", 880.0), subnet], Some(Subnet)),
            (&room, true, &[("refused", 399.0), subnet], Some(Subnet)),
        ] {
            assert_eq!(reason(page, None, empty, rose), expected, "{empty} {rose:?}");
        }
    }

    #[test]
    fn the_kubelets_limit_is_the_reason_where_it_lies_below_the_ceiling() {
        let (warm, nan) = (page(20.0, 25.0, 30.0), page(f64::NAN, 25.0, 30.0));
        let full = page(30.0, 30.0, 30.0);
        let subnet = ("InsufficientFreeAddressesInSubnet", 990.0);
        for (page, limit, empty, rose, expected) in [
            (&warm, Some(20), false, &[][..], Some(Growth::MaxPods)),
            (&warm, Some(19), true, &[subnet], Some(Growth::MaxPods)),
            (&warm, Some(21), false, &[], None),
            (&warm, Some(21), true, &[subnet], Some(Growth::Subnet)),
            (&warm, Some(0), false, &[], Some(Growth::MaxPods)),
            (&full, Some(30), true, &[], Some(Growth::Ceiling)),
            (&full, Some(30), false, &[], None),
            (&full, Some(29), true, &[], Some(Growth::MaxPods)),
            (&nan, Some(20), false, &[], None),
        ] {
            let told = reason(page, limit, empty, rose);
            assert_eq!(told, expected, "{:?} {limit:?} {empty} {rose:?}", page.values);
        }
    }

    #[test]
    fn a_refusal_at_the_ceiling_stays_one_when_pods_have_left() {
        let (full, left) = (page(30.0, 30.0, 30.0), page(20.0, 30.0, 30.0));
        let mut memory = Memory::default();
        let refused = |memory: &mut Memory, uptime| {
            memory.rose(slot("awscni_no_available_ip_addresses", ""), || "", uptime);
        };
        refused(&mut memory, 100.0);
        memory.saw(&full, 100.0);
        memory.saw(&left, 130.0);
        assert_eq!(memory.blocked(&left, None, 130.0), Some(Growth::Ceiling));
        assert_eq!(memory.blocked(&left, None, 100.0 + REFUSED_FOR + 1.0), None);
        // Interfaces that nobody uses are given back.
        let shrunk = page(10.0, 20.0, 30.0);
        memory.saw(&shrunk, 150.0);
        assert_eq!(memory.blocked(&shrunk, None, 150.0), Some(Growth::Ceiling));
        refused(&mut memory, 160.0);
        let room = page(20.0, 25.0, 30.0);
        memory.saw(&room, 160.0);
        assert_eq!(memory.blocked(&room, None, 160.0), Some(Growth::Unknown));
        // What is attached decides, not who uses it.
        memory.saw(&left, 161.0);
        assert_eq!(memory.blocked(&left, None, 161.0), Some(Growth::Ceiling));
    }

    #[test]
    fn the_labels_of_a_row_decide_whether_its_rise_counts() {
        let code = slot("awscni_aws_api_error_count", "RequestLimitExceeded");
        let empty = page(10.0, 10.0, 30.0);
        for (labels, expected) in [
            (r#"api="DescribeNetworkInterfaces",error="RequestLimitExceeded""#, Growth::Unknown),
            (r#"api="CreateNetworkInterface",error="RequestLimitExceeded""#, Growth::Throttled),
        ] {
            let mut memory = Memory { empty_since: Some(900.0), ..Memory::default() };
            memory.rose(code, || labels, 990.0);
            assert_eq!(memory.blocked(&empty, None, 1000.0), Some(expected), "{labels}");
        }
    }

    #[test]
    fn calls_that_get_no_addresses_explain_nothing() {
        for (labels, expected) in [
            (r#"api="CreateNetworkInterface",error="RequestLimitExceeded""#, true),
            (r#"api="AssignPrivateIpAddresses",error="x""#, true),
            (r#"api="DescribeNetworkInterfaces",error="RequestLimitExceeded""#, false),
            (r#"api="UnassignPrivateIpAddresses",error="x""#, false),
            (r#"error="api=\"Describe""#, true),
            ("", true),
        ] {
            assert_eq!(explains(labels), expected, "{labels}");
        }
    }

    #[test]
    fn a_pool_is_empty_from_the_first_page_that_says_so_on() {
        let mut memory = Memory::default();
        let (empty, warm) = (page(10.0, 10.0, 30.0), page(9.0, 10.0, 30.0));
        for (page, uptime, expected) in [
            (&empty, 100.0, None),
            (&empty, 130.0, None),
            (&empty, 160.0, Some(Growth::Unknown)),
            (&warm, 190.0, None),
            (&empty, 220.0, None),
            (&empty, 280.0, Some(Growth::Unknown)),
            (&page(f64::NAN, 10.0, 30.0), 310.0, None),
        ] {
            memory.saw(page, uptime);
            assert_eq!(memory.blocked(page, None, uptime), expected, "at {uptime}");
        }
    }

    #[test]
    fn every_code_that_is_named_is_one_of_the_catalogue() {
        for code in SUBNET.iter().chain(&LIMIT).chain(&DENIED).chain(&THROTTLED) {
            assert!(AWS_ERRORS.contains(code), "{code}");
        }
    }
}
