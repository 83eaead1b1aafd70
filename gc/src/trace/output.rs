//! The trace file.
//!
//! Every line goes out by one `write(2)` to a descriptor opened with `O_APPEND`, without a lock: a thread that is stopped
//! while it reports an event holds nothing that others wait for. The comma comes before each event, so that what a killed
//! process leaves is an array that lacks only its `]`.
//!
//! A file belongs to one process, which holds a `flock(2)` on it. Whoever finds it taken, and every forked child, takes the
//! name with its process id in it.

use super::probe::LISTENERS;
use super::record::{self, FOOTER};
use crate::config;
use crate::message;
use crate::sys::file::{self, Errno, Identity};
use crate::sys::out::Text;
use crate::sys::path::{PATH, expand, terminated};
use core::fmt::{self, Write};
use core::sync::atomic::{
    AtomicI32, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

/// No trace was asked for so far.
const NONE: u32 = 0;
const OPENING: u32 = 1;
const OPEN: u32 = 2;
/// It has ended, or could not be opened.
const OVER: u32 = 3;
static STATE: AtomicU32 = AtomicU32::new(NONE);

// What follows is set while OPENING.
static FD: AtomicI32 = AtomicI32::new(-1);
static PID: AtomicI32 = AtomicI32::new(0);
static DEV: AtomicU64 = AtomicU64::new(0);
static INO: AtomicU64 = AtomicU64::new(0);

/// Threads that are writing.
static WRITERS: AtomicU32 = AtomicU32::new(0);

/// Why a file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Error(Errno),
    /// A device, a pipe, a socket: writing could block.
    NotRegular,
    /// Another process writes its trace there.
    Taken,
}

impl From<Errno> for Refusal {
    fn from(e: Errno) -> Self {
        Refusal::Error(e)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Error(e) => e.fmt(f),
            Refusal::NotRegular => f.write_str("expected a regular file"),
            Refusal::Taken => f.write_str("another process writes its trace there"),
        }
    }
}

/// Opens the file that the configuration asks for, unless that has happened. World running.
pub(super) fn start() {
    if STATE.load(Relaxed) == NONE && config::get().trace.is_some() {
        open_for(false);
    }
}

/// In a fork child: the parent's file stays the parent's.
pub(super) fn after_fork_child() {
    WRITERS.store(0, Relaxed);
    if STATE.load(Relaxed) != OPEN {
        return;
    }
    let fd = FD.load(Relaxed);
    if is_ours(fd).is_ok() {
        let _ = file::close(fd);
    }
    STATE.store(NONE, Relaxed);
    LISTENERS.fetch_sub(1, Relaxed);
    open_for(true);
}

#[cold]
#[inline(never)]
fn open_for(child: bool) {
    let Some(pattern) = config::get().trace else {
        return;
    };
    if STATE
        .compare_exchange(NONE, OPENING, Acquire, Relaxed)
        .is_err()
    {
        return;
    }
    let mut path = Text::new();
    match open_path(pattern, child, &mut path) {
        Ok((fd, id)) => {
            FD.store(fd, Relaxed);
            PID.store(file::getpid(), Relaxed);
            DEV.store(id.dev, Relaxed);
            INO.store(id.ino, Relaxed);
            STATE.store(OPEN, Release);
            LISTENERS.fetch_add(1, Relaxed);
        }
        Err(e) => {
            STATE.store(OVER, Relaxed);
            message!(
                "cannot write a trace to {}: {e}; going on without",
                path.as_bytes().escape_ascii()
            );
        }
    }
}

/// The descriptor of a file that holds the header. `path` receives the name tried last.
fn open_path(
    pattern: &[u8],
    child: bool,
    path: &mut Text<PATH>,
) -> Result<(i32, Identity), Refusal> {
    let pid = file::getpid();
    let unique = names_process(pattern);
    if unique || !child {
        expand(pattern, pid, path);
        match open_one(path) {
            Err(Refusal::Taken) if !unique => *path = Text::new(),
            r => return r,
        }
    }
    with_pid(pattern, pid, path);
    open_one(path)
}

