//! What a collector of another object in the process uses of this library: a table of functions. There is one machine per process and one copy of this library,
//! so the collector does not link it but is given the table (the preloaded object exports one).

use crate::arch::address::Range;
use crate::arch::pte::Entry;
use crate::call;
use crate::process::{self, Process};
use crate::table::Flush;
use crate::thread;
use crate::trap::PAGE_FAULT;
use crate::{Config, Dune};
use core::ffi::c_void;

/// Receives a run of pages.
pub type Sink = extern "C" fn(context: *mut c_void, start: u64, end: u64);

/// What [`Interface::harvest`] does with what it knows of writes.
pub mod mode {
    /// Forgets it and reports nothing.
    pub const CLEAR: u32 = 0;
    /// Forgets it, flushes all vCPUs, and reports then: later writes are known again.
    pub const TAKE: u32 = 1;
    /// Reports it and leaves it as it is.
    pub const LOOK: u32 = 2;
    /// All pages count as written, so that writes cost no fault. Only with [`RIGHTS`].
    pub const OPEN: u32 = 3;
    /// Added to one of the above. Without it, dirty bits are what is known. With it, pages that were not written have their right to write taken; a
    /// write is a page fault, which the guest deals with and which gives the right back.
    pub const RIGHTS: u32 = 4;
}

/// Anything may be written unseen at any time: the answer of [`Interface::unseen`].
pub const ALWAYS: u64 = u64::MAX;

/// The table.
#[repr(C)]
pub struct Interface {
    /// [`Interface::VERSION`].
    pub version: u64,
    /// Whether the calling thread is in guest mode.
    pub inside: extern "C" fn() -> bool,
    /// Enters, in a forked child of a process that was in guest mode, if it has one thread. Whether the calling thread is inside then.
    pub enter: extern "C" fn() -> bool,
    /// From now on system calls mark what they write, or no more. Only inside.
    pub watch: extern "C" fn(on: bool),
    /// A number that changes when memory may have been written without a dirty bit; [`ALWAYS`] while that is so.
    pub unseen: extern "C" fn() -> u64,
    /// Deals with the pages of `count` ranges of whole pages, each a first address and the first behind it. Within a range the sink gets ascending runs.
    /// Only inside; one thread at a time.
    pub harvest: extern "C" fn(
        ranges: *const [u64; 2],
        count: u64,
        mode: u32,
        sink: Sink,
        context: *mut c_void,
    ),
    /// Hands the addresses of page tables to the sink. Nothing else lies there, now or later, and the entries are no references of the
    /// program's, though they look like addresses of its pages. Outside too, and in forked children.
    pub tables: extern "C" fn(sink: Sink, context: *mut c_void),
}

impl Interface {
    /// Of the table that this source describes.
    pub const VERSION: u64 = 3;
}

/// This library's.
pub static INTERFACE: Interface = Interface {
    version: Interface::VERSION,
    inside,
    enter,
    watch,
    unseen,
    harvest,
    tables,
};

fn own() -> Option<&'static Process> {
    thread::current().map(|record| record.process)
}

extern "C" fn inside() -> bool {
    own().is_some()
}

extern "C" fn enter() -> bool {
    if inside() {
        return true;
    }
    process::was_entered()
        && process::get().is_none()
        && crate::sys::threads() == Some(1)
        && Dune::enter(Config {
            whole: true,
            threads: 1024,
            engine: process::engine_before(),
            ..Config::default()
        })
        .is_ok()
}

extern "C" fn watch(on: bool) {
    if let Some(process) = own() {
        process.watch.set(on);
    }
}

extern "C" fn unseen() -> u64 {
    own()
        .and_then(|process| process.watch.unseen())
        .unwrap_or(ALWAYS)
}

extern "C" fn harvest(
    ranges: *const [u64; 2],
    count: u64,
    mode: u32,
    sink: Sink,
    context: *mut c_void,
) {
    let Some(record) = thread::current() else {
        return;
    };
    // SAFETY: the caller passes this many.
    let ranges = unsafe { core::slice::from_raw_parts(ranges, count as usize) };
    let view = record.process.view;
    let rights = mode & mode::RIGHTS != 0;
    let mode = mode & !mode::RIGHTS;
    if rights && record.process.watch.take_rights() {
        record.process.open_gate(PAGE_FAULT);
    }
    let each = |f: &mut dyn FnMut(u64, &Entry)| {
        for &[start, end] in ranges {
            view.each(Range { start, end }, &mut *f);
        }
    };
    if mode == mode::OPEN {
        each(&mut |_, entry| {
            entry.let_write();
        });
        return;
    }
    if mode != mode::LOOK {
        let mut flush = Flush::nothing();
        each(&mut |page, entry| {
            let taken = match mode {
                _ if rights => entry.watch(mode == mode::TAKE).rights().write,
                mode::TAKE => entry.set_aside(),
                _ => entry.take_dirty(),
            };
            if taken {
                flush.add(page);
            }
        });
        if !flush.is_empty() {
            let epoch = record.raise_epoch();
            if !record.others_inside() || !call::flush_others(epoch) {
                call::flush_own(&flush);
            }
        }
    }
    let mut run = Range { start: 0, end: 0 };
    each(&mut |page, entry| {
        let wanted = match mode {
            mode::TAKE => entry.take_aside(),
            mode::LOOK if rights => entry.load().written(),
            mode::LOOK => entry.load().dirty(),
            _ => false,
        };
        if !wanted {
            return;
        }
        if run.end != page {
            if run.start < run.end {
                sink(context, run.start, run.end);
            }
            run.start = page;
        }
        run.end = page + crate::arch::address::PAGE;
    });
    if run.start < run.end {
        sink(context, run.start, run.end);
    }
}

extern "C" fn tables(sink: Sink, context: *mut c_void) {
    for range in process::table_memory() {
        sink(context, range.start, range.end);
    }
}
