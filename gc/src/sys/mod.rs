//! The operating system as the collector needs it: nothing here allocates or takes a libc lock.

pub mod clock;
pub mod file;
pub mod futex;
pub mod lock;
pub mod map;
pub mod map_query;
pub mod mem;
pub mod out;
pub mod pagemap;
pub mod path;
pub mod proc_maps;
pub mod proc_task;
pub mod raw;
pub mod scratch;
pub mod signal;
pub mod text;
pub mod tls;
