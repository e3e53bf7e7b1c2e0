//! A limiter in Redis: a fixed window in Lua, and `WAIT` until a replica has it too.
//!
//! Both commands go out in one write, and both answers count as one check. By hand, for RESP is
//! lines of text: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::load::{Checked, Connection, Error, REQUESTS, WINDOW_MS};

const SCRIPT: &str = include_str!("fixed_window.lua");
/// Replicas that must have a write before it counts; without a deadline.
const REPLICAS: i64 = 1;

/// The answer to a check: `*3`, the script's three integers, and the number of replicas.
const ANSWER_LINES: usize = 5;

/// A connection to the node that takes writes.
pub struct Redis {
    stream: TcpStream,
    /// SHA-1 of the script, by which Redis knows it.
    script: String,
    sent: Vec<u8>,
    received: Vec<u8>,
}

/// Opens connections, and gives Redis the script.
///
/// # Errors
/// If Redis is not there or does not take the script.
pub async fn connect(address: &str, connections: usize) -> Result<Vec<Redis>, Error> {
    let mut opened = Vec::with_capacity(connections);
    for _ in 0..connections {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sent, received) = (Vec::with_capacity(512), Vec::with_capacity(512));
        opened.push(Redis { stream, script: String::new(), sent, received });
    }
    let Some(first) = opened.first_mut() else { return Ok(opened) };
    command(&mut first.sent, &["SCRIPT", "LOAD", SCRIPT]);
    // The length of the digest, and the digest.
    let script = first.exchange(2).await?[1].to_owned();
    for connection in &mut opened {
        connection.script.clone_from(&script);
    }
    Ok(opened)
}

impl Connection for Redis {
    async fn check(&mut self, identifier: u32) -> Result<Checked, Error> {
        let key = format!("ratelimit:wix:user-{identifier}");
        let (requests, window_ms) = (REQUESTS.to_string(), WINDOW_MS.to_string());
        self.sent.clear();
        command(&mut self.sent, &["EVALSHA", &self.script, "1", &key, &requests, &window_ms]);
        command(&mut self.sent, &["WAIT", &REPLICAS.to_string(), "0"]);
        let lines = self.exchange(ANSWER_LINES).await?;
        let integer =
            |line: &str| line.strip_prefix(':').and_then(|digits| digits.parse::<i64>().ok());
        match (integer(lines[1]), integer(lines[4])) {
            (Some(allowed), Some(replicas)) if lines[0] == "*3" && replicas >= REPLICAS => {
                Ok(Checked { allowed: allowed == 1, retries: 0 })
            }
            _ => Err(format!("Redis answered {lines:?}").into()),
        }
    }
}

/// Appends a command to `out`: an array of bulk strings.
fn command(out: &mut Vec<u8>, words: &[&str]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
}

impl Redis {
    /// Sends what is to be sent, and reads so many lines.
    async fn exchange(&mut self, lines: usize) -> Result<Vec<&str>, Error> {
        self.stream.write_all(&self.sent).await?;
        self.received.clear();
        while self.received.iter().filter(|byte| **byte == b'\n').count() < lines {
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err("Redis closed the connection".into());
            }
            // An error is a line where there may have been several.
            if self.received.starts_with(b"-") {
                break;
            }
        }
        let lines: Vec<&str> = std::str::from_utf8(&self.received)?.lines().collect();
        match lines.iter().find(|line| line.starts_with('-')) {
            Some(error) => Err(format!("Redis answered {error}").into()),
            None => Ok(lines),
        }
    }
}
