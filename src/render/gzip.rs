//! Bodies in, segments out that join to ONE gzip member without being compressed again. Comes in:
//! finished text. Goes out: raw deflate that ends on a byte boundary, with its checksum. Never: a
//! second gzip member (several clients stop after the first and report no error), a copy of the
//! text.

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

/// A piece of a body. Segments join in any order and number.
#[derive(Debug, Clone, Default)]
pub struct Segment {
    /// The text as it is, where it is kept; the deflate has it too.
    pub identity: Bytes,
    /// The same as raw deflate, full-flushed, without a final block; empty when the text is.
    pub deflate: Bytes,
    /// CRC-32 (IEEE) of the text.
    pub crc: u32,
    /// Bytes of the text.
    pub len: u64,
}

/// Compresses a text so that it can be joined with others, and keeps it.
pub fn compress(identity: Bytes) -> Segment {
    let segment = Coder::default().compress(&identity);
    Segment { identity, ..segment }
}

/// A text that nobody wants compressed.
pub fn plain(identity: Bytes) -> Segment {
    Segment { len: identity.len() as u64, identity, ..Segment::default() }
}

/// Compresses many texts, one after another, in the same memory.
#[derive(Debug)]
pub struct Coder(Compress);

impl Default for Coder {
    fn default() -> Coder {
        Coder(Compress::new(Compression::new(LEVEL), false))
    }
}

impl Coder {
    /// Compresses a text so that it can be joined with others, and keeps only that.
    pub fn compress(&mut self, text: &[u8]) -> Segment {
        if text.is_empty() {
            return Segment::default();
        }
        self.0.reset();
        let deflate = deflate(&mut self.0, text).unwrap_or_else(|| stored(text));
        let mut crc = Crc::new();
        crc.update(text);
        let len = text.len() as u64;
        Segment { identity: Bytes::new(), deflate: deflate.into(), crc: crc.sum(), len }
    }
}

/// Joins segments to one, of which only the deflate is kept.
pub fn join(segments: &[Segment]) -> Segment {
    let mut deflate = Vec::with_capacity(segments.iter().map(|s| s.deflate.len()).sum());
    let (mut crc, mut len) = (0_u32, 0_u64);
    for segment in segments {
        deflate.extend_from_slice(&segment.deflate);
        crc = crc_combine(crc, segment.crc, segment.len);
        len += segment.len;
    }
    Segment { identity: Bytes::new(), deflate: deflate.into(), crc, len }
}

/// Gives back the text of a segment that did not keep it, block by block.
#[derive(Debug)]
pub struct Inflater {
    deflate: Bytes,
    state: Decompress,
    left: u64,
}

impl Inflater {
    /// From the beginning.
    pub fn new(segment: &Segment) -> Inflater {
        let deflate = segment.deflate.clone();
        Inflater { deflate, state: Decompress::new(false), left: segment.len }
    }
}

impl Iterator for Inflater {
    type Item = Bytes;

    /// The next block. It ends early only where the deflate is not one of ours.
    fn next(&mut self) -> Option<Bytes> {
        let room = usize::try_from(self.left.min(BLOCK as u64)).ok()?;
        let mut block = Vec::with_capacity(room);
        while block.len() < room {
            let (taken, made) = (self.state.total_in(), block.len());
            let flush = FlushDecompress::None;
            self.state.decompress_vec(&self.deflate, &mut block, flush).ok()?;
            let taken = usize::try_from(self.state.total_in() - taken).ok()?;
            self.deflate = self.deflate.slice(taken.min(self.deflate.len())..);
            if taken == 0 && block.len() == made {
                return None;
            }
        }
        self.left -= room as u64;
        (room > 0).then(|| block.into())
    }
}

/// The whole text of a segment.
#[cfg(test)]
pub(crate) fn inflated(segment: &Segment) -> Vec<u8> {
    Inflater::new(segment).collect::<Vec<_>>().concat()
}

/// Joins segments to one gzip member: header, every segment's deflate, an empty final block,
/// checksum and length. The text is not touched, the parts are not copied.
pub fn stitch(segments: &[&Segment]) -> Vec<Bytes> {
    let mut parts = Vec::with_capacity(segments.len() + 2);
    parts.push(Bytes::from_static(&HEADER));
    let (mut crc, mut len) = (0_u32, 0_u64);
    for segment in segments.iter().filter(|segment| segment.len > 0) {
        parts.push(segment.deflate.clone());
        crc = crc_combine(crc, segment.crc, segment.len);
        len += segment.len;
    }
    let mut trailer = Vec::with_capacity(FINAL_BLOCK.len() + 8);
    trailer.extend_from_slice(&FINAL_BLOCK);
    trailer.extend_from_slice(&crc.to_le_bytes());
    // ISIZE is the length modulo 2^32 by RFC 1952.
    trailer.extend_from_slice(&((len & u64::from(u32::MAX)) as u32).to_le_bytes());
    parts.push(trailer.into());
    parts
}

/// Level 1: four times the speed of level 6 for a body half as large again; the reader on the
/// other side is slower than either.
const LEVEL: u32 = 1;

/// Text is fed in blocks of this size, so that the output grows with what was really written, and
/// given back in them.
const BLOCK: usize = 64 * 1024;

/// Output space that is made whenever less is left: a block hardly ever needs more.
const SPACE: usize = 16 * 1024;

/// ID1 ID2 CM=deflate, no flags, no time, XFL=fastest, OS=unknown.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// An empty block of fixed codes with the final bit set; full-flushed parts end on a byte boundary.
const FINAL_BLOCK: [u8; 2] = [3, 0];

