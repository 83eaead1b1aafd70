//! The bytes of an input as operands.

/// What is left of the input; operands behind its end are 0.
pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    /// The next byte, `None` at the end.
    pub fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// The next byte as an operand.
    pub fn byte(&mut self) -> usize {
        self.next().unwrap_or(0).into()
    }

    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.byte() % n
    }

    /// A size: mostly small, sometimes some blocks.
    pub fn size(&mut self) -> usize {
        match self.byte() {
            b @ 0..128 => b,
            b @ 128..192 => (b - 128) * 33,
            b @ 192..240 => (b - 192) * 801 + self.byte(),
            b => (b - 239) * 20_011 + self.byte(),
        }
    }
}
