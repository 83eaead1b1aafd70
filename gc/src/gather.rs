//! Collects the roots of a cycle: ranges to scan, and single words from where memory cannot be scanned in place.

use crate::dirty;
use crate::displacements::{are_exact, from_stack};
use crate::finalize;
use crate::heap::{layout, own};
use crate::hooks;
use crate::kinds;
use crate::mark::rescan;
use crate::mark::shared::{Range, Scope};
use crate::mark::tags;
use crate::pins;
use crate::roots::kernel::Unseen;
use crate::roots::{self, RootKind};
use crate::sys::raw::{getpid, syscall};
use crate::sys::scratch::{self, ScratchVec};
use crate::world::StoppedWorld;

/// Memory for the roots of one cycle, reused by the next.
pub struct Gathered {
    ranges: ScratchVec<Range>,
    words: ScratchVec<usize>,
    own: ScratchVec<(usize, usize)>,
    unseen: Unseen,
    #[cfg(feature = "paranoid")]
    copy: ScratchVec<usize>,
}

impl Gathered {
    /// No roots.
    pub const fn new() -> Self {
        Gathered {
            ranges: ScratchVec::new(),
            words: ScratchVec::new(),
            own: ScratchVec::new(),
            unseen: Unseen::NOTHING,
            #[cfg(feature = "paranoid")]
            copy: ScratchVec::new(),
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.ranges.clear();
        self.words.clear();
        self.own.clear();
    }

    /// The ranges, the collected words among them as the last one.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// With the program running: replaces the ranges by the words in them that may lead to objects. Memory that is gone meanwhile
    /// is left out. `None` without memory.
    pub fn detach(&mut self, tagged: bool) -> Option<()> {
        const CHUNK: usize = 32 << 10;
        let (base, limit) = (layout::base(), layout::limit());
        // The last range, if any words were collected, is those words.
        let own = self.words.as_ptr() as usize;
        let mut buffer = [0usize; CHUNK / 8];
        for r in self.ranges.iter().filter(|r| r.lo != own) {
            for lo in (r.lo..r.hi).step_by(CHUNK) {
                let n = vm_read(lo, &mut buffer, (r.hi - lo).min(CHUNK));
                for &w in &buffer[..n / 8] {
                    if leads(w, base, limit, tagged) {
                        self.words.push(w).ok()?;
                    }
                }
            }
        }
        self.cut_words()
    }

    /// With the world stopped: replaces the ranges by what the program's procedures find in the marked objects.
    pub fn ask_procedures(&mut self) -> Option<()> {
        self.clear();
        rescan::each_marked(kinds::by_program(), &mut |s| kinds::ask(s, &mut self.words));
        self.cut_words()
    }

    /// Replaces the ranges by the words, in pieces.
    fn cut_words(&mut self) -> Option<()> {
        self.ranges.clear();
        let (lo, n) = (self.words.as_ptr() as usize, self.words.len());
        for i in (0..n).step_by(PIECE / 8) {
            self.ranges
                .push(Range {
                    lo: lo + i * 8,
                    hi: lo + n.min(i + PIECE / 8) * 8,
                })
                .ok()?;
        }
        Some(())
    }

    /// What the kernel holds and could not be read: if anything, no malloc'ed block may be taken for unreachable.
    pub fn unseen(&self) -> Unseen {
        self.unseen
    }
}

/// Root ranges are cut into pieces of this many bytes, so that markers can share them.
const PIECE: usize = 256 << 10;

/// Finds all roots, with those that only the kernel holds if asked for. `None` without memory or without /proc; one line says why.
pub fn roots(
    g: &mut Gathered,
    world: &StoppedWorld,
    scope: Scope,
    with_kernel: bool,
) -> Option<()> {
    g.clear();
    let mut ok = true;
    own::for_each(|lo, hi| ok &= g.own.push((lo, hi)).is_ok());
    scratch::for_each_mapping(|lo, hi| ok &= g.own.push((lo, hi)).is_ok());
    dirty::page_tables(|lo, hi| ok &= g.own.push((lo, hi)).is_ok());
    g.unseen = Unseen::default();
    let Gathered {
        ranges,
        words,
        own,
        unseen,
        #[cfg(feature = "paranoid")]
        copy,
    } = g;
    let (base, limit) = (layout::base(), layout::limit());
    let mut take_word = |w: usize| !leads(w, base, limit, scope.tagged) || words.push(w).is_ok();
    let found = roots::enumerate(world, roots::chosen(), own, &mut |r| {
        if r.kind == RootKind::StackObject {
            ok &= take_word(from_stack(r.lo));
            return;
        }
        let (lo, hi) = ((r.lo + 7) & !7, r.hi & !7);
        if lo >= hi {
            return;
        }
        let stack = matches!(
            r.kind,
            RootKind::Stack | RootKind::Registers | RootKind::Tls
        );
        if r.transient || stack && are_exact() {
            for p in (lo..hi).step_by(8) {
                // SAFETY: the range is readable until this closure returns, and aligned.
                let w = unsafe { core::ptr::read_volatile(p as *const usize) };
                ok &= take_word(if stack { from_stack(w) } else { w });
            }
            return;
        }
        for lo in (lo..hi).step_by(PIECE) {
            ok &= ranges
                .push(Range {
                    lo,
                    hi: hi.min(lo + PIECE),
                })
                .is_ok();
        }
    });
    if let Err(e) = found {
        // Tried again at every collection, said once.
        static SAID: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);
        if !SAID.swap(true, core::sync::atomic::Ordering::Relaxed) {
            crate::message!("{e}");
        }
        return None;
    }
    if scope.tagged && with_kernel {
        // Malloc'ed blocks are reclaimed: the kernel may be the only one that knows of a block.
        *unseen = roots::kernel::for_each_word(&mut |w| ok &= take_word(w)).unseen;
    }
    hooks::roots(&mut |lo, hi, eager| {
        for lo in (lo..hi).step_by(PIECE) {
            let hi = hi.min(lo + PIECE);
            if !eager {
                ok &= ranges.push(Range { lo, hi }).is_ok();
                continue;
            }
            for p in (lo..hi).step_by(8) {
                // SAFETY: the program says that the range is readable now; its ends are aligned.
                let w = unsafe { core::ptr::read_volatile(p as *const usize) };
                ok &= take_word(from_stack(w));
            }
        }
    });
    finalize::each_root(&mut |w| ok &= take_word(w));
    pins::each(&mut |w| ok &= take_word(w));
    let n = words.len();
    #[cfg(feature = "paranoid")]
    {
        ok &= snapshot(ranges, copy);
    }
    if n > 0 {
        let lo = words.as_ptr() as usize;
        ok &= ranges.push(Range { lo, hi: lo + n * 8 }).is_ok();
    }
    ok.then_some(())
}

