//! The words of the benchmark: programs, variants, peers.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;

/// A C program of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Program {
    /// Binary trees of Ellis, Kovac and Boehm.
    Gcbench,
    /// Linked lists built and dropped.
    List,
    /// Chained hash map with string keys.
    Hashmap,
    /// libxml2 trees.
    Xml,
    /// One thread allocates, another one frees.
    Xmalloc,
}

impl Program {
    /// All of them, in the order of the report.
    pub const ALL: [Program; 5] = [
        Program::Gcbench,
        Program::List,
        Program::Hashmap,
        Program::Xml,
        Program::Xmalloc,
    ];
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Program::Gcbench => "gcbench",
            Program::List => "list",
            Program::Hashmap => "hashmap",
            Program::Xml => "xml",
            Program::Xmalloc => "xmalloc",
        })
    }
}

/// How a program treats memory that it no longer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Collected API, never frees.
    Collected,
    /// Collected API, frees everything by `GC_free`.
    Freeing,
    /// malloc and free.
    Malloc,
    /// Rust with `Gc`, never frees.
    RustGc,
    /// Rust with `Box` under the peer as global allocator.
    RustBox,
}

impl Variant {
    /// All of them, in the order of the report.
    pub const ALL: [Variant; 5] = [
        Variant::Collected,
        Variant::Freeing,
        Variant::Malloc,
        Variant::RustGc,
        Variant::RustBox,
    ];

    /// Whether the program is one of the Rust binaries beside this one.
    pub fn is_rust(self) -> bool {
        matches!(self, Variant::RustGc | Variant::RustBox)
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Variant::Collected => "collected",
            Variant::Freeing => "freeing",
            Variant::Malloc => "malloc",
            Variant::RustGc => "rust-gc",
            Variant::RustBox => "rust-box",
        })
    }
}

/// Who manages the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Peer {
    /// The Boehm-Demers-Weiser collector, Debian's `libgc.so.1`.
    Libgc,
    /// Debian's `libmimalloc.so.2.0`, preloaded.
    Mimalloc,
    /// Debian's `libjemalloc.so.2`, preloaded.
    Jemalloc,
    /// The malloc of the C library.
    Glibc,
    /// This project's `libdunegc.so`: linked in for the collected variants, preloaded for the malloc variant.
    Dunegc,
}

impl Peer {
    /// All peers, in the order in which one round of runs visits them.
    pub const ALL: [Peer; 5] = [
        Peer::Libgc,
        Peer::Mimalloc,
        Peer::Jemalloc,
        Peer::Glibc,
        Peer::Dunegc,
    ];

    /// Whether this peer can run a program in `variant`.
    pub fn runs(self, variant: Variant) -> bool {
        match variant {
            Variant::Malloc | Variant::RustBox => self != Peer::Libgc,
            Variant::RustGc => self == Peer::Dunegc,
            Variant::Collected | Variant::Freeing => matches!(self, Peer::Libgc | Peer::Dunegc),
        }
    }

    /// The shared library of this peer, if it is installed. `dunegc` is the library under test.
    pub fn library(self, dunegc: Option<&Path>) -> Option<PathBuf> {
        let name = match self {
            Peer::Dunegc => return dunegc.map(Path::to_owned),
            Peer::Libgc => "libgc.so.1",
            Peer::Mimalloc => "libmimalloc.so.2.0",
            Peer::Jemalloc => "libjemalloc.so.2",
            Peer::Glibc => "libc.so.6",
        };
        [
            "/usr/lib/x86_64-linux-gnu",
            "/lib/x86_64-linux-gnu",
            "/usr/lib64",
            "/usr/lib",
            "/usr/local/lib",
        ]
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.exists())
    }

    /// One line that says how to get this peer.
    pub fn how_to_install(self) -> &'static str {
        match self {
            Peer::Libgc => "apt-get install libgc-dev",
            Peer::Mimalloc => "apt-get install libmimalloc2.0",
            Peer::Jemalloc => "apt-get install libjemalloc2",
            Peer::Glibc => "apt-get install libc6",
            Peer::Dunegc => {
                "cargo build --release -p dunegc-ffi, or name the library by --dunegc PATH"
            }
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Peer::Libgc => "libgc",
            Peer::Mimalloc => "mimalloc",
            Peer::Jemalloc => "jemalloc",
            Peer::Glibc => "glibc",
            Peer::Dunegc => "dunegc",
        })
    }
}
