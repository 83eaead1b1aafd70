//! The x86-64 structures that a guest needs. Pure data: nothing here talks to the system.

pub mod address;
pub mod pte;
pub mod registers;
pub mod segments;
pub mod xsave;
