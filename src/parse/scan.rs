//! Byte classes and the small loops over them. Comes in: a page and an offset. Goes out: the
//! offset where a run ends. Never: an allocation, a panic, a byte looked at twice.
//!
//! A byte beyond the page's end reads as a line feed. So every loop ends there by itself, and the
//! callers need no length checks: what breaks off at the end of the page looks like a line that
//! ends too early, and the reader calls it unfinished when it finds no line feed.

/// May begin a metric name.
pub(super) const NAME_START: u8 = 1;
/// May stand in a metric name.
pub(super) const NAME: u8 = 2;
/// May begin a label name.
pub(super) const LABEL_START: u8 = 4;
/// May stand in a label name.
pub(super) const LABEL: u8 = 8;
/// A blank or a tab.
pub(super) const BLANK: u8 = 16;
/// Ends a run of plain bytes in a label value: quote, backslash, line feed.
pub(super) const VALUE_STOP: u8 = 32;

/// The byte at `at`; a line feed beyond the end.
#[inline]
pub(super) fn byte(page: &[u8], at: usize) -> u8 {
    page.get(at).copied().unwrap_or(b'\n')
}

/// Whether `byte` is of one of the classes.
#[inline]
pub(super) fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// The first offset from `at` on whose byte is not of the class.
#[inline]
pub(super) fn skip(page: &[u8], mut at: usize, class: u8) -> usize {
    while is(byte(page, at), class) {
        at += 1;
    }
    at
}

/// Runs through a label value from `at` to its quote, backslash or line feed. Bytes of 0x80 and
/// above leave a mark in `high`.
#[inline]
pub(super) fn value_run(page: &[u8], mut at: usize, high: &mut u64) -> usize {
    while let Some(&word) = page.get(at..).and_then(<[u8]>::first_chunk::<WORD>) {
        let word = u64::from_le_bytes(word);
        let stops = zero_bytes(word ^ spread(b'"'))
            | zero_bytes(word ^ spread(b'\\'))
            | zero_bytes(word ^ spread(b'\n'));
        if stops != 0 {
            // The lowest mark is always a true one: a borrow only ever runs upwards from it.
            let before = stops.trailing_zeros() / 8;
            *high |= word & spread(0x80) & ((1 << (before * 8)) - 1);
            return at + before as usize;
        }
        *high |= word & spread(0x80);
        at += WORD;
    }
    loop {
        let byte = byte(page, at);
        if is(byte, VALUE_STOP) {
            return at;
        }
        *high |= u64::from(byte & 0x80);
        at += 1;
    }
}

/// Eight bytes at a time: what a register holds.
const WORD: usize = 8;

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => NAME_START | NAME | LABEL_START | LABEL,
            b':' => NAME_START | NAME,
            b'0'..=b'9' => NAME | LABEL,
            b' ' | b'\t' => BLANK,
            b'"' | b'\\' | b'\n' => VALUE_STOP,
            _ => 0,
        };
        byte += 1;
    }
    table
}

const fn spread(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; WORD])
}

/// Marks the top bit of each zero byte, and possibly of bytes above the lowest zero byte.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(spread(1)) & !word & spread(0x80)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The slow, readable twin of `value_run`.
    fn plain_run(page: &[u8], at: usize) -> (usize, bool) {
        let rest = page.get(at..).unwrap_or_default();
        let length = rest.iter().position(|b| b"\"\\\n".contains(b)).unwrap_or(rest.len());
        (at + length, rest[..length].iter().any(|b| *b >= 0x80))
    }

    #[test]
    fn beyond_the_page_every_byte_is_a_line_feed() {
        assert_eq!(byte(b"ab", 1), b'b');
        assert_eq!(byte(b"ab", 2), b'\n');
        assert_eq!(skip(b"ab", 0, NAME), 2);
        assert_eq!(skip(b"ab", 9, NAME), 9);
    }

    #[test]
    fn only_metric_names_hold_colons_and_no_name_begins_with_a_digit() {
        assert!(is(b':', NAME_START) && is(b':', NAME));
        assert!(!is(b':', LABEL_START) && !is(b':', LABEL));
        assert!(!is(b'7', NAME_START) && !is(b'7', LABEL_START));
        assert!(is(b'7', NAME) && is(b'7', LABEL));
        assert!(!is(b'-', NAME) && !is(b'.', LABEL) && !is(0xc3, NAME));
    }

    proptest! {
        #[test]
        fn runs_of_words_end_where_a_plain_loop_ends(
            page in proptest::collection::vec(
                prop_oneof![8 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\'), 1 => Just(b'\n')],
                0..64,
            ),
            at in 0_usize..70,
        ) {
            let mut high = 0;
            let end = value_run(&page, at, &mut high);
            prop_assert_eq!((end, high != 0), plain_run(&page, at));
        }
    }
}
