//! Query strings in, checked requests out. Never: a parameter that is ignored (a filter that is
//! mistyped would serve the whole page as if it were the part).

use crate::render::Narrow;
use axum::extract::Query;
use axum::http::Uri;
use std::fmt;

/// A parameter that is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct BadParam {
    /// As given.
    pub(crate) key: String,
    /// As given.
    pub(crate) value: String,
    /// In words.
    pub(crate) allowed: &'static str,
}

impl fmt::Display for BadParam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad {}={:?}; allowed: {}", self.key, self.value, self.allowed)
    }
}

impl BadParam {
    pub(crate) fn new(key: &str, value: &str, allowed: &'static str) -> BadParam {
        BadParam { key: key.to_owned(), value: value.to_owned(), allowed }
    }
}

/// The decoded pairs of a query, in order.
pub(crate) fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, BadParam> {
    let query = Query::try_from_uri(uri)
        .map_err(|_| BadParam::new("", uri.query().unwrap_or(""), "key=value pairs joined by &"))?;
    Ok(query.0)
}

/// What of the exposition is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ask {
    pub(crate) cluster: bool,
    pub(crate) node: bool,
    pub(crate) own: bool,
    pub(crate) narrow: Narrow,
}

impl Ask {
    /// Whether the prepared bodies will not do.
    pub(crate) fn is_narrowed(&self) -> bool {
        self.narrow != Narrow::default()
    }
}

const SCOPES: &str = "cluster, node or self";
const SHARD: &str = "once, as i/N with whole numbers and i below N, beginning at 0";
const OF_NODES: &str = "node alone, with the parameter node or shard";
const METRICS_KEYS: &str = "the parameters scope, shard, node and name[]";

/// Reads `?scope=` (repeatable), `?shard=i/N`, `?node=` and `?name[]=` (repeatable). Shard and node
/// imply the scope node, and go with no other: only there is something to narrow.
pub(crate) fn ask(uri: &Uri) -> Result<Ask, BadParam> {
    let mut ask = Ask::default();
    for (key, value) in pairs(uri)? {
        let bad = |allowed| Err(BadParam::new(&key, &value, allowed));
        match key.as_str() {
            "scope" => match value.as_str() {
                "cluster" => ask.cluster = true,
                "node" => ask.node = true,
                "self" => ask.own = true,
                _ => return bad(SCOPES),
            },
            "shard" => match read_shard(&value) {
                Some(shard) if ask.narrow.shard.is_none() => ask.narrow.shard = Some(shard),
                _ => return bad(SHARD),
            },
            "node" if ask.narrow.node.is_some() => return bad("one node"),
            "node" => ask.narrow.node = Some(value),
            "name[]" => ask.narrow.names.push(value),
            _ => return bad(METRICS_KEYS),
        }
    }
    if ask.narrow.shard.is_some() || ask.narrow.node.is_some() {
        let other = [(ask.cluster, "cluster"), (ask.own, "self")].into_iter().find(|(is, _)| *is);
        if let Some((_, scope)) = other {
            return Err(BadParam::new("scope", scope, OF_NODES));
        }
        ask.node = true;
    } else if !(ask.cluster || ask.node || ask.own) {
        (ask.cluster, ask.node, ask.own) = (true, true, true);
    }
    Ok(ask)
}

fn read_shard(text: &str) -> Option<(u32, u32)> {
    let (index, count) = text.split_once('/')?;
    let (index, count) = (number(index)?, number(count)?);
    (index < count).then_some((index, count))
}

/// Digits only: no sign, no blank.
pub(crate) fn number(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Ask, BadParam> {
        ask(&format!("/metrics?{query}").parse().unwrap())
    }

    fn scopes(query: &str) -> (bool, bool, bool) {
        let ask = read(query).unwrap();
        (ask.cluster, ask.node, ask.own)
    }

    #[test]
    fn without_a_scope_all_three_are_asked_for() {
        assert_eq!(scopes(""), (true, true, true));
        assert_eq!(scopes("name[]=x"), (true, true, true));
        assert!(!read("").unwrap().is_narrowed());
        assert!(!read("scope=self&scope=cluster").unwrap().is_narrowed());
    }

    #[test]
    fn scopes_repeat() {
        assert_eq!(scopes("scope=self"), (false, false, true));
        assert_eq!(scopes("scope=cluster&scope=node&scope=cluster"), (true, true, false));
    }

    #[test]
    fn shard_and_node_imply_the_node_scope() {
        assert_eq!(scopes("shard=0/2"), (false, true, false));
        assert_eq!(scopes("node=a&scope=node"), (false, true, false));
    }

    #[test]
    fn filters_are_decoded_and_kept_together() {
        let narrow = read("name%5B%5D=a%20b&node=ip-1&name[]=c&shard=3/4").unwrap().narrow;
        let names = vec!["a b".to_owned(), "c".to_owned()];
        assert_eq!(narrow, Narrow { node: Some("ip-1".to_owned()), names, shard: Some((3, 4)) });
    }

    #[test]
    fn what_is_not_ours_is_refused_with_key_value_and_what_is_allowed() {
        let bad = |key: &str, value: &str, allowed| Err(BadParam::new(key, value, allowed));
        assert_eq!(read("scope=nodes"), bad("scope", "nodes", SCOPES));
        assert_eq!(read("scope="), bad("scope", "", SCOPES));
        assert_eq!(read("name=x"), bad("name", "x", METRICS_KEYS));
        assert_eq!(read("scope=cluster&shard=0/2"), bad("scope", "cluster", OF_NODES));
        assert_eq!(read("node=a&scope=node&scope=self"), bad("scope", "self", OF_NODES));
        assert_eq!(read("node=a&node=b"), bad("node", "b", "one node"));
        for shard in ["", "1", "2/2", "0/0", "-1/2", "+0/2", "0/2/3", "a/b", "0/4294967296", "/"] {
            assert_eq!(read(&format!("shard={shard}")).unwrap_err().allowed, SHARD, "{shard}");
        }
        assert_eq!(read("shard=0/2&shard=1/2").unwrap_err().value, "1/2");
    }
}
