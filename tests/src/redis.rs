//! redis-server and redis-benchmark, under whatever a test runs them.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use crate::run::{Run, need, scratch};

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind a port");
    listener.local_addr().expect("its address").port()
}

/// What a command is run under.
pub type Under<'a> = &'a dyn Fn(Run) -> Run;

/// A running server; killed when dropped.
struct Server<'a> {
    child: Child,
    port: u16,
    under: Under<'a>,
}

impl<'a> Server<'a> {
    fn start(dir: &Path, under: Under<'a>) -> Self {
        let port = free_port();
        let run = Run::new("redis-server").dir(dir).args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--appendonly",
            "yes",
            "--save",
            "1 1000",
            "--enable-debug-command",
            "yes",
            "--activedefrag",
            "no",
        ]);
        let mut command = under(run).command();
        command.stdout(File::create(dir.join("log")).expect("create the log"));
        command.stderr(File::create(dir.join("errors")).expect("create the log"));
        let child = command.spawn().expect("start redis-server");
        let server = Self { child, port, under };
        let start = Instant::now();
        while server.cli(&["ping"]).ok() != Some("PONG\n".into()) {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "redis-server does not answer\n{}",
                log(dir)
            );
            thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// A command by redis-cli, itself under the same.
    fn cli(&self, args: &[&str]) -> Result<String, String> {
        let run = Run::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(args);
        let outcome = (self.under)(run).output();
        if outcome.status.success() {
            Ok(outcome.stdout)
        } else {
            Err(outcome.to_string())
        }
    }

    fn ask(&self, args: &[&str]) -> String {
        self.cli(args).unwrap_or_else(|error| panic!("{error}"))
    }

    fn benchmark(&self) {
        let run = Run::new("redis-benchmark")
            .args(["-p", &self.port.to_string()])
            .args([
                "-q",
                "-n",
                "10000",
                "-c",
                "20",
                "-r",
                "5000",
                "-d",
                "100",
                "--threads",
                "2",
            ])
            .args(["-t", "set,get,incr,lpush,lrange_100,sadd,hset,zadd,mset"]);
        let outcome = (self.under)(run).ok();
        let measured = outcome.stdout.matches("requests per second").count();
        assert!(measured >= 9, "{outcome}");
        assert!(!outcome.stdout.contains("Error"), "{outcome}");
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log(dir: &Path) -> String {
    fs::read_to_string(dir.join("log")).unwrap_or_default()
        + &fs::read_to_string(dir.join("errors")).unwrap_or_default()
}

/// A server's life, with benchmarks, forks to save, and a reload: the data at its end, as redis digests it, and what the server wrote to standard error.
///
/// # Panics
/// Something of redis is missing, or went wrong.
pub fn redis_session(under: Under) -> (String, String) {
    need("redis-server", "redis-server");
    need("redis-benchmark", "redis-tools");
    let dir = scratch("redis");
    let mut server = Server::start(&dir, under);
    server.benchmark();
    assert_eq!(server.ask(&["flushall"]), "OK\n");
    let mut commands = String::new();
    for i in 0..30_000 {
        commands.push_str(&format!("SET key:{i} {}\n", "v".repeat(i % 300 + 1)));
        commands.push_str(&format!("HSET hash:{} field{i} value{i}\n", i % 100));
        commands.push_str(&format!("RPUSH list:{} element{i}\n", i % 50));
        if i % 3 == 0 {
            commands.push_str(&format!("DEL key:{}\n", i / 2));
        }
        if i % 5 == 0 {
            commands.push_str(&format!("ZADD sorted:{} {i} member{i}\n", i % 10));
        }
    }
    let load = Run::new("redis-cli")
        .args(["-p", &server.port.to_string(), "--pipe"])
        .stdin(commands)
        .ok();
    assert!(load.stdout.contains("errors: 0"), "{load}");
    // Both fork.
    server.ask(&["bgsave"]);
    let saved = |server: &Server| server.ask(&["info", "persistence"]);
    let start = Instant::now();
    while saved(&server).contains("rdb_bgsave_in_progress:1")
        && start.elapsed() < Duration::from_secs(60)
    {
        thread::sleep(Duration::from_millis(50));
    }
    let persistence = saved(&server);
    assert!(
        persistence.contains("rdb_last_bgsave_status:ok"),
        "{persistence}\n{}",
        log(&dir)
    );
    server.ask(&["bgrewriteaof"]);
    while saved(&server).contains("aof_rewrite_in_progress:1")
        && start.elapsed() < Duration::from_secs(60)
    {
        thread::sleep(Duration::from_millis(50));
    }
    let persistence = saved(&server);
    assert!(
        persistence.contains("aof_last_bgrewrite_status:ok"),
        "{persistence}\n{}",
        log(&dir)
    );
    let digest = server.ask(&["debug", "digest"]);
    // Reads everything back from what was saved.
    assert_eq!(server.ask(&["debug", "reload"]), "OK\n", "{}", log(&dir));
    assert_eq!(server.ask(&["debug", "digest"]), digest);
    server.benchmark();
    let _ = server.cli(&["shutdown", "nosave"]);
    let status = server.child.wait().expect("wait for redis-server");
    assert!(status.success(), "{status}\n{}", log(&dir));
    let errors = fs::read_to_string(dir.join("errors")).unwrap_or_default();
    let _ = fs::remove_dir_all(dir);
    (digest, errors)
}
