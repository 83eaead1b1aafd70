//! What the machine offers: found out in a child process, so that an engine that hangs or kills does no harm.

use crate::call;
use crate::dune::{Config, Dune};
use crate::engine::any::{AnyEngine, Choice};
use crate::engine::{Engine, Limits};
use crate::error::Error;
use crate::self_test;
use crate::subject::{self, Guest};
use crate::sys;
use core::mem::size_of;
use core::sync::atomic::Ordering::*;

/// What the engine can do here.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Its name: `kvm` or `kmod`.
    pub engine: &'static str,
    /// Its limits.
    pub limits: Limits,
    /// INT reaches the guest's gates, so flushes need no exit.
    pub software_interrupts: bool,
    /// Time of a computation inside, in hundredths of that outside.
    pub speed: u64,
    /// Ticks of the time-stamp counter that a system call takes inside.
    pub system_call: u64,
}

/// What the child writes: whether it passed, the number of what failed, and three figures.
type Report = [u64; 5];

/// Milliseconds that the child may take. It needs a few.
const LIMIT: u64 = 20_000;

impl Caps {
    /// Tries the engine.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn probe(choice: Choice) -> Result<Caps, Error> {
        let config = Config {
            engine: choice,
            ..Config::default()
        };
        Caps::probe_within(config, LIMIT)
    }

    /// The same with all of a configuration, and milliseconds that it may take.
    ///
    /// # Errors
    /// Why guest mode cannot be used.
    pub fn probe_within(config: Config, limit: u64) -> Result<Caps, Error> {
        let (engine, limits) = {
            let machine = AnyEngine::open(config.engine)?;
            (machine.name(), config.trouble.limits(machine.limits()))
        };
        let report = in_child(config, limit)?;
        match report {
            [1, _, software_interrupts, speed, system_call] => Ok(Caps {
                engine,
                limits,
                software_interrupts: software_interrupts != 0,
                speed,
                system_call,
            }),
            [_, code, detail, ..] => Err(decode(code, detail)),
        }
    }
}

/// What failed, as two numbers. Text is the same in the child and here: the address tells it.
fn encode(error: Error) -> (u64, u64) {
    match error {
        Error::System(what, errno) => (
            what.as_ptr() as u64,
            (what.len() as u64) << 32 | errno as u64,
        ),
        Error::SelfTest(what) => (what.as_ptr() as u64, 1 << 63 | (what.len() as u64) << 32),
        Error::Missing(what) => (what.as_ptr() as u64, 1 << 62 | (what.len() as u64) << 32),
        Error::Exit(n) => (1, n.into()),
        Error::Threads(n) => (2, n.into()),
        Error::SlotLimit(n) => (3, n.into()),
        _ => (0, 0),
    }
}

fn decode(code: u64, detail: u64) -> Error {
    let text = || {
        let len = (detail >> 32 & 0xffff) as usize;
        // SAFETY: a string of this program, whose address the forked child has given.
        unsafe {
            core::str::from_utf8_unchecked(core::slice::from_raw_parts(code as *const u8, len))
        }
    };
    match code {
        0 => Error::TablesFull,
        1 => Error::Exit(detail as u32),
        2 => Error::Threads(detail as u32),
        3 => Error::SlotLimit(detail as u32),
        _ if detail >> 63 != 0 => Error::SelfTest(text()),
        _ if detail >> 62 != 0 => Error::Missing(text()),
        _ => Error::System(text(), detail as i32),
    }
}

fn test(config: Config) -> Result<[u64; 3], Error> {
    let dune = Dune::enter(Config {
        threads: 1,
        ..config
    })?;
    let mut guest = Guest::new(dune)?;
    let speed = self_test::check(&mut guest)?;
    let system_call = subject::system_call_ticks();
    let software_interrupts = call::SOFTWARE_INTERRUPTS.load(Relaxed).into();
    Ok([software_interrupts, speed, system_call])
}

/// Runs the test in a child and waits for its report.
fn in_child(config: Config, limit: u64) -> Result<Report, Error> {
    let mut ends = [0i32; 2];
    let args = [(&raw mut ends) as u64, libc::O_CLOEXEC as u64, 0, 0, 0, 0];
    // SAFETY: writes two descriptors.
    unsafe { sys::check("pipe", libc::SYS_pipe2, args) }?;
    let [from, to] = ends;
    // SAFETY: like fork, without a signal at the child's end. The child uses no libc function.
    let child = unsafe { sys::check("clone", libc::SYS_clone, [0; 6]) };
    if child == Ok(0) {
        let report = match test(config) {
            Ok([a, b, c]) => [1, 0, a, b, c],
            Err(e) => {
                let (code, detail) = encode(e);
                [0, code, detail, 0, 0]
            }
        };
        let args = [
            to as u64,
            (&raw const report) as u64,
            size_of::<Report>() as u64,
            0,
            0,
            0,
        ];
        // SAFETY: the report is as long as it says; then the child ends.
        unsafe {
            sys::call(libc::SYS_write as u64, args);
            sys::call(libc::SYS_exit_group as u64, [0; 6]);
        }
        unreachable!("exit_group returned");
    }
    let close = |fd: i32| {
        // SAFETY: our own descriptor.
        unsafe { sys::call(libc::SYS_close as u64, [fd as u64, 0, 0, 0, 0, 0]) };
    };
    close(to);
    let report = child.and_then(|child| {
        let report = wait(from, limit);
        let args = [child, libc::SIGKILL as u64, 0, 0, 0, 0];
        let clone = libc::__WCLONE as u64;
        // SAFETY: our own child, ended if it has not, and waited for.
        unsafe {
            sys::call(libc::SYS_kill as u64, args);
            while sys::call(libc::SYS_wait4 as u64, [child, 0, clone, 0, 0, 0])
                == -i64::from(libc::EINTR)
            {}
        }
        report
    });
    close(from);
    report
}

/// The child's report.
fn wait(from: i32, limit: u64) -> Result<Report, Error> {
    let mut poll = libc::pollfd {
        fd: from,
        events: libc::POLLIN,
        revents: 0,
    };
    let args = [(&raw mut poll) as u64, 1, limit, 0, 0, 0];
    let ready = loop {
        // SAFETY: one structure, as said.
        match unsafe { sys::call(libc::SYS_poll as u64, args) } {
            n if n == -i64::from(libc::EINTR) => {}
            n => break n,
        }
    };
    if ready <= 0 {
        return Err(Error::SelfTest("the guest hangs"));
    }
    let mut report: Report = [0; 5];
    let size = size_of::<Report>();
    let args = [from as u64, (&raw mut report) as u64, size as u64, 0, 0, 0];
    // SAFETY: the report is as long as it says.
    let len = unsafe { sys::call(libc::SYS_read as u64, args) };
    if len == size as i64 {
        Ok(report)
    } else {
        Err(Error::SelfTest("the process does not survive the guest"))
    }
}
