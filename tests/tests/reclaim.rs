//! Reclaim mode: leaks go, blocks whose only pointer the kernel holds stay.

use dunegc_tests::{Mode, Run, compile, in_modes};

fn kernel_held(name: &str) {
    in_modes(&Run::new(compile("kernel_held")).arg(name));
}

macro_rules! kernel_cases {
    ($($test:ident: $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                kernel_held($name);
            }
        )*
    };
}

kernel_cases! {
    epoll_data: "epoll",
    epoll_data_set_later: "epoll-modify",
    timer_sigval: "timer-signal",
    timer_thread_sigval: "timer-thread",
    queued_signal_value: "sigqueue",
    io_uring_user_data: "io-uring",
    io_uring_user_data_after_the_ring_wrapped: "io-uring-wrapped",
    thread_argument: "thread-argument",
    pointer_in_a_pipe: "pipe",
    pointer_in_a_pipe_message: "pipe-message",
    pointer_in_a_stream_socket: "socketpair",
    pointer_in_a_stream_socket_message: "socketpair-message",
    pointer_in_a_datagram: "socketpair-datagram",
    pointer_in_a_datagram_message: "socketpair-datagram-message",
}

/// Timers that start threads do all that glibc's do, and collections go on meanwhile.
#[test]
fn timers_that_start_threads() {
    in_modes(&Run::new(compile("timer_thread")));
}

#[test]
fn epoll_server_whose_connections_only_epoll_knows() {
    in_modes(&Run::new(compile("epoll_server")));
}

#[test]
fn after_two_collections_or_one_where_memory_is_short() {
    let run = Run::new(compile("two_cycles"))
        .env("DUNEGC_MAX_HEAP", "64M")
        .mode(Mode::Reclaim)
        .no_zeal();
    assert_eq!(run.ok().stdout, "ok\n");
}

/// 10 GB in pieces of 100 bytes.
fn leak(run: Run) {
    let outcome = run.mode(Mode::Reclaim).no_zeal().limit(300).ok();
    assert_eq!(outcome.stdout, "ok\n", "{outcome}");
    println!("10 GB leaked in {:.1} s", outcome.took.as_secs_f64());
}

#[test]
fn ten_gigabytes_of_leaks_under_rlimit_as() {
    // prlimit sets the limit for itself, so that LD_PRELOAD takes effect in the program alone.
    let program = compile("leak_ten_gigabytes");
    leak(Run::new("prlimit").arg("--as=536870912").arg(program));
}

#[test]
fn ten_gigabytes_of_leaks_under_max_heap() {
    leak(Run::new(compile("leak_ten_gigabytes")).env("DUNEGC_MAX_HEAP", "512M"));
}

#[test]
fn leaks_without_reclaim_exhaust_the_limit() {
    // The data limit keeps the machine alive should the heap limit not hold.
    let outcome = Run::new("prlimit")
        .arg("--data=4294967296")
        .arg(compile("leak_ten_gigabytes"))
        .env("DUNEGC_MAX_HEAP", "512M")
        .mode(Mode::Malloc)
        .no_zeal()
        .output();
    assert_eq!(outcome.code(), 1, "{outcome}");
    assert!(outcome.stderr.contains("malloc failed after"), "{outcome}");
    assert!(
        outcome.stderr.contains("Cannot allocate memory"),
        "{outcome}"
    );
}
