//! What a client accepts comes in, what it gets goes out. Comes in: the values of `Accept` and
//! `Accept-Encoding`, any bytes. Goes out: a format and an encoding that we have. Never: a refusal
//! (a client that accepts nothing of ours gets identity text 0.0.4), a panic.

/// An exposition format that we write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text004,
    /// OpenMetrics text 1.0.0.
    OpenMetrics100,
}

impl Format {
    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text004 => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics100 => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A content encoding that we write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// One gzip member.
    Gzip,
}

impl Encoding {
    /// Both, in the order of their label values.
    pub const ALL: [Encoding; 2] = [Encoding::Identity, Encoding::Gzip];

    /// The word of the content-coding registry, also used as label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::Identity => "identity",
            Encoding::Gzip => "gzip",
        }
    }
}

/// The format for a request, from the values of all its `Accept` headers. The better-liked one, and
/// OpenMetrics where both are liked alike; but with `prefers_text` text wherever it is accepted at all.
/// Wildcards stand for text, but for `application/*`. A version that we do not write is another format;
/// a client that accepts nothing of ours gets text.
pub fn format<'a>(accept: impl IntoIterator<Item = &'a [u8]>, prefers_text: bool) -> Format {
    let (mut open, mut applications, mut plain, mut texts, mut any) =
        (None, None, None, None, None);
    for value in accept {
        for element in elements(value) {
            let Element { name, quality, version } = element;
            let place = if is(name, b"application/openmetrics-text") {
                if !matches!(version, None | Some(b"1.0.0")) {
                    continue;
                }
                &mut open
            } else if is(name, b"text/plain") {
                if !matches!(version, None | Some(b"0.0.4")) {
                    continue;
                }
                &mut plain
            } else if is(name, b"application/*") {
                &mut applications
            } else if is(name, b"text/*") {
                &mut texts
            } else if name == b"*/*" {
                &mut any
            } else {
                continue;
            };
            *place = (*place).max(Some(quality));
        }
    }
    let open = open.or(applications).unwrap_or(0);
    let text = plain.or(texts).or(any).unwrap_or(0);
    if open > 0 && open >= text && !(prefers_text && text > 0) {
        Format::OpenMetrics100
    } else {
        Format::Text004
    }
}

/// The encoding for a request, from the values of all its `Accept-Encoding` headers (RFC 9110
/// §12.5.3). Gzip is taken when it is acceptable and liked at least as well as identity; identity
/// stands at the bottom unless it is named. Names are compared without case; `x-gzip` is gzip; of
/// repeated mentions the kindest counts; an element that is not well-formed counts as not there.
pub fn encoding<'a>(accept_encoding: impl IntoIterator<Item = &'a [u8]>) -> Encoding {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for value in accept_encoding {
        for element in elements(value) {
            let name = element.name;
            let place = if is(name, b"gzip") || is(name, b"x-gzip") {
                &mut gzip
            } else if is(name, b"identity") {
                &mut identity
            } else if name == b"*" {
                &mut any
            } else {
                continue;
            };
            *place = (*place).max(Some(element.quality));
        }
    }
    let gzip = gzip.or(any).unwrap_or(0);
    let identity = identity.unwrap_or(0);
    if gzip > 0 && gzip >= identity { Encoding::Gzip } else { Encoding::Identity }
}

/// One element of a list with qualities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Element<'a> {
    name: &'a [u8],
    /// In thousandths, 0..=1000; 1000 where none is given.
    quality: u16,
    /// Without quotes.
    version: Option<&'a [u8]>,
}

/// The well-formed elements of one header value. Content codings hold no quoted strings, so that a
/// comma always separates.
fn elements(value: &[u8]) -> impl Iterator<Item = Element<'_>> {
    value.split(|&b| b == b',').filter_map(|element| {
        let mut parts = element.split(|&b| b == b';');
        let name = parts.next()?.trim_ascii();
        let (mut quality, mut version) = (QUALITY_ONE, None);
        for parameter in parts {
            let mut sides = parameter.splitn(2, |&b| b == b'=');
            let key = sides.next()?.trim_ascii();
            if is(key, b"q") {
                quality = read_quality(sides.next()?.trim_ascii())?;
            } else if is(key, b"version") {
                version = Some(unquoted(sides.next()?.trim_ascii()));
            }
        }
        (!name.is_empty()).then_some(Element { name, quality, version })
    })
}

fn unquoted(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text)
}

const QUALITY_ONE: u16 = 1000;

/// `0`, `1`, `0.5`, `1.000`: RFC 9110 knows three decimals; of more, as some clients send, the
/// first three count, but what is above zero stays above zero.
fn read_quality(text: &[u8]) -> Option<u16> {
    let (whole, decimals) = match text {
        [whole] | [whole, b'.'] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] => (whole, decimals),
        _ => return None,
    };
    if !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let positive = decimals.iter().any(|&b| b != b'0');
    match whole {
        b'1' if !positive => Some(QUALITY_ONE),
        b'0' => {
            let thousandths = (0..3).fold(0_u16, |sum, at| {
                sum * 10 + decimals.get(at).map_or(0, |&digit| u16::from(digit - b'0'))
            });
            Some(thousandths.max(u16::from(positive)))
        }
        _ => None,
    }
}

