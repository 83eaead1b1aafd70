//! Latency of redis-server as its clients see it, at a fixed rate of requests.
//!
//! Each of 20 connections has a request due every 2 ms, staggered, and the latency counts from when the request was
//! due, not from when it could be sent: a server that stands still for 10 ms delays all requests that fall due in that
//! time, and all of them count (no coordinated omission).

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::histogram::Histogram;
use crate::load::LoadMeter;
use crate::measure::{Invocation, Sample};
use crate::redis::{peak_rss_mib, with_server};

const CONNECTIONS: u32 = 20;
/// Requests per second over all connections.
const RATE: u32 = 10_000;
/// Keys that are set before anything is measured.
const KEYS: u64 = 200_000;

/// What the clients saw in one run.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// Half of the requests were answered within this time.
    pub p50_ms: f64,
    /// 99 % of them.
    pub p99_ms: f64,
    /// 99.9 % of them.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// All of them.
    pub histogram: Histogram,
}

/// One server, `seconds` of requests. The value of the sample is the 99.9th percentile in milliseconds.
pub fn run_once(what: &Invocation, seconds: f64, scratch: &Path) -> Result<(Sample, Latency)> {
    let meter = LoadMeter::start();
    let began = Instant::now();
    let ((histogram, rss_mib), exit) = with_server(what, scratch, |server, port| {
        let mut clients = Clients::connect(port)?;
        clients.fill()?;
        let histogram = clients.run(seconds)?;
        Ok((histogram, peak_rss_mib(server.id())?))
    })?;
    let ms = |q: f64| histogram.quantile(q).unwrap_or(0) as f64 / 1e6;
    let latency = Latency {
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        p999_ms: ms(0.999),
        max_ms: ms(1.0),
        histogram,
    };
    let sample = Sample {
        value: latency.p999_ms,
        wall_ms: began.elapsed().as_secs_f64() * 1e3,
        user_ms: exit.user.as_secs_f64() * 1e3,
        system_ms: exit.system.as_secs_f64() * 1e3,
        pause_max_ms: None,
        stops: None,
        stderr: String::new(),
        collections: None,
        rss_mib,
        foreign_load: meter.foreign(exit.user + exit.system),
        checksum: "none".to_owned(),
    };
    Ok((sample, latency))
}

/// One connection.
struct Client {
    stream: TcpStream,
    answer: Vec<u8>,
    /// When the next request is due, in nanoseconds since the start.
    due: u64,
    waits: bool,
}

struct Clients {
    all: Vec<Client>,
    random: u64,
}

impl Clients {
    fn connect(port: u16) -> Result<Self> {
        let connect = |_| -> Result<Client> {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            Ok(Client {
                stream,
                answer: Vec::new(),
                due: 0,
                waits: false,
            })
        };
        let all: Result<Vec<Client>> = (0..CONNECTIONS).map(connect).collect();
        Ok(Clients {
            all: all.context("cannot connect to redis-server")?,
            random: 88172645463325252,
        })
    }

    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Sets all keys, 100 at a time.
    fn fill(&mut self) -> Result<()> {
        let mut batch = Vec::new();
        for first in (0..KEYS).step_by(100) {
            batch.clear();
            for key in first..first + 100 {
                let length = 16 + self.draw() % 1000;
                set(&mut batch, key, length as usize);
            }
            let client = &mut self.all[0];
            client.stream.write_all(&batch)?;
            let mut left = 100;
            while left > 0 {
                client.receive()?;
                while let Some(length) = client.complete()? {
                    client.answer.drain(..length);
                    left -= 1;
                }
            }
        }
        Ok(())
    }

    /// A request: 4 of 10 read a string, 3 write one, the others work on lists and hashes.
    fn request(&mut self, out: &mut Vec<u8>) {
        let random = self.draw();
        let key = (random >> 32) % KEYS;
        out.clear();
        match random % 10 {
            0..=3 => command(out, &[b"GET", format!("key:{key}").as_bytes()]),
            4..=6 => set(out, key, 16 + (random >> 8) as usize % 1000),
            7 => {
                let list = format!("list:{}", key % 1000);
                command(out, &[b"LPUSH", list.as_bytes(), &[b'l'; 100]]);
            }
            8 => command(out, &[b"LPOP", format!("list:{}", key % 1000).as_bytes()]),
            _ => {
                let (hash, field) = (format!("hash:{}", key % 1000), format!("f{}", key % 50));
                command(
                    out,
                    &[b"HSET", hash.as_bytes(), field.as_bytes(), &[b'h'; 64]],
                );
            }
        }
    }

