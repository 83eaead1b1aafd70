//! Size classes: 16-byte steps up to 128, then eight per doubling up to 8 KiB, then the divisors of a block.
//!
//! At most 12.5 % of an object is lost to rounding above 128 bytes (as in mimalloc), and every power of two is a class.

use super::layout::BLOCK;

/// Index of a size class.
pub type Class = u8;

/// Largest object that lives in a shared block; above it an object gets whole blocks.
pub const SMALL_MAX: usize = BLOCK / 2;
/// Largest size whose class is found by table.
pub const DIRECT_MAX: usize = 1024;
/// Number of classes.
pub const CLASSES: usize = 8 + 6 * 8 + 6;
/// Bits of a class.
pub const CLASS_BITS: u32 = 6;
const _: () = assert!(CLASSES <= 1 << CLASS_BITS);

/// Object sizes in bytes, ascending, multiples of 16.
pub static SIZE: [u32; CLASSES] = sizes();
/// `ceil(2^32 / size)`: `(offset * RECIPROCAL) >> 32` is the object index for every offset in a block.
pub static RECIPROCAL: [u32; CLASSES] = reciprocals();
/// Objects per block.
pub static CAPACITY: [u32; CLASSES] = capacities();

static DIRECT: [Class; DIRECT_MAX / 16 + 1] = direct();

const fn sizes() -> [u32; CLASSES] {
    let mut s = [0u32; CLASSES];
    let mut n = 0;
    while n < 8 {
        s[n] = 16 * (n as u32 + 1);
        n += 1;
    }
    let mut base = 128;
    while base < 8192 {
        let mut k = 1;
        while k <= 8 {
            s[n] = base + base / 8 * k;
            n += 1;
            k += 1;
        }
        base *= 2;
    }
    let mut per_block = 7;
    while per_block >= 2 {
        s[n] = (BLOCK as u32 / per_block) & !15;
        n += 1;
        per_block -= 1;
    }
    assert!(n == CLASSES);
    s
}

const fn reciprocals() -> [u32; CLASSES] {
    let mut r = [0u32; CLASSES];
    let s = sizes();
    let mut i = 0;
    while i < CLASSES {
        r[i] = (1u64 << 32).div_ceil(s[i] as u64) as u32;
        i += 1;
    }
    r
}

const fn capacities() -> [u32; CLASSES] {
    let mut c = [0u32; CLASSES];
    let s = sizes();
    let mut i = 0;
    while i < CLASSES {
        c[i] = BLOCK as u32 / s[i];
        i += 1;
    }
    c
}

const fn direct() -> [Class; DIRECT_MAX / 16 + 1] {
    let s = sizes();
    let mut d = [0; DIRECT_MAX / 16 + 1];
    let mut i = 0;
    let mut c = 0;
    while i <= DIRECT_MAX / 16 {
        while (s[c] as usize) < i * 16 {
            c += 1;
        }
        d[i] = c as Class;
        i += 1;
    }
    d
}

/// The class of `size` bytes, `size <= SMALL_MAX`.
#[inline(always)]
pub fn of(size: usize) -> Class {
    debug_assert!(size <= SMALL_MAX);
    if size <= DIRECT_MAX {
        return DIRECT[size.div_ceil(16)];
    }
    of_medium(size)
}

#[inline]
fn of_medium(size: usize) -> Class {
    if size > 8192 {
        let mut c = CLASSES - 6;
        while (SIZE[c] as usize) < size {
            c += 1;
        }
        return c as Class;
    }
    // size - 1 = 1 s s s x…x in binary: the doubling is the position of the top bit, the step its next three bits.
    let n = size - 1;
    let top = usize::BITS - 1 - n.leading_zeros();
    let step = (n >> (top - 3)) & 7;
    (8 + (top as usize - 7) * 8 + step) as Class
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_gets_the_smallest_class_that_holds_it() {
        for size in 0..=SMALL_MAX {
            let c = of(size) as usize;
            assert!(SIZE[c] as usize >= size, "size {size} class {c}");
            assert!(
                c == 0 || (SIZE[c - 1] as usize) < size,
                "size {size} class {c}"
            );
        }
    }

    #[test]
    fn reciprocal_finds_the_object_of_every_offset_and_its_start() {
        for c in 0..CLASSES {
            for off in 0..BLOCK as u64 {
                let p = off * RECIPROCAL[c] as u64;
                assert_eq!(p >> 32, off / SIZE[c] as u64);
                assert_eq!(
                    (p as u32) < RECIPROCAL[c],
                    off % SIZE[c] as u64 == 0,
                    "class {c} offset {off}"
                );
            }
        }
    }

    #[test]
    fn powers_of_two_are_classes() {
        for shift in 4..=15 {
            assert_eq!(SIZE[of(1 << shift) as usize], 1 << shift);
        }
    }
}
