//! The USDT probes in the library: their notes, read as a tracer reads them.

use std::collections::BTreeSet;
use std::fs;

use dunegc_tests::{library, workspace};

/// A little-endian ELF file of 64 bits.
struct Elf(Vec<u8>);

struct Section {
    name: String,
    flags: u64,
    addr: u64,
    offset: usize,
    size: usize,
}

/// Section flags of ELF.
const WRITE: u64 = 1;
const EXECUTE: u64 = 4;

impl Elf {
    fn number(&self, at: usize, bytes: usize) -> u64 {
        let mut value = [0; 8];
        value[..bytes].copy_from_slice(&self.0[at..at + bytes]);
        u64::from_le_bytes(value)
    }

    fn string(&self, at: usize) -> String {
        let bytes = self.0[at..].split(|&b| b == 0).next().expect("a string");
        String::from_utf8(bytes.to_vec()).expect("UTF-8")
    }

    fn sections(&self) -> Vec<Section> {
        assert_eq!(self.0[..6], *b"\x7fELF\x02\x01");
        let (table, size) = (self.number(40, 8) as usize, self.number(58, 2) as usize);
        let (count, names) = (self.number(60, 2) as usize, self.number(62, 2) as usize);
        let names = self.number(table + names * size + 24, 8) as usize;
        (0..count)
            .map(|i| {
                let at = table + i * size;
                Section {
                    name: self.string(names + self.number(at, 4) as usize),
                    flags: self.number(at + 8, 8),
                    addr: self.number(at + 16, 8),
                    offset: self.number(at + 24, 8) as usize,
                    size: self.number(at + 32, 8) as usize,
                }
            })
            .collect()
    }
}

/// The probes that the table of events in `docs/tracing.md` promises, with the number of their arguments.
fn documented() -> BTreeSet<(String, usize)> {
    let path = workspace().join("docs/tracing.md");
    let text = fs::read_to_string(path).expect("the document");
    let table = text
        .split("| name | argument | what |")
        .nth(1)
        .expect("the table");
    let mut probes = BTreeSet::new();
    for row in table.lines().skip(2).take_while(|l| l.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`');
        if cells[3].starts_with("a moment") || cells[3].starts_with("a figure") {
            probes.insert((name.to_owned(), 1));
        } else {
            probes.insert((format!("{name}__begin"), 0));
            probes.insert((format!("{name}__end"), 1));
        }
    }
    probes
}

#[test]
fn every_event_has_its_probe() {
    let elf = Elf(fs::read(library()).expect("the library"));
    let sections = elf.sections();
    let section = |name: &str| {
        let found = sections.iter().find(|s| s.name == name);
        found.unwrap_or_else(|| panic!("no section {name}"))
    };
    let holder = |addr: u64| {
        let holds = |s: &&Section| s.addr <= addr && addr < s.addr + s.size as u64;
        let found = sections.iter().filter(|s| s.addr != 0).find(holds);
        found.unwrap_or_else(|| panic!("{addr:#x} is in no section"))
    };
    let base_section = section(".stapsdt.base");
    let base = base_section.addr;
    assert!(base > 0);
    let notes = section(".note.stapsdt");
    let (mut at, end) = (notes.offset, notes.offset + notes.size);
    let mut probes = BTreeSet::new();
    let mut places = BTreeSet::new();
    while at < end {
        let header = (
            elf.number(at, 4),
            elf.number(at + 4, 4),
            elf.number(at + 8, 4),
        );
        assert_eq!((header.0, header.2), (8, 3), "owner's length, and type");
        assert_eq!(elf.string(at + 12), "stapsdt");
        let body = at + 20;
        let next = body + header.1 as usize;
        let (place, semaphore) = (elf.number(body, 8), elf.number(body + 16, 8));
        assert_eq!(elf.number(body + 8, 8), base);
        let code = holder(place);
        assert!(code.flags & EXECUTE != 0, "{}", code.name);
        // perf finds the place in the file by the base's.
        let shift = |s: &Section| s.addr - s.offset as u64;
        assert_eq!(shift(base_section), shift(code), "address less offset");
        let nop = elf.0[code.offset + (place - code.addr) as usize];
        assert_eq!(nop, 0x90, "at {place:#x}");
        let word = holder(semaphore);
        assert!(
            word.name == ".probes" && word.flags & WRITE != 0,
            "{}",
            word.name
        );
        assert_eq!(
            elf.number(word.offset + (semaphore - word.addr) as usize, 2),
            0
        );
        let provider = elf.string(body + 24);
        let name_at = body + 24 + provider.len() + 1;
        let name = elf.string(name_at);
        let arguments = elf.string(name_at + name.len() + 1);
        assert_eq!(provider, "dunegc");
        assert_eq!(
            name_at + name.len() + 1 + arguments.len() + 1,
            next,
            "{name}"
        );
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        assert!(
            arguments.iter().all(|a| a.starts_with("8@%r")),
            "{arguments:?}"
        );
        assert!(places.insert(place), "two probes at {place:#x}");
        assert!(
            probes.insert((name.clone(), arguments.len())),
            "{name} twice"
        );
        at = next.next_multiple_of(4);
    }
    assert_eq!(probes, documented());
}