fn is(name: &[u8], lower: &[u8]) -> bool {
    name.eq_ignore_ascii_case(lower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chosen(header: &str) -> Encoding {
        encoding([header.as_bytes()])
    }

    #[test]
    fn gzip_needs_to_be_asked_for() {
        assert_eq!(encoding([]), Encoding::Identity);
        for header in ["", "identity", "br, zstd", "deflate;q=1", "gzipped", "xgzip", ",,;,", "q=1"]
        {
            assert_eq!(chosen(header), Encoding::Identity, "{header}");
        }
        for header in [
            "gzip",
            "GZip",
            "x-gzip",
            "gzip, deflate, br",
            "deflate,\t gzip ; q=0.1",
            "gzip;q=1.000",
            "*",
            "*;q=0.001",
            "br;q=1, *;q=0.5",
        ] {
            assert_eq!(chosen(header), Encoding::Gzip, "{header}");
        }
    }

    #[test]
    fn quality_zero_forbids() {
        for header in
            ["gzip;q=0", "gzip;q=0.000", "gzip; Q=0., identity;q=0", "*;q=0", "*, gzip;q=0"]
        {
            assert_eq!(chosen(header), Encoding::Identity, "{header}");
        }
        assert_eq!(chosen("identity;q=0, gzip;q=0.1"), Encoding::Gzip);
        assert_eq!(chosen("identity;q=0, *"), Encoding::Gzip);
        assert_eq!(chosen("gzip, *;q=0"), Encoding::Gzip);
    }

    #[test]
    fn nothing_acceptable_is_identity() {
        assert_eq!(chosen("identity;q=0"), Encoding::Identity);
        assert_eq!(chosen("identity;q=0, gzip;q=0, *;q=0"), Encoding::Identity);
    }

    #[test]
    fn the_better_liked_wins_and_gzip_wins_a_tie() {
        assert_eq!(chosen("gzip;q=0.5, identity"), Encoding::Identity);
        assert_eq!(chosen("gzip;q=0.5, identity;q=0.501"), Encoding::Identity);
        assert_eq!(chosen("gzip;q=0.5, identity;q=0.5"), Encoding::Gzip);
        assert_eq!(chosen("identity, *;q=0.9"), Encoding::Identity);
    }

    #[test]
    fn headers_in_a_row_are_one_list() {
        assert_eq!(encoding([&b"br"[..], b"gzip;q=0.2"]), Encoding::Gzip);
        assert_eq!(encoding([&b"gzip;q=0.2"[..], b"identity"]), Encoding::Identity);
        assert_eq!(encoding([&b"gzip;q=0"[..], b"gzip"]), Encoding::Gzip);
    }

    #[test]
    fn an_element_that_is_not_well_formed_is_not_there() {
        for header in ["gzip;q=2", "gzip;q=", "gzip;q", "gzip;q=1.001", "gzip;q=0.x", "gzip;q=-1"] {
            assert_eq!(chosen(header), Encoding::Identity, "{header}");
        }
        assert_eq!(chosen("gzip;q=nan, *;q=0.3"), Encoding::Gzip);
        assert_eq!(chosen("gzip;level=9"), Encoding::Gzip);
    }

    #[test]
    fn qualities_are_thousandths() {
        let read = |text: &str| read_quality(text.as_bytes());
        assert_eq!(read("1"), Some(1000));
        assert_eq!(read("0.5"), Some(500));
        assert_eq!(read("0.123"), Some(123));
        assert_eq!(read("0.3333333333333333"), Some(333));
        assert_eq!(read("0.00001"), Some(1));
        assert_eq!(read("0"), Some(0));
        assert_eq!(read("1.5"), None);
        assert_eq!(read(".5"), None);
        assert_eq!(read("05"), None);
    }

    const PROMETHEUS_2: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";

    fn is_open(accept: &str, prefers_text: bool) -> bool {
        format([accept.as_bytes()], prefers_text) == Format::OpenMetrics100
    }

    #[test]
    fn the_better_liked_format_wins_unless_the_page_prefers_text() {
        for accept in [
            PROMETHEUS_2,
            PROMETHEUS_3,
            "application/openmetrics-text, text/plain",
            "text/plain;q=0.5, application/openmetrics-text; version=\"1.0.0\"; q=0.5",
            "application/*, */*;q=0.9",
        ] {
            assert!(is_open(accept, false), "{accept}");
            assert!(!is_open(accept, true), "{accept}");
        }
        for accept in
            ["application/openmetrics-text;q=0.1", "APPLICATION/OpenMetrics-Text,text/plain;q=0"]
        {
            assert!(is_open(accept, false) && is_open(accept, true), "{accept}");
        }
    }

    #[test]
    fn whatever_else_is_asked_for_gets_text() {
        assert_eq!(format([], false), Format::Text004);
        for accept in [
            "application/json",
            "*/*",
            "text/*, application/openmetrics-text;q=0.9",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;version=2.0.0,*/*;q=0.1",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.4, text/plain;q=0.5",
            "application/openmetrics-text;q=nan",
            "application/openmetrics-text;version",
            ";q=;,",
        ] {
            assert!(!is_open(accept, false), "{accept}");
        }
        assert_eq!(format([&b"\xff\0;q=;,"[..]], false), Format::Text004);
    }

    #[test]
    fn headers_of_accept_in_a_row_are_one_list() {
        let split = [&b"text/plain;q=0.5"[..], b"application/openmetrics-text"];
        assert_eq!(format(split, false), Format::OpenMetrics100);
        assert_eq!(format(split, true), Format::Text004);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_and_gzip_is_never_invented(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let could = bytes.contains(&b'*')
                || bytes.to_ascii_lowercase().windows(4).any(|four| four == b"gzip");
            prop_assert!(could || encoding([&bytes[..]]) == Encoding::Identity);
        }

        #[test]
        fn the_order_of_elements_does_not_matter(
            mut list in prop::collection::vec("(gzip|identity|\\*|br|x-gzip)(;q=(0|1|0\\.[0-9]{1,3}))?", 0..6)
        ) {
            let forward = chosen(&list.join(","));
            list.reverse();
            prop_assert_eq!(chosen(&list.join(" , ")), forward);
        }
    }
}
