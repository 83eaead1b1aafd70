use super::*;
use std::vec::Vec;

/// As Linux 6.8 writes it, shortened.
const TEXT: &str = "pos:\t0\nflags:\t02000002\nSqMask:\t0x7\nSqHead:\t9\nSqTail:\t10\nCachedSqHead:\t9\nCqMask:\t0xf\nCqHead:\t5\n\
    CqTail:\t6\nCachedCqTail:\t6\nSQEs:\t1\n    1: opcode:READ, fd:5, flags:0, off:0, addr:0x7f0000001000, rw_flags:0x0, \
    buf_index:0 user_data:139637976731648\nCQEs:\t1\n    5: user_data:139637976735744, res:1, flag:0\nSqThread:\t-1\n\
    UserFiles:\t1\n    0: x user_data\nUserBufs:\t2\n    0: 0x7f0000009000/4096\n    1: <none>\nPollList:\n  op=6, task_works=0\n\
    CqOverflowList:\n  user_data=4660, res=0, flags=0\nNAPI:\tdisabled\n";

fn parse(text: &str) -> (State, Vec<usize>) {
    let (mut state, mut words) = (State::default(), Vec::new());
    for line in text.lines() {
        state.line(line.as_bytes(), &mut |w| words.push(w));
    }
    (state, words)
}

#[test]
fn every_section() {
    let (state, words) = parse(TEXT);
    assert_eq!(
        words,
        [
            139_637_976_731_648,
            0x7f00_0000_1000,
            139_637_976_735_744,
            0x7f00_0000_9000,
            4660
        ]
    );
    let want = State {
        mask: Some(7),
        taken: Some(9),
        posted: Some(6),
        overflowed: 1,
        armed: 1,
        section: Section::Other,
    };
    assert_eq!(state, want);
}

#[test]
fn flight() {
    let state = |taken, posted, overflowed, armed| {
        State {
            mask: Some(7),
            taken: Some(taken),
            posted: Some(posted),
            overflowed,
            armed,
            section: Section::Other,
        }
        .flight()
    };
    assert_eq!(state(0, 0, 0, 0), Some(Flight::None));
    assert_eq!(state(8, 0, 0, 0), Some(Flight::Visible));
    assert_eq!(state(8, 8, 0, 1), Some(Flight::Visible));
    assert_eq!(state(9, 8, 0, 0), Some(Flight::Hidden));
    assert_eq!(state(9, 8, 1, 0), Some(Flight::None));
    assert_eq!(state(9, 9, 0, 1), Some(Flight::Hidden));
    // Repeating requests complete more often than they are taken.
    assert_eq!(state(9, 12, 0, 0), Some(Flight::Hidden));
    assert_eq!(state(3, u32::MAX, 4, 0), Some(Flight::None));
    assert_eq!(State::default().flight(), None);
    assert_eq!(
        parse("pos:\t0\nSqThread:\t-1\nUserFiles:\t0\nUserBufs:\t0\nPollList:\n")
            .0
            .flight(),
        None
    );
}

#[test]
fn a_completion_with_more_to_come() {
    let more = TEXT.replace("res:1, flag:0", "res:1, flag:2");
    assert_eq!(parse(&more).0.armed, 2);
}

#[test]
fn rings_without_a_descriptor() {
    let mut rings = Rings::default();
    assert!(!rings.orphan());
    rings.mapped(7);
    rings.mapped(7);
    rings.mapped(8);
    rings.opened(7);
    rings.opened(7);
    assert!(rings.orphan());
    rings.opened(8);
    rings.opened(9);
    assert!(!rings.orphan());
    for i in 0..=RINGS as u64 {
        rings.mapped(i);
    }
    for i in 0..=RINGS as u64 {
        rings.opened(i);
    }
    assert!(rings.orphan());
}
