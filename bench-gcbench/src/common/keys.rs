//! The keys of the hash map.

/// A key before it is stored: at most 15 characters.
pub struct Key {
    text: [u8; 16],
    length: usize,
    /// FNV-1a over the characters, folded.
    pub hash: u64,
}

impl Key {
    /// The characters.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..self.length]
    }
}

/// The key of number `n`, which is below 2^52: "k" and `n` in base 26, lowest digit first.
pub fn key(mut n: u64) -> Key {
    let mut text = [0; 16];
    text[0] = b'k';
    let mut length = 1;
    loop {
        text[length] = b'a' + (n % 26) as u8;
        length += 1;
        n /= 26;
        if n == 0 {
            break;
        }
    }
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in &text[..length] {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    }
    Key {
        text,
        length,
        hash: hash ^ hash >> 29,
    }
}

/// Spreads consecutive numbers over the keys.
pub fn spread(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 12
}
