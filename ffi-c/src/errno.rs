//! The calling thread's `errno`.

/// Its value.
pub fn get() -> i32 {
    // SAFETY: __errno_location always returns the thread's errno cell.
    unsafe { *libc::__errno_location() }
}

/// Sets it.
pub fn set(e: i32) {
    // SAFETY: as in `get`.
    unsafe { *libc::__errno_location() = e }
}

/// Runs `f` and puts errno back to what it was.
pub fn preserve<R>(f: impl FnOnce() -> R) -> R {
    let saved = get();
    let result = f();
    set(saved);
    result
}
