//! Memory for programs in guest mode.

/// Fresh zero pages, never given back.
pub fn pages(count: usize) -> &'static mut [u8] {
    // SAFETY: a new mapping of this size, which nobody else knows.
    unsafe {
        let at = libc::mmap(
            std::ptr::null_mut(),
            count * 4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert_ne!(at, libc::MAP_FAILED, "{count} pages");
        std::slice::from_raw_parts_mut(at.cast(), count * 4096)
    }
}
