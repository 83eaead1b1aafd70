//! What glibc tells about its heap, told about ours.

use core::ffi::c_int;
use core::fmt::Write;

use crate::errno;
use gc::raw::{self, HeapFigures};
use gc::sys::out::{FdWriter, Text};

/// `struct mallinfo2`. `arena`: bytes in small-object blocks; `hblks`, `hblkhd`: large objects and their bytes;
/// `uordblks`: bytes in use outside them; `fordblks`: free bytes; `keepcost`: bytes that `malloc_trim` could return.
#[unsafe(no_mangle)]
pub extern "C" fn mallinfo2() -> libc::mallinfo2 {
    let h = raw::figures();
    libc::mallinfo2 {
        arena: h.heap.saturating_sub(h.large),
        ordblks: 1,
        smblks: 0,
        hblks: h.large_count,
        hblkhd: h.large,
        usmblks: 0,
        fsmblks: 0,
        uordblks: h.in_use.saturating_sub(h.large),
        fordblks: h.free,
        keepcost: h.free,
    }
}

/// `struct mallinfo`: as [`mallinfo2`], figures that do not fit are `INT_MAX`.
#[unsafe(no_mangle)]
pub extern "C" fn mallinfo() -> libc::mallinfo {
    let m = mallinfo2();
    let int = |n: usize| c_int::try_from(n).unwrap_or(c_int::MAX);
    libc::mallinfo {
        arena: int(m.arena),
        ordblks: int(m.ordblks),
        smblks: int(m.smblks),
        hblks: int(m.hblks),
        hblkhd: int(m.hblkhd),
        usmblks: int(m.usmblks),
        fsmblks: int(m.fsmblks),
        uordblks: int(m.uordblks),
        fordblks: int(m.fordblks),
        keepcost: int(m.keepcost),
    }
}

/// glibc's second name of [`mallinfo`].
#[unsafe(no_mangle)]
pub extern "C" fn __libc_mallinfo() -> libc::mallinfo {
    mallinfo()
}

/// `malloc_stats`: a short table on stderr, in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_stats() {
    let HeapFigures {
        in_use,
        heap,
        free,
        unmapped,
        large,
        large_count,
        total,
        live,
        ..
    } = raw::figures();
    let mut out = FdWriter::new(2);
    let _ = write!(
        out,
        "system bytes     = {heap:10}\nin use bytes     = {in_use:10}\nfree bytes       = {free:10}\n\
         returned bytes   = {unmapped:10}\nlarge blocks     = {large_count:10}\nlarge bytes      = {large:10}\n\
         allocated, total = {total:10}\nlive after a gc  = {live:10}\n"
    );
    // stderr is closed or full: there is nobody to tell.
    let _ = out.flush();
}

/// `malloc_info`: the figures as XML to `stream`. -1 and EINVAL if `options` is not 0; -1 if writing fails.
///
/// # Safety
/// `stream` is an open stdio stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_info(options: c_int, stream: *mut libc::FILE) -> c_int {
    if options != 0 {
        errno::set(libc::EINVAL);
        return -1;
    }
    let h = raw::figures();
    let mut text = Text::<1536>::new();
    let _ = write!(
        text,
        "<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n</sizes>\n<total type=\"fast\" count=\"0\" size=\"0\"/>\n\
         <total type=\"rest\" count=\"1\" size=\"{free}\"/>\n<system type=\"current\" size=\"{small}\"/>\n\
         <system type=\"max\" size=\"{small}\"/>\n<aspace type=\"total\" size=\"{small}\"/>\n\
         <aspace type=\"mprotect\" size=\"{small}\"/>\n</heap>\n<total type=\"fast\" count=\"0\" size=\"0\"/>\n\
         <total type=\"rest\" count=\"1\" size=\"{free}\"/>\n<total type=\"mmap\" count=\"{count}\" size=\"{large}\"/>\n\
         <system type=\"current\" size=\"{heap}\"/>\n<system type=\"max\" size=\"{heap}\"/>\n\
         <aspace type=\"total\" size=\"{heap}\"/>\n<aspace type=\"mprotect\" size=\"{heap}\"/>\n</malloc>\n",
        free = h.free,
        small = h.heap.saturating_sub(h.large),
        count = h.large_count,
        large = h.large,
        heap = h.heap,
    );
    let bytes = text.as_bytes();
    // SAFETY: the bytes are readable, the stream is the caller's.
    let written = unsafe { libc::fwrite(bytes.as_ptr().cast(), 1, bytes.len(), stream) };
    if written == bytes.len() { 0 } else { -1 }
}

/// `malloc_trim`: 1 if memory went back to the system.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_trim(keep: usize) -> c_int {
    errno::preserve(|| raw::trim(keep)).into()
}

/// `mallopt`: accepts everything, as glibc does, and changes nothing.
#[unsafe(no_mangle)]
pub extern "C" fn mallopt(_parameter: c_int, _value: c_int) -> c_int {
    1
}

/// glibc's second name of [`mallopt`].
#[unsafe(no_mangle)]
pub extern "C" fn __libc_mallopt(parameter: c_int, value: c_int) -> c_int {
    mallopt(parameter, value)
}
