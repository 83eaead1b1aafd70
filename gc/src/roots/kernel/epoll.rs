//! Data of epoll entries (`epoll_event.data`), from the `tfd:` lines of the descriptor's `fdinfo`.

use super::descriptors::fdinfo;
use super::{Pass, Unseen, os};

pub(super) fn read(pass: &mut Pass<'_>, fd: i32, scratch: &mut [u8]) {
    let read = fdinfo(&mut pass.room, fd).and_then(|info| {
        os::lines(&info, scratch, |line| {
            if let Some(data) = data(line) {
                (pass.emit)(data);
            }
        })
    });
    if let Err(e) = read {
        pass.missed(Unseen::PROC, e);
    }
}

/// The data in a line `tfd: FD events: HEX data: HEX …`.
fn data(line: &[u8]) -> Option<usize> {
    let data = os::after(line.strip_prefix(b"tfd:")?, b"data:")?;
    Some(os::number(data, 16)? as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_file() {
        let line = b"tfd:        4 events:       19 data:     7f0012345678  pos:0 ino:c990 sdev:f";
        assert_eq!(data(line), Some(0x7f00_1234_5678));
        assert_eq!(
            data(b"tfd:        4 events: 80000019 data: ffffffffffffffff "),
            Some(usize::MAX)
        );
        assert_eq!(data(b"ino:\t1038"), None);
    }
}
