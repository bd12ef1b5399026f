//! A small HTTP/1.1 client on one keep-alive connection.
//!
//! It sends exactly the bytes it is told to, so that tests can misbehave, and it can read a reply
//! in pieces, which is how Server-Sent Events arrive. Nothing is pipelined.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection to a server.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// What was read and not used yet.
    buffer: BytesMut,
}

/// Status line and headers of a reply.
#[derive(Debug, Clone)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in the order sent.
    pub headers: Vec<(String, String)>,
}

/// A whole reply.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status line and headers.
    pub head: Head,
    /// The body, unchunked.
    pub body: Bytes,
}

/// How much of a body comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Known(usize),
    Chunked,
    UntilClosed,
}

impl Connection {
    /// Connects to `address`.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// A connection over a socket that is connected already.
    pub fn over(stream: TcpStream) -> Self {
        Self { stream, buffer: BytesMut::with_capacity(4096) }
    }

    /// Sends a request and reads the whole reply.
    pub async fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Reply> {
        self.send(&request(method, path, headers, body)).await?;
        self.reply(method).await
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads a reply to a request of this `method`.
    pub async fn reply(&mut self, method: &str) -> io::Result<Reply> {
        let head = self.head().await?;
        let has_body = method != "HEAD" && head.status != 204 && head.status != 304;
        let mut body = BytesMut::new();
        match head.length() {
            _ if !has_body => {}
            Length::Known(length) => {
                self.fill(length).await?;
                body.extend_from_slice(&self.buffer.split_to(length));
            }
            Length::Chunked => {
                while let Some(chunk) = self.chunk().await? {
                    body.extend_from_slice(&chunk);
                }
            }
            Length::UntilClosed => {
                while self.read().await? > 0 {}
                body = self.buffer.split();
            }
        }
        Ok(Reply { head, body: body.freeze() })
    }

    /// Reads status line and headers, skipping interim replies.
    pub async fn head(&mut self) -> io::Result<Head> {
        loop {
            let end = self.head_end().await?;
            let head = Head::parse(&self.buffer.split_to(end))?;
            if head.status == 101 || head.status >= 200 {
                return Ok(head);
            }
        }
    }

    /// Reads the next chunk of a chunked body; `None` after the last.
    pub async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                break end;
            }
            self.more().await?;
        };
        let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
        self.fill(end + 2 + size + 2).await?;
        self.buffer.advance(end + 2);
        let chunk = self.buffer.split_to(size).freeze();
        self.buffer.advance(2);
        Ok((size > 0).then_some(chunk))
    }

    /// Sends a prepared request and reads the reply, for the status alone.
    ///
    /// What a load generator needs, at little cost; the reply must have a `content-length`.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request).await?;
        let end = self.head_end().await?;
        let head = &self.buffer[..end];
        let status = std::str::from_utf8(&head[9..12]).ok().and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| broken("a bad status line"))?;
        let length = content_length(head).ok_or_else(|| broken("no content-length"))?;
        self.fill(end + length).await?;
        self.buffer.advance(end + length);
        Ok(status)
    }

    /// Whether the server has closed the connection; waits until it does or sends something.
    pub async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !matches!(self.read().await, Ok(1..))
    }

    /// Gives the socket back, with what was read ahead.
    pub fn into_parts(self) -> (TcpStream, BytesMut) {
        (self.stream, self.buffer)
    }

    async fn head_end(&mut self) -> io::Result<usize> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                return Ok(end + 4);
            }
            self.more().await?;
        }
    }

    async fn fill(&mut self, length: usize) -> io::Result<()> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Ok(())
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.read().await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.buffer.reserve(4096);
        self.stream.read_buf(&mut self.buffer).await
    }
}

impl Head {
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        let (line, rest) = text.split_once("\r\n").ok_or_else(|| broken("no status line"))?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let headers = rest.lines().filter_map(|line| line.split_once(':'));
        Ok(Self {
            status: status.ok_or_else(|| broken("a bad status line"))?,
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
        })
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let name = name.to_ascii_lowercase();
        self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }

    fn length(&self) -> Length {
        if self.header("transfer-encoding") == Some("chunked") {
            return Length::Chunked;
        }
        let known = self.header("content-length").and_then(|length| length.parse().ok());
        known.map_or(Length::UntilClosed, Length::Known)
    }
}

impl Reply {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("no JSON ({error}): {self:?}"),
        }
    }

    /// Asserts that every event was taken, and answers their results.
    pub fn accepted(&self) -> Vec<Value> {
        assert!(matches!(self.status(), 200 | 202), "{self:?}");
        let results = self.results();
        for result in &results {
            let status = result["status"].as_str().unwrap_or_default();
            let is_taken = ["delivered", "filtered", "spooled", "accepted"].contains(&status);
            assert!(is_taken, "{result} of {self:?}");
        }
        results
    }

    /// Asserts that the request was answered with this status and this code.
    pub fn refused(&self, status: u16, code: &str) -> &Self {
        assert_eq!(self.status(), status, "{self:?}");
        let body = self.json();
        let found = body["code"].as_str().or_else(|| body["results"][0]["code"].as_str());
        assert_eq!(found, Some(code), "{self:?}");
        self
    }

    /// One result per event, whether the body holds one or a list.
    pub fn results(&self) -> Vec<Value> {
        let body = self.json();
        match body["results"].as_array() {
            Some(results) => results.clone(),
            None => vec![body],
        }
    }
}

/// The bytes of a request with a body of known length.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    let has_body = !body.is_empty() || matches!(method, "POST" | "PUT");
    if has_body && !headers.iter().any(|header| header.0 == "content-length") {
        text.extend(["content-length: ", &body.len().to_string(), "\r\n"]);
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn content_length(head: &[u8]) -> Option<usize> {
    let name = b"content-length:";
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines
        .find(|line| line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name))?;
    std::str::from_utf8(&line[name.len()..]).ok()?.trim().parse().ok()
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
