//! Paths from the configuration, made without allocation.

use super::file::Errno;
use super::out::Text;
use core::ffi::CStr;
use core::fmt::Write;

/// Room for a path with NUL, after `%p` was replaced.
pub const PATH: usize = libc::PATH_MAX as usize;

/// `%p` becomes the process id, `%%` becomes `%`; any other `%` stays.
pub fn expand<const N: usize>(pattern: &[u8], pid: i32, into: &mut Text<N>) {
    let mut rest = pattern;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [b'p', after @ ..]) => {
                // A Text does not fail.
                let _ = write!(into, "{pid}");
                rest = after;
            }
            (b'%', [b'%', after @ ..]) => {
                into.push(b"%");
                rest = after;
            }
            _ => {
                into.push(&[*first]);
            }
        }
    }
}

/// The path with its NUL, in `buffer`.
pub fn terminated<'b>(text: &Text<PATH>, buffer: &'b mut [u8; PATH]) -> Result<&'b CStr, Errno> {
    let bytes = text.as_bytes();
    if text.is_cut() || bytes.len() >= PATH {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    buffer[..bytes.len()].copy_from_slice(bytes);
    CStr::from_bytes_until_nul(buffer).map_err(|_| Errno(libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    fn expanded(pattern: &str) -> String {
        let mut t = Text::<64>::new();
        expand(pattern.as_bytes(), 321, &mut t);
        String::from_utf8(t.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn patterns() {
        assert_eq!(expanded("/tmp/s.%p.json"), "/tmp/s.321.json");
        assert_eq!(expanded("%p%p"), "321321");
        assert_eq!(expanded("100%%p"), "100%p");
        assert_eq!(expanded("a%q%"), "a%q%");
    }
}
