//! The frame that a handler returns by: what Linux puts on the stack of x86-64 programs.

use crate::arch::registers::{BASE_FLAGS, Registers, USER_FLAGS};
use crate::arch::segments::{USER_CODE, USER_DATA};
use crate::arch::xsave::{self, State};
use core::mem::{offset_of, size_of};

/// An alternate stack, as sigaltstack has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AltStack {
    /// Its lowest address.
    pub start: u64,
    /// SS_*.
    pub flags: u32,
    /// Nothing.
    pub unused: u32,
    /// Its bytes.
    pub len: u64,
}

impl AltStack {
    /// There is none.
    pub const NONE: AltStack = AltStack {
        start: 0,
        flags: libc::SS_DISABLE as u32,
        unused: 0,
        len: 0,
    };
    /// It counts as none while a handler runs on it.
    pub const AUTODISARM: u32 = 1 << 31;

    /// Whether a stack pointer is on it, as the kernel decides.
    pub fn holds(&self, rsp: u64) -> bool {
        self.flags & Self::AUTODISARM == 0 && rsp > self.start && rsp - self.start <= self.len
    }
}

/// `struct ucontext` of the kernel.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(missing_docs)]
pub struct Context {
    flags: u64,
    link: u64,
    pub stack: AltStack,
    r8: u64,
    r9: u64,
    r10: u64,
    r11: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rax: u64,
    rcx: u64,
    rsp: u64,
    pub rip: u64,
    rflags: u64,
    segments: [u16; 4],
    /// `err`, `trapno`, `oldmask`, `cr2`.
    pub cause: [u64; 4],
    pub vectors: u64,
    reserved: [u64; 8],
    pub mask: u64,
}

/// The frame but for the vector state, which lies above it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Frame {
    /// Where the handler returns to.
    pub restorer: u64,
    /// What was interrupted.
    pub context: Context,
    /// Why.
    pub info: [u64; 16],
}

const _: () = assert!(
    size_of::<Context>() == 304
        && offset_of!(Context, rip) == 40 + 128
        && offset_of!(Context, vectors) == 40 + 184
        && size_of::<Frame>() == 440
);

/// UC_FP_XSTATE, UC_SIGCONTEXT_SS and UC_STRICT_RESTORE_SS.
const FLAGS: u64 = 7;
const MAGIC1: u32 = 0x4650_5853;
const MAGIC2: u32 = 0x4650_5845;
/// Where software may write in the 512 bytes of FXSAVE.
const SOFTWARE: usize = 464;

impl Context {
    /// A context that goes on with `registers`.
    pub fn new(registers: &Registers, vectors: u64, stack: AltStack, mask: u64) -> Context {
        let r = registers;
        Context {
            flags: FLAGS,
            link: 0,
            stack,
            r8: r.r8,
            r9: r.r9,
            r10: r.r10,
            r11: r.r11,
            r12: r.r12,
            r13: r.r13,
            r14: r.r14,
            r15: r.r15,
            rdi: r.rdi,
            rsi: r.rsi,
            rbp: r.rbp,
            rbx: r.rbx,
            rdx: r.rdx,
            rax: r.rax,
            rcx: r.rcx,
            rsp: r.rsp,
            rip: r.rip,
            rflags: r.rflags & USER_FLAGS | BASE_FLAGS,
            segments: [USER_CODE, 0, 0, USER_DATA],
            cause: [0; 4],
            vectors,
            reserved: [0; 8],
            mask,
        }
    }

    /// The registers that it goes on with.
    pub fn registers(&self) -> Registers {
        Registers {
            rax: self.rax,
            rbx: self.rbx,
            rcx: self.rcx,
            rdx: self.rdx,
            rsi: self.rsi,
            rdi: self.rdi,
            rsp: self.rsp,
            rbp: self.rbp,
            r8: self.r8,
            r9: self.r9,
            r10: self.r10,
            r11: self.r11,
            r12: self.r12,
            r13: self.r13,
            r14: self.r14,
            r15: self.r15,
            rip: self.rip,
            rflags: self.rflags & USER_FLAGS | BASE_FLAGS,
        }
    }
}

/// Bytes of the vector state on a stack, with the word behind it.
pub fn vectors_len() -> usize {
    xsave::size() + 4
}

/// Where the vector state and the frame lie below `top`.
pub fn place(top: u64) -> (u64, u64) {
    let vectors = (top - vectors_len() as u64) & !63;
    let frame = ((vectors - size_of::<Frame>() as u64) & !15) - 8;
    (vectors, frame)
}

/// Writes what the kernel writes into a vector state that goes onto a stack.
pub fn seal(state: &mut State) {
    let size = xsave::size();
    let enabled = xsave::enabled().to_le_bytes();
    let words = [
        &MAGIC1.to_le_bytes()[..],
        &(vectors_len() as u32).to_le_bytes(),
        &enabled,
        &(size as u32).to_le_bytes(),
    ];
    let mut at = SOFTWARE;
    for word in words {
        state.0[at..at + word.len()].copy_from_slice(word);
        at += word.len();
    }
    state.0[at..512].fill(0);
    if let Some(end) = state.0.get_mut(size..size + 4) {
        end.copy_from_slice(&MAGIC2.to_le_bytes());
    }
}

/// Makes a vector state out of what lay on a stack: whatever that is, the CPU takes the result.
pub fn unseal(state: &mut State) {
    let size = xsave::size();
    let word = |at: usize, state: &State| {
        let bytes = state.0.get(at..at + 4);
        bytes.map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    };
    let whole = word(SOFTWARE, state) == MAGIC1 && word(size, state) == MAGIC2;
    let allowed = if whole { xsave::enabled() } else { 3 };
    let mut features = u64::from(word(512, state)) | u64::from(word(516, state)) << 32;
    if !whole {
        features = 3;
    }
    state.0[512..576].fill(0);
    state.0[512..520].copy_from_slice(&(features & allowed).to_le_bytes());
    // Reserved bits of MXCSR.
    state.0[26] = 0;
    state.0[27] = 0;
    state.0[SOFTWARE..512].fill(0);
    state.0[size..].fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_come_back() {
        let mut r = Registers::default();
        // SAFETY: eighteen words of plain data.
        let words: &mut [u64; 18] = unsafe { &mut *(&raw mut r).cast() };
        for (i, word) in words.iter_mut().enumerate() {
            *word = 1000 + i as u64;
        }
        r.rflags = BASE_FLAGS | 1;
        assert_eq!(Context::new(&r, 0, AltStack::NONE, 0).registers(), r);
    }

    #[test]
    fn a_frame_is_aligned_as_after_a_call() {
        for top in [0x7fff_0000, 0x7fff_0008, 0x7fff_1237] {
            let (vectors, frame) = place(top);
            assert!(vectors + vectors_len() as u64 <= top && vectors % 64 == 0);
            assert!(frame + size_of::<Frame>() as u64 <= vectors && (frame + 8) % 16 == 0);
        }
    }

    #[test]
    fn a_state_survives_the_stack() {
        let mut state = State::INITIAL;
        state.0[160..176].fill(0xab);
        state.0[512] = 3;
        seal(&mut state);
        unseal(&mut state);
        assert_eq!(state.0[160..176], [0xab; 16]);
        assert_eq!(state.0[512], 3);
        state.0[512..576].fill(0xff);
        unseal(&mut state);
        assert_eq!(state.0[512], 3);
        assert_eq!(state.0[520..576], [0; 56]);
    }
}
