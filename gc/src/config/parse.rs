//! Pure parsing of values: bytes in, value or `None` out.

/// A decimal number with optional sign, within `lo..=hi`. No blanks, no other characters.
pub fn integer(text: &[u8], lo: i64, hi: i64) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value: i64 = 0;
    for &d in digits {
        if !d.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(i64::from(d - b'0'))?;
    }
    let value = if negative { -value } else { value };
    (lo..=hi).contains(&value).then_some(value)
}

/// A size in bytes: a decimal number with an optional suffix K, M, G or T (powers of 1024, either case), within `lo..=hi`.
pub fn size(text: &[u8], lo: usize, hi: usize) -> Option<usize> {
    let (digits, shift) = match text {
        [rest @ .., b'k' | b'K'] => (rest, 10),
        [rest @ .., b'm' | b'M'] => (rest, 20),
        [rest @ .., b'g' | b'G'] => (rest, 30),
        [rest @ .., b't' | b'T'] => (rest, 40),
        _ => (text, 0),
    };
    let n = integer(digits, 0, i64::MAX)? as usize;
    let value = n.checked_mul(1 << shift)?;
    // integer() takes a sign; "-0" is no size.
    (digits[0] != b'-' && (lo..=hi).contains(&value)).then_some(value)
}

/// yes, on, true, 1 or no, off, false, 0.
pub fn boolean(text: &[u8]) -> Option<bool> {
    match text {
        b"yes" | b"on" | b"true" | b"1" => Some(true),
        b"no" | b"off" | b"false" | b"0" => Some(false),
        _ => None,
    }
}

/// A signal number that a program may handle and that no fault, job control or libc-internal use depends on.
pub fn signal(text: &[u8]) -> Option<i32> {
    let n = integer(text, 1, 64)? as i32;
    handleable(n).then_some(n)
}

/// See [`signal`].
pub fn handleable(n: i32) -> bool {
    const TAKEN: [i32; 11] = [
        libc::SIGKILL,
        libc::SIGSTOP,
        libc::SIGCONT,
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGILL,
        libc::SIGFPE,
        libc::SIGTRAP,
        libc::SIGABRT,
        32, // glibc: thread cancellation
        33, // glibc: set*id in all threads
    ];
    (1..=64).contains(&n) && !TAKEN.contains(&n)
}

/// A real-time signal that glibc leaves to programs.
pub fn real_time(n: i32) -> bool {
    (34..=64).contains(&n)
}

/// A path: not empty, no NUL, shorter than `PATH_MAX` even after `%p` became a process id.
pub fn path(text: &[u8]) -> Option<&[u8]> {
    (!text.is_empty() && text.len() < PATH_LIMIT && !text.contains(&0)).then_some(text)
}

/// Longest path accepted, in bytes.
pub const PATH_LIMIT: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::string::ToString;

    #[test]
    fn sizes() {
        let any = |t: &str| size(t.as_bytes(), 0, usize::MAX);
        assert_eq!(any("0"), Some(0));
        assert_eq!(any("1k"), Some(1024));
        assert_eq!(any("3M"), Some(3 << 20));
        assert_eq!(any("2G"), Some(2 << 30));
        assert_eq!(any("1t"), Some(1 << 40));
        for bad in [
            "",
            "k",
            "-1",
            "-0",
            "-0K",
            "1KB",
            "1 K",
            " 1",
            "1.5G",
            "0x10",
            "+1",
            "99999999999999999999",
            "16777216T",
        ] {
            assert_eq!(any(bad), None, "{bad}");
        }
        assert_eq!(size(b"1M", 1 << 20, 1 << 30), Some(1 << 20));
        assert_eq!(size(b"1023K", 1 << 20, 1 << 30), None);
        assert_eq!(size(b"1025M", 1 << 20, 1 << 30), None);
    }

    #[test]
    fn signals() {
        assert_eq!(signal(b"10"), Some(10));
        assert_eq!(signal(b"64"), Some(64));
        for bad in ["0", "-1", "9", "11", "19", "32", "33", "65", "USR1", ""] {
            assert_eq!(signal(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn integer_agrees_with_std(text in "-?[0-9]{0,20}") {
            let expected = text.parse::<i64>().ok().filter(|&v| v != i64::MIN);
            prop_assert_eq!(integer(text.as_bytes(), i64::MIN, i64::MAX), expected);
        }

        #[test]
        fn integer_round_trip(v in (i64::MIN + 1)..=i64::MAX, lo in any::<i64>(), hi in any::<i64>()) {
            let expected = (lo <= v && v <= hi).then_some(v);
            prop_assert_eq!(integer(v.to_string().as_bytes(), lo, hi), expected);
        }

        #[test]
        fn size_round_trip(n in 0usize..1 << 24, s in 0usize..5) {
            let text = format!("{n}{}", ["", "K", "M", "G", "T"][s]);
            prop_assert_eq!(size(text.as_bytes(), 0, usize::MAX), n.checked_mul(1usize << (10 * s)));
        }

        #[test]
        fn nothing_panics(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (integer(&text, i64::MIN, i64::MAX), size(&text, 0, usize::MAX), boolean(&text), signal(&text), path(&text));
        }
    }
}