    /// Sends requests at [`RATE`] for `seconds`; times from due to answered.
    fn run(&mut self, seconds: f64) -> Result<Histogram> {
        let interval = u64::from(CONNECTIONS) * 1_000_000_000 / u64::from(RATE);
        let end = (seconds * 1e9) as u64;
        let mut polled: Vec<libc::pollfd> = Vec::new();
        for (k, client) in self.all.iter_mut().enumerate() {
            client.stream.set_nonblocking(true)?;
            client.due = k as u64 * interval / u64::from(CONNECTIONS);
            polled.push(libc::pollfd {
                fd: client.stream.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            });
        }
        let mut histogram = Histogram::default();
        let mut request = Vec::new();
        let began = Instant::now();
        loop {
            let now = began.elapsed().as_nanos() as u64;
            if now > end + 30_000_000_000 {
                bail!("redis-server was 30 s behind {RATE} requests per second");
            }
            for k in 0..self.all.len() {
                if !self.all[k].waits && self.all[k].due <= now && self.all[k].due < end {
                    self.request(&mut request);
                    self.all[k].stream.write_all(&request)?;
                    self.all[k].waits = true;
                }
            }
            if self.all.iter().all(|c| !c.waits && c.due >= end) {
                return Ok(histogram);
            }
            // SAFETY: `polled` is an array of that many valid pollfds, whose descriptors `self.all` keeps open.
            let ready = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, 0) };
            if ready <= 0 {
                continue;
            }
            for (client, poll) in self.all.iter_mut().zip(&polled) {
                if poll.revents == 0 {
                    continue;
                }
                client.receive()?;
                if let Some(length) = client.complete()? {
                    client.answer.drain(..length);
                    let now = began.elapsed().as_nanos() as u64;
                    histogram.record(now.saturating_sub(client.due));
                    client.due += interval;
                    client.waits = false;
                }
            }
        }
    }
}

impl Client {
    /// Reads what is there.
    fn receive(&mut self) -> Result<()> {
        let mut piece = [0; 4096];
        match self.stream.read(&mut piece) {
            Ok(0) => bail!("redis-server closed a connection"),
            Ok(n) => self.answer.extend_from_slice(&piece[..n]),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(e).context("cannot read from redis-server"),
        }
        Ok(())
    }

    /// Length of the first answer, if it is complete.
    fn complete(&self) -> Result<Option<usize>> {
        answer_length(&self.answer)
    }
}

/// Length of the answer at the start of `bytes`; none if it is not complete. Errors of the server are errors.
fn answer_length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let line = String::from_utf8_lossy(&bytes[1..end]);
    match bytes[0] {
        b'+' | b':' => Ok(Some(end + 2)),
        b'$' => {
            let length: i64 = line.parse().context("no length after $")?;
            let whole = end + 2 + usize::try_from(length).map_or(0, |n| n + 2);
            Ok((bytes.len() >= whole).then_some(whole))
        }
        _ => bail!("redis-server answered {line:?}"),
    }
}

fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn set(out: &mut Vec<u8>, key: u64, length: usize) {
    let name = format!("key:{key}");
    command(out, &[b"SET", name.as_bytes(), &vec![b'v'; length]]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn answers_end_where_the_protocol_says() {
        let length = |bytes: &[u8]| answer_length(bytes).unwrap();
        assert_eq!(length(b"+OK\r\n+OK\r\n"), Some(5));
        assert_eq!(length(b"$5\r\nhello\r\nrest"), Some(11));
        assert_eq!(length(b"$5\r\nhello\r"), None);
        assert_eq!(length(b"$-1\r\n"), Some(5));
        assert_eq!(length(b":12"), None);
        assert!(answer_length(b"-ERR no\r\n").is_err());
    }

    /// A server that answers every request at once, but stands still for 100 ms after half a second.
    fn stubborn_server() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let mut streams: Vec<TcpStream> = (0..CONNECTIONS)
                .map(|_| listener.accept().unwrap().0)
                .collect();
            for stream in &mut streams {
                stream.set_nonblocking(true).unwrap();
            }
            let (began, mut stood_still) = (Instant::now(), false);
            let mut bytes = [0; 65536];
            loop {
                if !stood_still && began.elapsed() > Duration::from_millis(500) {
                    stood_still = true;
                    std::thread::sleep(Duration::from_millis(100));
                }
                for stream in &mut streams {
                    match stream.read(&mut bytes) {
                        Ok(0) => return,
                        Ok(_) => drop(stream.write_all(b"+OK\r\n")),
                        Err(_) => {}
                    }
                }
            }
        });
        port
    }

    #[test]
    fn requests_that_fall_due_while_the_server_stands_still_count() {
        let mut clients = Clients::connect(stubborn_server()).unwrap();
        let histogram = clients.run(1.0).unwrap();
        assert_eq!(histogram.total(), u64::from(RATE));
        // A tenth of the requests fell due in those 100 ms; one request per connection would be 0.2 %.
        let slow = 1.0 - 0.04;
        let p96 = histogram.quantile(slow).unwrap();
        assert!(p96 > 40_000_000, "{p96} ns");
    }
}
