//! Text for standard error, or where the program or `GC_LOG_FILE` wants it. Nothing here allocates.

use core::ffi::{c_char, c_int, c_void};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

static LOG: AtomicI32 = AtomicI32::new(2);
static ERRORS: AtomicI32 = AtomicI32::new(2);
static OUTPUT: AtomicI32 = AtomicI32::new(1);

/// A line built in place; what does not fit is cut off.
struct Line {
    text: [u8; 512],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let n = s.len().min(self.text.len() - self.len);
        self.text[self.len..self.len + n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}

fn write_to(fd: c_int, text: fmt::Arguments<'_>) {
    let mut line = Line {
        text: [0; 512],
        len: 0,
    };
    let _ = line.write_fmt(text);
    // SAFETY: the bytes of the line are initialised.
    unsafe { libc::write(fd, line.text.as_ptr().cast(), line.len) };
}

/// An error message, without an end of line of its own.
pub fn error(text: fmt::Arguments<'_>) {
    write_to(ERRORS.load(Relaxed), text);
}

/// Text of any length among the error messages.
pub fn error_text(text: &[u8]) {
    // SAFETY: the bytes are initialised.
    unsafe { libc::write(ERRORS.load(Relaxed), text.as_ptr().cast(), text.len()) };
}

/// A line of a dump.
pub fn line(text: fmt::Arguments<'_>) {
    write_to(OUTPUT.load(Relaxed), format_args!("{text}\n"));
}

/// Sends all output to `fd`; or the log only.
pub fn redirect(fd: c_int, log_only: bool) {
    LOG.store(fd, Relaxed);
    if !log_only {
        ERRORS.store(fd, Relaxed);
        OUTPUT.store(fd, Relaxed);
    }
}

/// File descriptor for the log, instead of standard error.
#[unsafe(no_mangle)]
pub extern "C" fn GC_set_log_fd(fd: c_int) {
    LOG.store(fd, Relaxed);
}

unsafe extern "C" {
    fn vdprintf(fd: c_int, format: *const c_char, arguments: *mut c_void) -> c_int;
}

/// The variadic functions of the interface end here; `arguments` is a `va_list`.
unsafe extern "C" fn print(format: *const c_char, arguments: *mut c_void, what: c_int) {
    let fd = match what {
        0 => OUTPUT.load(Relaxed),
        1 => ERRORS.load(Relaxed),
        _ => LOG.load(Relaxed),
    };
    // SAFETY: the caller's format and arguments.
    unsafe { vdprintf(fd, format, arguments) };
}

// Stable Rust cannot define variadic functions: these save the argument registers as the ABI says and pass a va_list on.
macro_rules! variadic {
    ($($(#[$doc:meta])* $name:ident $what:literal;)*) => { $(
        $(#[$doc])*
        ///
        /// # Safety
        /// As for `printf`.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(_format: *const c_char) {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "sub rsp, 216",
                ".cfi_adjust_cfa_offset 216",
                "mov [rsp + 40], rsi",
                "mov [rsp + 48], rdx",
                "mov [rsp + 56], rcx",
                "mov [rsp + 64], r8",
                "mov [rsp + 72], r9",
                "test al, al",
                "je 2f",
                "movaps [rsp + 80], xmm0",
                "movaps [rsp + 96], xmm1",
                "movaps [rsp + 112], xmm2",
                "movaps [rsp + 128], xmm3",
                "movaps [rsp + 144], xmm4",
                "movaps [rsp + 160], xmm5",
                "movaps [rsp + 176], xmm6",
                "movaps [rsp + 192], xmm7",
                "2:",
                "mov dword ptr [rsp], 8",
                "mov dword ptr [rsp + 4], 48",
                "lea rax, [rsp + 224]",
                "mov [rsp + 8], rax",
                "lea rax, [rsp + 32]",
                "mov [rsp + 16], rax",
                "mov rsi, rsp",
                concat!("mov edx, ", $what),
                "call {print}",
                "add rsp, 216",
                ".cfi_adjust_cfa_offset -216",
                "ret",
                ".cfi_endproc",
                print = sym print,
            )
        }
    )* };
}

variadic! {
    /// Prints where dumps go.
    GC_printf "0";
    /// Prints where errors go.
    GC_err_printf "1";
    /// Prints where the log goes.
    GC_log_printf "2";
}
