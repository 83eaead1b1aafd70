//! What single operations cost, natively and in guest mode side by side: system calls, faults, traps, protection, learning of writes.
//!
//! Figures are ticks of the time-stamp counter, the least of several rounds, for one operation. On real hardware they are given as nanoseconds; in an emulator that
//! counts (QEMU with `-icount shift=0`), ticks are instructions, all layers of the system together.

mod guest;
mod native;
mod sources;
mod uffd;

use anyhow::{Result, bail};
use clap::Args;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// Pages that are protected together, as in Appel and Li's benchmark.
pub const PAGES: usize = 100;
pub const PAGE: usize = 4096;
/// Rounds, of which the fastest counts.
pub const ROUNDS: usize = 20;

#[derive(Args)]
pub struct MicroArgs {
    /// Ticks are instructions: the machine is an emulator that counts.
    #[arg(long)]
    instructions: bool,
}

/// One figure.
pub struct Row {
    pub name: &'static str,
    /// Ticks of one operation.
    pub ticks: f64,
    /// Exits of the guest for it; natively there are none.
    pub exits: Option<f64>,
}

/// The time-stamp counter.
pub fn now() -> u64 {
    // SAFETY: reads a counter.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// The least of several rounds of `f`, which does `n` operations and returns its ticks.
pub fn least(n: usize, mut f: impl FnMut() -> u64) -> f64 {
    let ticks = (0..ROUNDS).map(|_| f()).min().unwrap_or(0);
    ticks as f64 / n as f64
}

/// Fresh pages, touched.
pub fn pages(count: usize) -> usize {
    // SAFETY: a new mapping, which is never unmapped.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            count * PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(at, libc::MAP_FAILED, "no memory");
    // SAFETY: the mapping just made.
    unsafe { libc::madvise(at, count * PAGE, libc::MADV_NOHUGEPAGE) };
    (0..count).for_each(|i| write(at as usize + i * PAGE));
    at as usize
}

/// Writes a byte.
pub fn write(at: usize) {
    let at = at as *mut u8;
    // SAFETY: callers pass addresses of mappings of their own; what faults is handled.
    unsafe { at.write_volatile(at.read_volatile().wrapping_add(1)) };
}

/// System calls and traps in a round.
pub const CALLS: usize = 1000;

/// Ticks of a system call.
pub fn system_calls() -> f64 {
    least(CALLS, || {
        let start = now();
        (0..CALLS).for_each(|_| {
            std::hint::black_box(std::os::unix::process::parent_id());
        });
        now() - start
    })
}

/// Ticks of a division by zero, whose handler skips it. (An invalid instruction is an exit on AMD's processors: KVM wants to see it.)
pub fn traps() -> f64 {
    least(CALLS, || {
        let start = now();
        // SAFETY: the handler goes on behind the two bytes.
        (0..CALLS).for_each(|_| unsafe {
            std::arch::asm!("div ecx", in("ecx") 0, inout("eax") 0 => _, inout("edx") 0 => _);
        });
        now() - start
    })
}

/// Ticks of the first write to a page that does not exist yet.
pub fn first_touches() -> f64 {
    let at = pages(PAGES);
    least(PAGES, || {
        // SAFETY: pages of our own, whose content is not used.
        unsafe { libc::madvise(at as *mut _, PAGES * PAGE, libc::MADV_DONTNEED) };
        let start = now();
        (0..PAGES).for_each(|i| write(at + i * PAGE));
        now() - start
    })
}

/// The page behind another one, in a ring.
pub fn other(start: usize, page: usize) -> usize {
    start + (page - start + PAGE) % (PAGES * PAGE)
}

/// Writes to each page in turn; the handler of each fault protects the next one. Ticks.
pub fn chase(at: usize) -> u64 {
    let start = now();
    (0..PAGES).for_each(|i| write(at + i * PAGE));
    now() - start
}

/// Runs `f` in a child process, because handlers and guest mode are there for good.
fn in_child(f: impl FnOnce() -> Result<Vec<Row>>) -> Result<Vec<(String, f64, Option<f64>)>> {
    let (mut from, mut to) = std::io::pipe()?;
    // SAFETY: this program has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let text = match f() {
            Ok(rows) => rows.iter().fold(String::new(), |text, r| {
                let exits = r.exits.map_or(String::new(), |e| e.to_string());
                text + &format!("{}\t{}\t{exits}\n", r.name, r.ticks)
            }),
            Err(e) => format!("error\t{e}\n"),
        };
        let failed = to.write_all(text.as_bytes()).is_err();
        // SAFETY: ends the child.
        unsafe { libc::_exit(failed.into()) };
    }
    drop(to);
    let mut text = String::new();
    from.read_to_string(&mut text)?;
    // SAFETY: waits for our own child.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    let mut rows = Vec::new();
    for line in text.lines() {
        let mut words = line.split('\t');
        let (name, ticks) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        if name == "error" {
            bail!("{ticks}");
        }
        let exits = words.next().and_then(|e| e.parse().ok());
        rows.push((name.to_owned(), ticks.parse()?, exits));
    }
    if rows.is_empty() {
        bail!("the process ended before it had measured anything");
    }
    Ok(rows)
}

/// Nanoseconds of a tick.
fn tick() -> f64 {
    let (start, ticks) = (Instant::now(), now());
    std::thread::sleep(Duration::from_millis(50));
    start.elapsed().as_nanos() as f64 / (now() - ticks) as f64
}

/// Measures everything that can be had here and prints one table in Markdown.
pub fn run(args: &MicroArgs) -> Result<()> {
    let scale = if args.instructions { 1.0 } else { tick() };
    let unit = if args.instructions {
        "instructions"
    } else {
        "ns"
    };
    let measured = [
        ("native", in_child(native::all)),
        ("guest mode", in_child(guest::all)),
    ];
    let mut names: Vec<String> = Vec::new();
    for (what, rows) in &measured {
        match rows {
            Ok(rows) => {
                for (name, ..) in rows {
                    if !names.contains(name) {
                        names.push(name.clone());
                    }
                }
            }
            Err(e) => println!("{what}: not measured: {e}"),
        }
    }
    println!("| operation | native, {unit} | guest mode, {unit} | exits | native / guest |");
    println!("|---|---:|---:|---:|---:|");
    for name in names {
        let find = |i: usize| {
            let rows = measured[i].1.as_ref().ok()?;
            rows.iter().find(|r| r.0 == name)
        };
        let (native, guest) = (find(0), find(1));
        let shown = |row: Option<&(String, f64, Option<f64>)>| {
            row.map_or("—".to_owned(), |r| format!("{:.0}", r.1 * scale))
        };
        let exits = guest.and_then(|r| r.2);
        let exits = exits.map_or("—".to_owned(), |e| format!("{e:.2}"));
        let ratio = native.zip(guest).map(|(n, g)| n.1 / g.1);
        let ratio = ratio.map_or("—".to_owned(), |r| format!("{r:.2}"));
        println!(
            "| {name} | {} | {} | {exits} | {ratio} |",
            shown(native),
            shown(guest)
        );
    }
    Ok(())
}
