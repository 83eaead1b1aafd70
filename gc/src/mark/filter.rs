//! Which of several words may lead into the heap, found out for all of them at once.

use crate::heap::layout;
use core::arch::x86_64::{
    __m128i, _mm_castps_si128, _mm_castsi128_ps, _mm_cmpgt_epi32, _mm_movemask_ps, _mm_set1_epi32,
    _mm_shuffle_ps, _mm_sub_epi32,
};
use core::ptr;

/// Compares the upper halves of words with the 4 GiB pieces of address space that the heap lies in: its base is a multiple of that.
/// SSE2, which every x86_64 has, compares signed numbers only, so both sides are moved by 2^31.
#[derive(Clone, Copy)]
pub struct Filter {
    first: __m128i,
    pieces: __m128i,
}

impl Filter {
    /// For `limit` bytes from `base` on.
    pub fn new(base: usize, limit: usize) -> Filter {
        debug_assert!(base.is_multiple_of(1 << 32) && limit <= layout::HEAP_SPAN);
        let set = |n: usize| {
            // SAFETY: SSE2 is part of x86_64.
            unsafe { _mm_set1_epi32(n as i32) }
        };
        Filter {
            first: set((base >> 32).wrapping_add(1 << 31)),
            pieces: set(limit.div_ceil(1 << 32).wrapping_sub(1 << 31)),
        }
    }

    /// Bit i: word i of the four at `at` may lead into the heap.
    ///
    /// # Safety
    /// `at` is a multiple of 16, and 32 bytes are readable there.
    #[inline(always)]
    pub unsafe fn four(&self, at: usize) -> u32 {
        let p = at as *const __m128i;
        // SAFETY: by this function's contract. Volatile, because their owner's type is not known and may be anything.
        let (a, b) = unsafe { (ptr::read_volatile(p), ptr::read_volatile(p.add(1))) };
        self.check(a, b)
    }

    /// The same for two words, 16 bytes.
    ///
    /// # Safety
    /// `at` is a multiple of 16, and 16 bytes are readable there.
    #[inline(always)]
    pub unsafe fn two(&self, at: usize) -> u32 {
        // SAFETY: by this function's contract; volatile as above.
        let a = unsafe { ptr::read_volatile(at as *const __m128i) };
        self.check(a, a) & 3
    }

    #[inline(always)]
    fn check(&self, a: __m128i, b: __m128i) -> u32 {
        // SAFETY: SSE and SSE2 are part of x86_64.
        unsafe {
            // Words 1 and 3 of 32 bits of either.
            let upper = _mm_shuffle_ps::<0b11_01_11_01>(_mm_castsi128_ps(a), _mm_castsi128_ps(b));
            let piece = _mm_sub_epi32(_mm_castps_si128(upper), self.first);
            _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpgt_epi32(self.pieces, piece))) as u32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(16))]
    struct Words([usize; 4]);

    #[test]
    fn agrees_with_comparing_each_word() {
        for base in [17 << 40, 0x3428 << 32, 0x7ff << 32] {
            for limit in [1 << 16, 1 << 32, (1 << 32) + 1, 5 << 32, 1 << 43] {
                let filter = Filter::new(base, limit);
                let pieces = limit.next_multiple_of(1 << 32);
                let inside = [0, 1, 8, limit - 1, pieces - 1];
                let outside = [pieces, pieces + (1 << 32), 1 << 47, 1 << 63, usize::MAX];
                for off in inside.into_iter().chain(outside) {
                    for place in 0..4 {
                        let mut w = Words([0, usize::MAX, 1 << 63, 4711]);
                        w.0[place] = base.wrapping_add(off);
                        let at = w.0.as_ptr() as usize;
                        let expected = u32::from(inside.contains(&off)) << place;
                        // SAFETY: four aligned words.
                        let found = unsafe { (filter.four(at), filter.two(at)) };
                        assert_eq!(
                            found,
                            (expected, expected & 3),
                            "{base:#x} {limit:#x} {off:#x}"
                        );
                    }
                }
            }
        }
    }
}
