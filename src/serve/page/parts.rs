//! What all pages share: the frame, numbers and times as people read them, bars. Comes in: values. Goes out:
//! HTML. Never: an address that begins at the root (a proxy may stand before us), a style or a script within
//! the page (the policy forbids both).

use super::ask::page_of;
use crate::view::NodeView;
use maud::{DOCTYPE, Markup, html};
use std::borrow::Cow;

/// Characters of a text in a table.
pub(super) const CELL: usize = 64;

/// Seconds between two refreshes by the script: a view is made as often.
const REFRESH: u32 = 5;

/// A page. `root` leads to `/`, relative to the page's own address.
pub(super) fn frame(root: &str, title: &str, top: &Markup, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (clip(title, CELL)) " · vpc-cni-exporter" }
                link rel="icon" type="image/svg+xml" href={ (root) "static/icon.svg" };
                link rel="stylesheet" href={ (root) "static/status.css" };
                script src={ (root) "static/status.js" } defer {}
            }
            body data-refresh=(REFRESH) {
                a.skip href="#main" { "Skip to the content" }
                header.top { (top) }
                main #main tabindex="-1" { (main) }
            }
        }
    }
}

/// What the script shows: whether the page is as new as can be. Without it, nothing.
pub(super) fn clock() -> Markup {
    html! {
        div.clock {
            span #clock {}
            span #news.hidden role="status" {}
            button #pause type="button" hidden aria-pressed="false" { "Pause" }
        }
    }
}

/// What every page begins with: the way to `/`, and what it is about.
pub(super) fn heading(home: &str, title: &str) -> Markup {
    html! {
        p.brand { a href=(home) { "vpc-cni-exporter" } }
        h1 { (title) }
    }
}

/// A path of ours, relative to `/`.
pub(super) fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}

/// A link from `/` to a node's page, where it can have one.
pub(super) fn node_link(node: &str) -> Markup {
    html! {
        @match page_of(node) {
            Some(page) => a href=(page) { (clip(node, CELL)) },
            None => (clip(node, CELL)),
        }
    }
}

/// Where a node is scraped, or why it cannot be.
pub(super) fn address(node: &NodeView) -> String {
    match &node.target.idle {
        Some(idle) => idle.reason().to_owned(),
        None => node.target.address(),
    }
}

/// A text cut to so many characters.
pub(super) fn clip(text: &str, characters: usize) -> Cow<'_, str> {
    match text.char_indices().nth(characters) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()).into(),
        None => text.into(),
    }
}

/// A number with its thousands apart; one that is too large for that in powers of ten.
pub(super) fn number(value: f64) -> String {
    /// An IPv6 prefix alone has 2^48 addresses.
    const LARGE: f64 = 1e12;
    if !value.is_finite() {
        return if value.is_nan() { "NaN".to_owned() } else { format!("{value}") };
    }
    if value.abs() >= LARGE {
        return format!("{value:.1e}");
    }
    let text = if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => ("−", rest),
        None => ("", text.as_str()),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut out = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// A count with its thousands apart.
pub(super) fn count(value: usize) -> String {
    number(value as f64)
}

/// A number that may not be known.
pub(super) fn maybe(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), number)
}

/// "1 node", "2 nodes".
pub(super) fn nodes(count_of: usize) -> String {
    if count_of == 1 { "1 node".to_owned() } else { format!("{} nodes", count(count_of)) }
}

/// A share in percent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// Seconds as a person says them.
pub(super) fn seconds(value: f64) -> String {
    match value {
        _ if !value.is_finite() => "unknown".to_owned(),
        _ if value < 0.0005 => "under 1 ms".to_owned(),
        _ if value < 1.0 => format!("{:.0} ms", value * 1000.0),
        _ if value < 10.0 => format!("{value:.1} s"),
        _ if value < 120.0 => format!("{value:.0} s"),
        _ if value < 7200.0 => format!("{:.0} min", value / 60.0),
        _ if value < 172_800.0 => format!("{:.0} h", value / 3600.0),
        _ => format!("{:.0} days", value / 86_400.0),
    }
}

