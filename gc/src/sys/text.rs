//! Numbers in the text files of /proc.

/// A decimal number at the start of `s`, and what follows it.
pub fn decimal(s: &[u8]) -> Option<(u64, &[u8])> {
    number(s, 10)
}

/// A hexadecimal number (no prefix) at the start of `s`, and what follows it.
pub fn hex(s: &[u8]) -> Option<(u64, &[u8])> {
    number(s, 16)
}

fn number(s: &[u8], radix: u32) -> Option<(u64, &[u8])> {
    let n = s
        .iter()
        .take_while(|c| (**c as char).is_digit(radix))
        .count();
    if n == 0 {
        return None;
    }
    let mut v = 0u64;
    for c in &s[..n] {
        v = v
            .checked_mul(u64::from(radix))?
            .checked_add(u64::from((*c as char).to_digit(radix)?))?;
    }
    Some((v, &s[n..]))
}

/// Writes `n` in decimal to the end of `buf` and returns the digits.
pub fn to_decimal(mut n: u64, buf: &mut [u8; 20]) -> &[u8] {
    let mut i = buf.len();
    loop {
        i -= 1;
        buf[i] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return &buf[i..];
        }
    }
}

/// The value of the line `KEY:\tvalue` in a text like /proc/PID/status, without leading blanks.
pub fn field<'a>(text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    text.split(|c| *c == b'\n')
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(b":"))
        .map(|v| v.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(decimal(b"123 x"), Some((123, &b" x"[..])));
        assert_eq!(hex(b"7fffff-"), Some((0x7fffff, &b"-"[..])));
        assert_eq!(hex(b"ffffffffffffffff"), Some((u64::MAX, &b""[..])));
        assert_eq!(hex(b"10000000000000000"), None);
        assert_eq!(decimal(b"x"), None);
        let mut b = [0; 20];
        assert_eq!(to_decimal(0, &mut b), b"0");
        assert_eq!(to_decimal(u64::MAX, &mut b), b"18446744073709551615");
    }

    #[test]
    fn fields() {
        let t = b"Name:\tState: x\nState:\tS (sleeping)\nSigBlk:\t0000000000000001\n";
        assert_eq!(field(t, b"State"), Some(&b"S (sleeping)"[..]));
        assert_eq!(field(t, b"SigBlk"), Some(&b"0000000000000001"[..]));
        assert_eq!(field(t, b"Sig"), None);
    }
}