/// Whether a word may lead to an object.
fn leads(w: usize, base: usize, limit: usize, tagged: bool) -> bool {
    let off = match tagged {
        true => tags::offset(w, base, limit),
        false => w.wrapping_sub(base),
    };
    off < limit
}

/// Replaces the ranges by a copy of their content: what libc and the collector itself write between two mark phases then
/// makes no difference between their results.
#[cfg(feature = "paranoid")]
fn snapshot(ranges: &mut ScratchVec<Range>, copy: &mut ScratchVec<usize>) -> bool {
    copy.clear();
    let mut ok = true;
    for r in ranges.iter() {
        for p in (r.lo..r.hi).step_by(8) {
            // SAFETY: root ranges are readable while the world is stopped, and aligned.
            ok &= copy
                .push(unsafe { core::ptr::read_volatile(p as *const usize) })
                .is_ok();
        }
    }
    ranges.clear();
    let (start, end) = (
        copy.as_ptr() as usize,
        copy.as_ptr() as usize + copy.len() * 8,
    );
    for lo in (start..end).step_by(PIECE) {
        ok &= ranges
            .push(Range {
                lo,
                hi: end.min(lo + PIECE),
            })
            .is_ok();
    }
    ok
}

/// Reads `n` bytes at `from` in a way that survives memory that is not there; the number of bytes read.
fn vm_read(from: usize, into: &mut [usize], n: usize) -> usize {
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: n,
    };
    let remote = libc::iovec {
        iov_base: core::ptr::with_exposed_provenance_mut(from),
        iov_len: n,
    };
    // SAFETY: the local vector covers part of `into`; the kernel checks the other one.
    let r = unsafe {
        syscall!(
            libc::SYS_process_vm_readv,
            getpid(),
            &raw const local,
            1,
            &raw const remote,
            1,
            0
        )
    };
    r.unwrap_or(0)
}