/// How long ago a moment was, both in seconds since 1970.
pub(super) fn ago(now: f64, then: Option<f64>) -> String {
    match then {
        // Whole seconds: a node's page would change with each of them.
        Some(then) if now - then < 10.0 => format!("{:.0} s ago", (now - then).max(0.0)),
        Some(then) => format!("{} ago", seconds(now - then)),
        None => "never".to_owned(),
    }
}

/// The end of a sentence that may have one already.
pub(super) fn stop(text: &str) -> &'static str {
    if text.ends_with(['?', '.', '!']) { "" } else { "." }
}

/// The beginning of a sentence.
pub(super) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Bytes as a person says them.
pub(super) fn bytes(value: u64) -> String {
    let value = value as f64;
    match value {
        _ if value < 1e3 => format!("{value:.0} B"),
        _ if value < 1e6 => format!("{:.1} kB", value / 1e3),
        _ => format!("{:.1} MB", value / 1e6),
    }
}

/// Parts of a whole, side by side; what is over it is cut off. Each has a class of the style sheet.
pub(super) fn bar(parts: &[(&str, f64)], whole: f64) -> Markup {
    let mut left = 0.0;
    let rects: Vec<(&str, f64, f64)> = parts
        .iter()
        .filter_map(|(class, value)| {
            let width = (value / whole * 100.0).clamp(0.0, 100.0 - left);
            let at = left;
            left += if width.is_nan() { 0.0 } else { width };
            (width > 0.0).then_some((*class, at, width))
        })
        .collect();
    html! {
        svg.bar viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            @for (class, at, width) in rects {
                rect class=(class) x=(format!("{at:.2}")) width=(format!("{width:.2}")) height="8" {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_people_read_them() {
        let told =
            [0.0, 999.0, 1000.0, 1_234_567.0, -1234.5, 2.5, f64::NAN, f64::NEG_INFINITY, 2.8e14];
        let expected =
            ["0", "999", "1,000", "1,234,567", "−1,234.500", "2.500", "NaN", "-inf", "2.8e14"];
        assert_eq!(told.map(number), expected);
        assert_eq!((nodes(1), nodes(12_345)), ("1 node".to_owned(), "12,345 nodes".to_owned()));
        assert_eq!(maybe(None), "–");
    }

    #[test]
    fn times_and_sizes_are_as_people_read_them() {
        let told = [0.0, 0.0123, 1.25, 59.6, 150.0, 7200.0, 1e6, f64::NAN].map(seconds);
        assert_eq!(
            told,
            ["under 1 ms", "12 ms", "1.2 s", "60 s", "2 min", "2 h", "12 days", "unknown"]
        );
        assert_eq!(ago(100.0, Some(58.4)), "42 s ago");
        assert_eq!(ago(100.0, Some(101.0)), "0 s ago");
        assert_eq!(ago(100.0, None), "never");
        assert_eq!([7, 1500, 2_500_000].map(bytes), ["7 B", "1.5 kB", "2.5 MB"]);
        assert_eq!(percent(0.4567), "45.7%");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(clip("äöü", 3), "äöü");
        assert_eq!(clip("äöü€", 3), "äöü…");
    }

    #[test]
    fn a_bar_never_exceeds_its_whole_and_knows_no_nan() {
        let of = |parts: &[(&str, f64)], whole| bar(parts, whole).into_string();
        let full = of(&[("a", 8.0), ("b", 8.0), ("c", 1.0)], 10.0);
        assert!(full.contains("class=\"a\" x=\"0.00\" width=\"80.00\""), "{full}");
        assert!(full.contains("class=\"b\" x=\"80.00\" width=\"20.00\""), "{full}");
        assert!(!full.contains("class=\"c\""), "{full}");
        for (value, whole) in [(f64::NAN, 1.0), (1.0, f64::NAN), (0.0, 0.0), (-1.0, 1.0)] {
            assert!(!of(&[("a", value)], whole).contains("rect"), "{value} of {whole}");
        }
    }
}
