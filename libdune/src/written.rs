//! What the kernel writes to the program's memory in a system call.

use crate::arch::address::USER_END;
use crate::process::Process;
use crate::sys;

/// What a call may write.
enum Output {
    /// Nothing.
    Nothing,
    /// At most a page at each of these arguments, bit by bit; what is no address does not matter.
    Pages(u8),
    /// So many bytes at this argument, if it succeeded.
    Bytes(usize, u64),
    /// What the vector of this argument describes, with as many parts as the next one says.
    Vector(usize),
    /// What a message header says.
    Message,
    /// As many message headers as were dealt with.
    Messages,
    /// Anything.
    Anything,
    /// Anything, at any time from now on.
    AnyTime,
}

use Output::*;

/// Numbers up to here are known: those that are not named below write at most a page at each argument.
const LAST_KNOWN: i64 = 450;
const ALL: u8 = 0b11_1111;

fn output(number: i64, args: &[u64; 6], result: u64) -> Output {
    const IO_GETEVENTS: i64 = libc::SYS_io_getevents;
    match number {
        libc::SYS_write
        | libc::SYS_pwrite64
        | libc::SYS_writev
        | libc::SYS_pwritev
        | libc::SYS_sendto
        | libc::SYS_sendmsg
        | libc::SYS_open
        | libc::SYS_openat
        | libc::SYS_close
        | libc::SYS_lseek
        | libc::SYS_access
        | libc::SYS_mmap
        | libc::SYS_munmap
        | libc::SYS_mprotect
        | libc::SYS_mremap
        | libc::SYS_brk
        | libc::SYS_madvise
        | libc::SYS_sched_yield
        | libc::SYS_dup
        | libc::SYS_dup2
        | libc::SYS_dup3
        | libc::SYS_getpid
        | libc::SYS_gettid
        | libc::SYS_kill
        | libc::SYS_tgkill
        | libc::SYS_rt_sigprocmask
        | libc::SYS_rt_sigaction
        | libc::SYS_rt_sigsuspend
        | libc::SYS_rt_sigqueueinfo
        | libc::SYS_rt_tgsigqueueinfo
        | libc::SYS_sigaltstack
        | libc::SYS_socket
        | libc::SYS_connect
        | libc::SYS_bind
        | libc::SYS_listen
        | libc::SYS_shutdown
        | libc::SYS_setsockopt
        | libc::SYS_epoll_ctl
        | libc::SYS_exit
        | libc::SYS_exit_group
        | libc::SYS_execve
        | libc::SYS_set_robust_list => Nothing,
        // FUTEX_WAIT, WAKE, REQUEUE, CMP_REQUEUE and those with bit sets.
        libc::SYS_futex => match args[1] & 0x7f {
            0 | 1 | 3 | 4 | 9 | 10 => Nothing,
            _ => Pages(0b1_0001),
        },
        libc::SYS_fstat | libc::SYS_stat | libc::SYS_lstat | libc::SYS_clock_gettime => Pages(0b10),
        libc::SYS_newfstatat => Pages(0b100),
        libc::SYS_nanosleep => Pages(0b10),
        libc::SYS_clock_nanosleep => Pages(0b1000),
        libc::SYS_wait4 => Pages(0b1010),
        libc::SYS_pipe | libc::SYS_pipe2 | libc::SYS_uname => Pages(1),
        libc::SYS_accept | libc::SYS_accept4 => Pages(0b110),
        // A terminal's. Others may hold addresses of more.
        libc::SYS_ioctl if args[1] >> 8 & 0xff == 0x54 => Pages(0b100),
        libc::SYS_read | libc::SYS_pread64 | libc::SYS_readlink => Bytes(1, result),
        libc::SYS_getdents | libc::SYS_getdents64 | libc::SYS_syslog => Bytes(1, result),
        libc::SYS_listxattr | libc::SYS_llistxattr | libc::SYS_flistxattr => Bytes(1, result),
        libc::SYS_getxattr | libc::SYS_lgetxattr | libc::SYS_fgetxattr => Bytes(2, result),
        libc::SYS_readlinkat | libc::SYS_sched_getaffinity => Bytes(2, result),
        libc::SYS_getcwd | libc::SYS_getrandom => Bytes(0, result),
        libc::SYS_msgrcv => Bytes(1, result.saturating_add(8)),
        libc::SYS_getgroups => Bytes(1, result.saturating_mul(4)),
        libc::SYS_mincore => Bytes(2, args[1] / 4096 + 1),
        libc::SYS_poll | libc::SYS_ppoll => Bytes(0, args[1].saturating_mul(8)),
        libc::SYS_epoll_wait | libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => {
            Bytes(1, result.saturating_mul(12))
        }
        libc::SYS_sendmmsg => Bytes(1, result.saturating_mul(64)),
        libc::SYS_select | libc::SYS_pselect6 if args[0] <= 32768 => Pages(0b1_1110),
        // With MSG_TRUNC the result is longer than the buffer.
        libc::SYS_recvfrom => Bytes(1, result.min(args[2])),
        libc::SYS_readv | libc::SYS_preadv | libc::SYS_preadv2 | libc::SYS_process_vm_readv => {
            Vector(1)
        }
        libc::SYS_recvmsg => Message,
        libc::SYS_recvmmsg => Messages,
        libc::SYS_io_setup
        | libc::SYS_io_submit
        | IO_GETEVENTS
        | libc::SYS_io_uring_setup
        | libc::SYS_io_uring_enter
        | libc::SYS_io_uring_register => AnyTime,
        libc::SYS_ioctl
        | libc::SYS_select
        | libc::SYS_pselect6
        | libc::SYS_process_vm_writev
        | libc::SYS_vmsplice
        | libc::SYS_semctl
        | libc::SYS_keyctl
        | libc::SYS_bpf
        | libc::SYS_quotactl
        | libc::SYS_move_pages
        | libc::SYS_get_mempolicy
        | libc::SYS_lookup_dcookie => Anything,
        0..=LAST_KNOWN => Pages(ALL),
        _ => Anything,
    }
}

