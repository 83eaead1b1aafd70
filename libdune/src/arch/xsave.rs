//! The vector and floating-point state of a thread, in the standard format of XSAVE.

use core::arch::asm;
use core::arch::x86_64::{__cpuid_count, _xgetbv};

/// Largest state that is carried: everything of today's processors but AMX tiles.
pub const MAX: usize = 4096;

/// State components that are not carried: bounds registers, which Linux does not offer to programs any more, AMX tiles, and the register of protection
/// keys, which the guest does not have. Outside, they keep their values.
const NOT_CARRIED: u64 = 0b11 << 3 | 1 << 9 | 0b11 << 17;

/// State components that are carried.
pub fn enabled() -> u64 {
    // SAFETY: the target is x86-64 Linux, where the kernel has set CR4.OSXSAVE if CPUID says so; checked here.
    unsafe {
        if __cpuid_count(1, 0).ecx & 1 << 27 == 0 {
            return 0;
        }
        xcr0() & !NOT_CARRIED
    }
}

#[target_feature(enable = "xsave")]
fn xcr0() -> u64 {
    // SAFETY: register 0 exists wherever XSAVE does.
    unsafe { _xgetbv(0) }
}

/// Bytes that the components of [`enabled`] take.
pub fn size() -> usize {
    let enabled = enabled();
    (2..63)
        .filter(|i| enabled >> i & 1 != 0)
        .map(|i| __cpuid_count(0xd, i))
        .fold(576, |size, leaf| size.max((leaf.eax + leaf.ebx) as usize))
}

/// One thread's state.
#[repr(C, align(64))]
pub struct State(pub [u8; MAX]);

impl State {
    /// The state after FNINIT, all vectors zero.
    pub const INITIAL: State = {
        let mut bytes = [0; MAX];
        // FCW 0x37f, MXCSR 0x1f80; XSTATE_BV zero leaves the rest initial.
        bytes[0] = 0x7f;
        bytes[1] = 0x03;
        bytes[24] = 0x80;
        bytes[25] = 0x1f;
        State(bytes)
    };

    /// Stores the calling thread's state.
    ///
    /// # Safety
    /// [`size`] is at most [`MAX`] and [`enabled`] is not zero.
    pub unsafe fn store(&mut self) {
        let mask = enabled();
        // The header must be zero where XSAVE does not write it.
        self.0[512..576].fill(0);
        // SAFETY: aligned to 64 bytes, large enough by the caller's word; writes nothing else.
        unsafe {
            asm!(
                "xsave64 [{p}]",
                p = in(reg) self.0.as_mut_ptr(),
                in("eax") mask as u32, in("edx") (mask >> 32) as u32,
                options(nostack),
            )
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_fits() {
        assert!(enabled() & 3 == 3, "x87 and SSE are always enabled");
        assert!((576..=MAX).contains(&size()), "{}", size());
    }

    #[test]
    fn store_sees_a_register() {
        let mut state = State::INITIAL;
        let value = 0x1122_3344_5566_7788_u64;
        // SAFETY: `this_machine_fits` tests the conditions; xmm9 is declared as clobbered.
        unsafe {
            asm!("movq xmm9, {}", in(reg) value, out("xmm9") _);
            state.store();
        }
        // The compiler may use xmm9 between the two; the control words it may not change.
        assert_eq!(&state.0[0..2], &[0x7f, 0x03]);
        assert_ne!(state.0[512] & 2, 0, "SSE state is in use");
    }
}
