//! A line of text without an allocation.

/// Text of at most 160 bytes; what does not fit is cut off.
pub struct Text {
    len: usize,
    bytes: [u8; 160],
}

impl Text {
    /// No text.
    pub const fn new() -> Text {
        Text {
            len: 0,
            bytes: [0; 160],
        }
    }

    /// What was written.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or("")
    }
}

impl core::fmt::Write for Text {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        for c in s.chars() {
            let mut buffer = [0; 4];
            let encoded = c.encode_utf8(&mut buffer).as_bytes();
            let Some(room) = self.bytes.get_mut(self.len..self.len + encoded.len()) else {
                return Ok(());
            };
            room.copy_from_slice(encoded);
            self.len += encoded.len();
        }
        Ok(())
    }
}