impl Process {
    /// Marks what a call of the program's has written. After the call, before the program goes on.
    pub fn mark_written(&self, number: i64, args: &[u64; 6], result: i64) {
        if matches!(number, libc::SYS_io_uring_setup | libc::SYS_io_setup) && result >= 0 {
            // This counts even if nobody looks yet.
            self.watch.anything_any_time();
        }
        if !self.watch.is_on() {
            return;
        }
        let count = result.max(0) as u64;
        if result == -i64::from(libc::EFAULT) {
            // Something may have been written before the bad address.
            return self.watch.anything();
        }
        match output(number, args, count) {
            Nothing => {}
            Pages(which) => {
                let mut fields = [0u64; 4];
                if number == libc::SYS_clone3
                    && sys::read_from(args[0], fields.as_mut_ptr().cast(), 32)
                {
                    // Descriptor and numbers of the new thread.
                    fields[1..].iter().for_each(|at| self.wrote_page(*at));
                }
                (0..6)
                    .filter(|i| which >> i & 1 != 0)
                    .for_each(|i| self.wrote_page(args[i]));
            }
            Bytes(at, len) => {
                // Without events, those that there were before are cleared.
                let always = [libc::SYS_poll, libc::SYS_ppoll, libc::SYS_mincore];
                if result > 0 || result == 0 && always.contains(&number) {
                    self.wrote(args[at], len);
                }
                // What else these calls write are times and addresses of peers.
                match number {
                    libc::SYS_recvfrom => {
                        self.wrote_page(args[4]);
                        self.wrote_page(args[5]);
                    }
                    libc::SYS_ppoll => self.wrote_page(args[2]),
                    _ => {}
                }
            }
            Vector(at) => self.wrote_vector(args[at], args[at + 1]),
            Message => self.wrote_message(args[1]),
            Messages => {
                (0..count).for_each(|i| self.wrote_message(args[1].saturating_add(i * 64)));
                self.wrote_page(args[4]);
            }
            Anything => self.watch.anything(),
            AnyTime => self.watch.anything_any_time(),
        }
    }

    fn wrote_page(&self, at: u64) {
        if (1 << 16..USER_END).contains(&at) {
            self.wrote(at, 4096);
        }
    }

    /// Parts of at most `count`, each an address and a length.
    fn wrote_vector(&self, at: u64, count: u64) {
        for i in 0..count.min(1024) {
            let mut part = [0u64; 2];
            if !sys::read_from(at + i * 16, part.as_mut_ptr().cast(), 16) {
                return self.watch.anything();
            }
            self.wrote(part[0], part[1]);
        }
    }

    fn wrote_message(&self, at: u64) {
        // Name and its length, vector and its length, control data and their length, flags.
        let mut header = [0u64; 7];
        if !sys::read_from(at, header.as_mut_ptr().cast(), 56) {
            return self.watch.anything();
        }
        self.wrote_page(at);
        self.wrote_page(header[0]);
        self.wrote_vector(header[2], header[3]);
        self.wrote(header[4], header[5]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_may_write_anything() {
        assert!(matches!(output(10_000, &[0; 6], 0), Anything));
        assert!(matches!(output(-1, &[0; 6], 0), Anything));
        assert!(matches!(
            output(libc::SYS_ioctl, &[0, 0x8912, 0, 0, 0, 0], 0),
            Anything
        ));
        assert!(matches!(
            output(libc::SYS_io_uring_setup, &[0; 6], 3),
            AnyTime
        ));
        assert!(matches!(output(libc::SYS_read, &[0; 6], 9), Bytes(1, 9)));
    }
}
