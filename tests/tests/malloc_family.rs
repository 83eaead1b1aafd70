//! The malloc family does what POSIX, C17 and C23 say.

use std::collections::BTreeSet;

use dunegc_tests::{Mode, Run, compile, in_modes, library};

#[test]
fn conforms() {
    in_modes(&Run::new(compile("malloc_family")));
}

#[test]
fn huge_alignments() {
    let run = Run::new(compile("malloc_family")).arg("huge-alignment");
    // Collections look at all addresses that were ever in use.
    in_modes(&run.no_zeal());
}

#[test]
fn malloc_stats_writes_to_standard_error() {
    let outcome = Run::new(compile("malloc_family"))
        .arg("stats")
        .mode(Mode::Malloc)
        .ok();
    assert_eq!(outcome.stdout, "ok\n", "{outcome}");
    assert!(!outcome.stderr.is_empty(), "{outcome}");
}

/// Every function that the library must provide itself: one that is missing would mix two allocators.
#[test]
fn exports_the_whole_family() {
    let listed = Run::new("nm")
        .args(["-D", "--defined-only"])
        .arg(library())
        .ok();
    let exported: BTreeSet<&str> = listed
        .stdout
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .map(|name| name.split('@').next().unwrap_or(name))
        .collect();
    let c = "malloc calloc realloc reallocarray free free_sized free_aligned_sized memalign aligned_alloc \
             posix_memalign valloc pvalloc malloc_usable_size malloc_trim mallinfo mallinfo2 malloc_stats \
             malloc_info mallopt cfree";
    // operator new, new[], delete, delete[]: plain, nothrow, aligned, sized.
    let cxx = "_Znwm _Znam _ZnwmRKSt9nothrow_t _ZnamRKSt9nothrow_t _ZnwmSt11align_val_t \
               _ZnamSt11align_val_t _ZnwmSt11align_val_tRKSt9nothrow_t \
               _ZnamSt11align_val_tRKSt9nothrow_t _ZdlPv _ZdaPv _ZdlPvm _ZdaPvm \
               _ZdlPvRKSt9nothrow_t _ZdaPvRKSt9nothrow_t _ZdlPvSt11align_val_t \
               _ZdaPvSt11align_val_t _ZdlPvmSt11align_val_t _ZdaPvmSt11align_val_t \
               _ZdlPvSt11align_val_tRKSt9nothrow_t _ZdaPvSt11align_val_tRKSt9nothrow_t";
    let missing: Vec<&str> = c
        .split_whitespace()
        .chain(cxx.split_whitespace())
        .filter(|name| !exported.contains(name))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}
