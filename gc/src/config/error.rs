//! The error of every option.

use crate::sys::out::Text;
use core::fmt::{self, Write};

/// An option that cannot have the value it was given. Displays as one line naming option, value and expectation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ConfigError {
    option: &'static str,
    value: [u8; Self::VALUE],
    value_len: u8,
    expected: &'static str,
}

impl ConfigError {
    const VALUE: usize = 64;

    /// For the option with the environment variable `option`.
    pub(crate) fn new(
        option: &'static str,
        value: impl fmt::Display,
        expected: &'static str,
    ) -> Self {
        let mut text = Text::<{ Self::VALUE }>::new();
        // Text never fails; a longer value is cut, which is enough to recognise it.
        let _ = write!(text, "{value}");
        let mut bytes = [0; Self::VALUE];
        // A cut in the middle of a character would not be UTF-8.
        let valid = text
            .as_bytes()
            .utf8_chunks()
            .next()
            .map_or("", |c| c.valid());
        bytes[..valid.len()].copy_from_slice(valid.as_bytes());
        ConfigError {
            option,
            value: bytes,
            value_len: valid.len() as u8,
            expected,
        }
    }

    /// The option, by the name of its environment variable.
    pub fn option(&self) -> &'static str {
        self.option
    }

    /// The refused value, cut after 64 bytes.
    pub fn value(&self) -> &str {
        core::str::from_utf8(&self.value[..self.value_len as usize]).unwrap_or("")
    }

    /// What the option takes.
    pub fn expected(&self) -> &'static str {
        self.expected
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let equals = if self.value_len == 0 { "" } else { "=" };
        write!(
            f,
            "{}{equals}{}: expected {}",
            self.option,
            self.value(),
            self.expected
        )
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigError({self})")
    }
}

impl core::error::Error for ConfigError {}