/// The pattern holds a `%p`.
fn names_process(pattern: &[u8]) -> bool {
    let (mut one, mut two) = (Text::<PATH>::new(), Text::<PATH>::new());
    expand(pattern, 1, &mut one);
    expand(pattern, 2, &mut two);
    one.as_bytes() != two.as_bytes()
}

/// The path with `.PID` before the extension of its last component, or at the end if that has none.
fn with_pid(pattern: &[u8], pid: i32, path: &mut Text<PATH>) {
    let name = pattern
        .iter()
        .rposition(|&b| b == b'/')
        .map_or(0, |i| i + 1);
    let dot = pattern[name..].iter().rposition(|&b| b == b'.');
    let at = dot.filter(|&i| i > 0).map_or(pattern.len(), |i| name + i);
    expand(&pattern[..at], pid, path);
    // A Text does not fail.
    let _ = write!(path, ".{pid}");
    expand(&pattern[at..], pid, path);
}

fn open_one(path: &Text<PATH>) -> Result<(i32, Identity), Refusal> {
    let mut buffer = [0; PATH];
    let path = terminated(path, &mut buffer)?;
    // Not truncated here: it may be another process's. O_NONBLOCK: opening a pipe does not wait for its reader.
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_NONBLOCK | libc::O_NOCTTY;
    let low = file::open(path, flags, 0o666)?;
    let r = set_up(low);
    // A duplicate is used, if any.
    let _ = file::close(low);
    r
}

fn set_up(low: i32) -> Result<(i32, Identity), Refusal> {
    let (id, mode, _) = file::identity(low)?;
    if mode & libc::S_IFMT != libc::S_IFREG {
        return Err(Refusal::NotRegular);
    }
    // A file system without locks is no reason to go without the trace.
    if file::try_lock(low) == Err(Errno(libc::EWOULDBLOCK)) {
        return Err(Refusal::Taken);
    }
    file::truncate(low, 0)?;
    let header = record::header(file::getpid());
    if file::size_limit() < header.as_bytes().len() as u64 {
        return Err(Errno(libc::EFBIG).into());
    }
    file::write_all(low, header.as_bytes())?;
    Ok((file::duplicate_high(low)?, id))
}

/// Its size if `fd` is still the trace file, and not closed or replaced by the program.
fn is_ours(fd: i32) -> Result<u64, &'static str> {
    let Ok((id, _, size)) = file::identity(fd) else {
        return Err("the program closed its descriptor");
    };
    if id.dev == DEV.load(Relaxed) && id.ino == INO.load(Relaxed) {
        Ok(size)
    } else {
        Err("the program uses its descriptor for another file")
    }
}

/// A trace file is being written.
pub(super) fn is_open() -> bool {
    STATE.load(Acquire) == OPEN
}

/// The process that the file belongs to.
pub(super) fn pid() -> i32 {
    PID.load(Relaxed)
}

/// Writes whole lines. With the world stopped, too.
pub(super) fn write(lines: &[u8]) {
    WRITERS.fetch_add(1, SeqCst);
    // A process that shares the memory (vfork) or copied it behind libc's back (clone) has no part in the file.
    if STATE.load(SeqCst) == OPEN && PID.load(Relaxed) == file::getpid() {
        put(lines);
    }
    WRITERS.fetch_sub(1, SeqCst);
}

fn put(lines: &[u8]) {
    let fd = FD.load(Relaxed);
    let size = match is_ours(fd) {
        Ok(size) => size,
        Err(why) => return give_up(format_args!("{why}")),
    };
    // Beyond the limit the kernel would not only refuse, but send SIGXFSZ. The end of the array has room as long as lines had.
    let room = file::size_limit().saturating_sub(size + FOOTER.len() as u64);
    if lines.len() as u64 > room {
        give_up(format_args!("{}", Errno(libc::EFBIG)));
        return end_array(fd);
    }
    if let Err(e) = file::write_all(fd, lines) {
        give_up(format_args!("{e}"));
        // What was written of the lines goes, unless something else came behind it.
        if is_ours(fd).is_ok_and(|now| now > size && now < size + lines.len() as u64) {
            let _ = file::truncate(fd, size);
        }
    }
}

/// Ends the trace before the program does. The descriptor may not be ours any more: it is left alone.
#[cold]
fn give_up(why: fmt::Arguments<'_>) {
    if over() {
        message!("the trace ends here: {why}");
    }
}