fn deflate(coder: &mut Compress, text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 8 + SPACE);
    for block in text.chunks(BLOCK) {
        let mut rest = block;
        while !rest.is_empty() {
            out.reserve(SPACE);
            let before = coder.total_in();
            coder.compress_vec(rest, &mut out, FlushCompress::None).ok()?;
            let taken = usize::try_from(coder.total_in() - before).ok()?;
            rest = rest.get(taken..)?;
        }
    }
    loop {
        out.reserve(SPACE);
        let status = coder.compress_vec(&[], &mut out, FlushCompress::Full).ok()?;
        // Space left over means that everything is out; only then is the flush complete.
        if out.len() < out.capacity() || status == Status::BufError {
            out.shrink_to_fit();
            return Some(out);
        }
    }
}

/// Uncompressed blocks: valid deflate for any text. Stands in should the coder ever refuse, so that
/// a page is large rather than absent.
fn stored(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / usize::from(u16::MAX) * 5 + 5);
    for block in text.chunks(usize::from(u16::MAX)) {
        let len = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(0);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(block);
    }
    out
}

/// The checksum of two texts in a row, from the checksum of each and the length of the second:
/// the first is shifted by that many zero bytes, which is a product modulo the polynomial.
fn crc_combine(first: u32, second: u32, second_len: u64) -> u32 {
    product(x_to_the(second_len.wrapping_mul(8)), first) ^ second
}

/// CRC-32's polynomial; bit 31 is the coefficient of x^0 as everywhere below.
const POLYNOMIAL: u32 = 0xedb8_8320;
const ONE: u32 = 1 << 31;
const X: u32 = 1 << 30;

fn product(a: u32, mut b: u32) -> u32 {
    let mut sum = 0;
    for power in (0..32).rev() {
        if a & (1 << power) != 0 {
            sum ^= b;
        }
        b = if b & 1 == 1 { (b >> 1) ^ POLYNOMIAL } else { b >> 1 };
    }
    sum
}

fn x_to_the(mut exponent: u64) -> u32 {
    let (mut result, mut square) = (ONE, X);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = product(result, square);
        }
        square = product(square, square);
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::bufread::GzDecoder;
    use proptest::prelude::*;
    use std::io::Read;

    /// Reads exactly one member and hands back what stands after it.
    fn gunzip(parts: &[Bytes]) -> (Vec<u8>, usize) {
        let whole = parts.concat();
        let mut decoder = GzDecoder::new(&whole[..]);
        let mut text = Vec::new();
        decoder.read_to_end(&mut text).unwrap();
        (text, decoder.into_inner().len())
    }

    fn exposition(lines: usize) -> Bytes {
        let mut text = String::new();
        for i in 0..lines {
            text.push_str(&format!("awscni_eni_allocated{{node=\"ip-10-0-{i}\"}} {}\n", i % 7));
        }
        text.into()
    }

    #[test]
    fn nothing_at_all_is_an_empty_member() {
        assert_eq!(gunzip(&stitch(&[])), (vec![], 0));
        assert_eq!(stitch(&[&compress(Bytes::new())]).concat().len(), HEADER.len() + 2 + 8);
    }

    #[test]
    fn a_large_text_over_many_blocks_shrinks_and_comes_back() {
        let text = exposition(100_000);
        let segment = compress(text.clone());
        assert!(text.len() > 20 * BLOCK && segment.deflate.len() < text.len() / 5);
        assert_eq!(gunzip(&stitch(&[&segment])), (text.to_vec(), 0));
    }

    #[test]
    fn a_text_that_cannot_be_compressed_comes_back() {
        let mut state = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(5 * BLOCK + 17)
        .collect();
        let segment = compress(noise.clone().into());
        assert_eq!(gunzip(&stitch(&[&segment])), (noise, 0));
    }

    #[test]
    fn stored_blocks_are_deflate_too() {
        let text = exposition(3_000);
        assert!(text.len() > usize::from(u16::MAX));
        let segment = Segment { deflate: stored(&text).into(), ..compress(text.clone()) };
        let other = compress(Bytes::from_static(b"tail 1\n"));
        let (back, trailing) = gunzip(&stitch(&[&segment, &other]));
        assert_eq!((back, trailing), ([&text[..], b"tail 1\n"].concat(), 0));
    }

    #[test]
    fn checksums_combine_over_lengths_beyond_32_bits() {
        // Two shifts in a row equal one by the sum, also where the sum does not fit 32 bits.
        let crc = 0xdead_beef;
        let once = crc_combine(crc, 0, (1 << 33) + 5);
        let twice = crc_combine(crc_combine(crc, 0, 1 << 33), 0, 5);
        assert_eq!(once, twice);
        assert_ne!(once, crc_combine(crc, 0, 5));
    }

    proptest! {
        #[test]
        fn segments_in_a_row_are_one_member_of_the_texts_in_a_row(
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..6)
        ) {
            let segments: Vec<Segment> = texts.iter().map(|t| compress(t.clone().into())).collect();
            let refs: Vec<&Segment> = segments.iter().collect();
            prop_assert_eq!(gunzip(&stitch(&refs)), (texts.concat(), 0));
            let joined = join(&segments);
            prop_assert_eq!(gunzip(&stitch(&[&joined])), (texts.concat(), 0));
            prop_assert_eq!(inflated(&joined), texts.concat());
        }
    }
}
