//! redis-server under a preloaded allocator, loaded by redis-benchmark over the loopback interface.

pub mod latency;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::load::LoadMeter;
use crate::measure::{Exit, Invocation, Sample, last_lines, wait};

/// Commands of redis-benchmark that are measured; the value is the geometric mean of their rates.
const COMMANDS: &str = "set,get,incr,lpush,lpop,sadd,hset";

/// Whether both programs are installed.
pub fn is_installed() -> bool {
    ["redis-server", "redis-benchmark"].iter().all(|name| {
        let version = Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        version.is_ok_and(|s| s.success())
    })
}

/// Starts a server, lets `work` talk to it, ends it. `work` gets the server and its port.
fn with_server<T>(
    what: &Invocation,
    scratch: &Path,
    work: impl FnOnce(&mut Child, u16) -> Result<T>,
) -> Result<(T, Exit)> {
    let port = free_port()?;
    let log = scratch.join("redis.txt");
    let mut command = what.command();
    command.args([
        "--bind",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--save",
        "",
        "--appendonly",
        "no",
    ]);
    command.arg("--dir").arg(scratch).stdin(Stdio::null());
    let log_file =
        File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
    command.stdout(log_file.try_clone()?).stderr(log_file);

    let mut server = command.spawn().context("cannot start redis-server")?;
    let result = wait_until_ready(&mut server, port).and_then(|()| work(&mut server, port));
    match result {
        Ok(_) => drop(talk(port, "SHUTDOWN NOSAVE\r\n")),
        Err(_) => drop(server.kill()),
    }
    let exit = wait(&mut server, Duration::from_secs(20));
    let text = || last_lines(&std::fs::read_to_string(&log).unwrap_or_default(), 3);
    let measured = result.with_context(|| format!("redis-server's log ends: {}", text()))?;
    let exit = exit.context("redis-server did not stop after SHUTDOWN")?;
    if !exit.status.success() {
        bail!("redis-server: {}; its log ends: {}", exit.status, text());
    }
    Ok((measured, exit))
}

/// One server, one benchmark. The value of the sample is requests per second.
pub fn run_once(
    what: &Invocation,
    pipeline: u32,
    requests: u32,
    scratch: &Path,
    timeout: Duration,
) -> Result<Sample> {
    let meter = LoadMeter::start();
    let began = Instant::now();
    let (measured, exit) = with_server(what, scratch, |server, port| {
        measure(server, port, pipeline, requests, timeout)
    })?;
    Ok(Sample {
        value: measured.requests_per_second,
        wall_ms: began.elapsed().as_secs_f64() * 1e3,
        user_ms: exit.user.as_secs_f64() * 1e3,
        system_ms: exit.system.as_secs_f64() * 1e3,
        pause_max_ms: None,
        stops: None,
        stderr: String::new(),
        collections: None,
        rss_mib: measured.rss_mib,
        foreign_load: meter.foreign(exit.user + exit.system + measured.client_cpu),
        checksum: "none".to_owned(),
    })
}

struct Measured {
    requests_per_second: f64,
    rss_mib: f64,
    client_cpu: Duration,
}

fn measure(
    server: &mut Child,
    port: u16,
    pipeline: u32,
    requests: u32,
    timeout: Duration,
) -> Result<Measured> {
    let mut client = Command::new("redis-benchmark");
    client.args([
        "-h",
        "127.0.0.1",
        "-p",
        &port.to_string(),
        "-t",
        COMMANDS,
        "--csv",
        "-c",
        "20",
        "-d",
        "100",
    ]);
    client.args([
        "-r",
        "100000",
        "-n",
        &requests.to_string(),
        "-P",
        &pipeline.to_string(),
    ]);
    client
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut client = client.spawn().context("cannot start redis-benchmark")?;
    let mut output = client
        .stdout
        .take()
        .context("redis-benchmark has no stdout")?;
    let exit = wait(&mut client, timeout).context("redis-benchmark")?;
    let mut text = String::new();
    output.read_to_string(&mut text)?;
    if !exit.status.success() {
        bail!("redis-benchmark: {}", exit.status);
    }
    let rates = parse_rates(&text)?;
    if rates.len() != COMMANDS.split(',').count() {
        bail!(
            "redis-benchmark gave {} rates, expected one for each of {COMMANDS}",
            rates.len()
        );
    }
    let rss_mib = peak_rss_mib(server.id())?;
    Ok(Measured {
        requests_per_second: crate::summary::geometric_mean(&rates),
        rss_mib,
        client_cpu: exit.user + exit.system,
    })
}

/// Rates of `redis-benchmark --csv`: the second column of every line but the first.
fn parse_rates(csv: &str) -> Result<Vec<f64>> {
    csv.lines()
        .skip(1)
        .map(|line| {
            let field = line.split(',').nth(1).unwrap_or("").trim_matches('"');
            let rate = field.parse::<f64>().ok().filter(|rate| *rate > 0.0);
            rate.with_context(|| {
                format!("expected \"name\",\"rate\",… from redis-benchmark, got {line:?}")
            })
        })
        .collect()
}

fn peak_rss_mib(pid: u32) -> Result<f64> {
    let text =
        std::fs::read_to_string(format!("/proc/{pid}/status")).context("redis-server is gone")?;
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .context("no VmHWM in /proc/PID/status")?;
    let kib: f64 = line
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .context("VmHWM is not a number")?;
    Ok(kib / 1024.0)
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

fn talk(port: u16, request: &str) -> Result<String> {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let mut stream = TcpStream::connect_timeout(&address.into(), Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = [0; 64];
    let n = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..n]).into_owned())
}

fn wait_until_ready(server: &mut Child, port: u16) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if talk(port, "PING\r\n").is_ok_and(|answer| answer.starts_with("+PONG")) {
            return Ok(());
        }
        if !Path::new(&format!("/proc/{}/fd/0", server.id())).exists() {
            bail!("redis-server ended before it answered");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("redis-server did not answer PING on port {port} within 10 s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_the_second_column() {
        let csv = "\"test\",\"rps\",\"avg\"\n\"SET\",\"86956.52\",\"0.3\"\n\"GET\",\"93457.95\",\"0.2\"\n";
        assert_eq!(parse_rates(csv).unwrap(), [86956.52, 93457.95]);
        assert!(parse_rates("head\n\"SET\",\"nan-ish\"\n").is_err());
    }
}