/// No event is written from here on. True for the caller that brought this about.
fn over() -> bool {
    let ended = STATE.compare_exchange(OPEN, OVER, SeqCst, Relaxed).is_ok();
    if ended {
        LISTENERS.fetch_sub(1, Relaxed);
    }
    ended
}

/// Closes the array, once: `close` lets nothing begin any more, `last` writes the last events; later ones are lost. The descriptor stays open until the process ends,
/// because a thread that still runs might be about to use its number.
pub(super) fn finish(close: fn(), last: impl FnOnce()) {
    if STATE.load(Relaxed) != OPEN || PID.load(Relaxed) != file::getpid() {
        return;
    }
    close();
    // What is about to be written comes before what ends it.
    wait_for_writers();
    last();
    if over() {
        wait_for_writers();
        end_array(FD.load(Relaxed));
    }
}

fn wait_for_writers() {
    for _ in 0..10_000 {
        if WRITERS.load(SeqCst) == 0 {
            break;
        }
        // SAFETY: no preconditions.
        unsafe { libc::sched_yield() };
    }
}

/// Runs `f`, which writes: the trace does not end in between.
pub(super) fn busy(f: impl FnOnce()) {
    WRITERS.fetch_add(1, SeqCst);
    f();
    WRITERS.fetch_sub(1, SeqCst);
}

/// Writes the end, if there is room for it. A trace without its end is still a trace.
fn end_array(fd: i32) {
    let room = file::size_limit();
    if is_ours(fd).is_ok_and(|size| size + FOOTER.len() as u64 <= room) {
        let _ = file::write_all(fd, FOOTER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::String;

    fn own_name(pattern: &str) -> String {
        let mut path = Text::new();
        with_pid(pattern.as_bytes(), 77, &mut path);
        String::from_utf8(path.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn the_process_id_goes_before_the_extension() {
        assert_eq!(own_name("trace.json"), "trace.77.json");
        assert_eq!(own_name("/a.b/trace.x.json"), "/a.b/trace.x.77.json");
        assert_eq!(own_name("/a.b/trace"), "/a.b/trace.77");
        assert_eq!(own_name("/a.b/.trace"), "/a.b/.trace.77");
        assert_eq!(own_name("100%%.json"), "100%.77.json");
        assert!(names_process(b"a.%p.json") && !names_process(b"a.%%p"));
    }

    #[test]
    fn files() {
        let dir = std::env::temp_dir().join(format!("dunegc-trace-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let at = |name: &str| dir.join(name).to_str().unwrap().as_bytes().to_vec();
        let open = |pattern: &[u8], child| {
            let mut path = Text::new();
            let r = open_path(pattern, child, &mut path);
            (r, String::from_utf8(path.as_bytes().to_vec()).unwrap())
        };
        std::fs::write(dir.join("t.json"), "old").unwrap();
        let (first, name) = open(&at("t.json"), false);
        let (fd, id) = first.unwrap();
        assert!(fd >= 3 && name.ends_with("/t.json"));
        assert_eq!(file::identity(fd).unwrap().0, id);
        let text = std::fs::read_to_string(&name).unwrap();
        let whole: serde_json::Value = serde_json::from_str(&format!("{text}]")).unwrap();
        assert_eq!(whole[0]["pid"], std::process::id());

        // As another process that finds it in use, and as a child.
        let own = format!("/t.{}.json", std::process::id());
        let (second, name) = open(&at("t.json"), false);
        assert!(name.ends_with(&own), "{name}");
        file::close(second.unwrap().0).unwrap();
        let (third, name) = open(&at("t.json"), true);
        assert!(name.ends_with(&own), "{name}");
        assert_eq!(open(&at("t.json"), true).0, Err(Refusal::Taken));
        file::close(third.unwrap().0).unwrap();
        file::close(fd).unwrap();

        assert_eq!(
            open(&at("none/t"), false).0,
            Err(Errno(libc::ENOENT).into())
        );
        assert_eq!(open(b"/dev/null", false).0, Err(Refusal::NotRegular));
        assert_eq!(
            open(dir.to_str().unwrap().as_bytes(), false).0,
            Err(Errno(libc::EISDIR).into())
        );
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
