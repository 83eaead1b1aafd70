//! Words at every byte offset of a stream of bytes.

/// Bytes of one word.
const WORD: usize = size_of::<usize>();

/// Cuts a stream that arrives in chunks into words: one at every byte offset where eight bytes fit, also across chunks,
/// because nothing is known about how a pointer is aligned within a message.
pub(super) struct Window<'b> {
    buffer: &'b mut [u8],
    held: usize,
}

impl<'b> Window<'b> {
    /// A stream that is read through `buffer`, which must be longer than a word.
    pub(super) fn new(buffer: &'b mut [u8]) -> Self {
        debug_assert!(buffer.len() > WORD);
        Window { buffer, held: 0 }
    }

    /// Where the next chunk goes; never empty.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.held..]
    }

    /// The first `n` bytes of [`room`](Self::room) are the next chunk.
    pub(super) fn filled(&mut self, n: usize, word: &mut dyn FnMut(usize)) {
        let end = self.held + n;
        let (mut all, mut last) = (&self.buffer[..end], 0);
        while let Some(w) = all.first_chunk::<WORD>() {
            word(usize::from_ne_bytes(*w));
            all = &all[1..];
            last += 1;
        }
        self.buffer.copy_within(last..end, 0);
        self.held = end - last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn every_offset_once_at_every_chunk_size() {
        let bytes: Vec<u8> = (0..100u8).map(|i| i.wrapping_mul(37)).collect();
        let want: Vec<usize> = bytes
            .windows(8)
            .map(|w| usize::from_ne_bytes(w.try_into().unwrap()))
            .collect();
        for chunk in 1..=100 {
            let mut buffer = [0; 128];
            let (mut w, mut got) = (Window::new(&mut buffer), Vec::new());
            for part in bytes.chunks(chunk) {
                w.room()[..part.len()].copy_from_slice(part);
                w.filled(part.len(), &mut |x| got.push(x));
            }
            assert_eq!(got, want, "chunks of {chunk}");
        }
    }
}
