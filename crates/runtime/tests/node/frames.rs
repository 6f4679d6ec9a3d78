//! A client that sends HTTP/2 frames by hand, as no honest one would.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Header fields as HPACK has them, each spelt out.
pub fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

fn length(block: &mut Vec<u8>, mut n: usize) {
    if n < 127 {
        return block.push(n as u8);
    }
    block.push(127);
    n -= 127;
    while n >= 128 {
        block.push((n % 128) as u8 | 128);
        n /= 128;
    }
    block.push(n as u8);
}

/// The head of a request to `web.localhost`.
pub fn head(method: &str, path: &str) -> Vec<u8> {
    fields(&[(":method", method), (":scheme", "http"), (":authority", "web.localhost"), (":path", path)])
}

/// A whole GET.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &head("GET", path))
}

/// A literal field of 4,000 bytes, which is remembered, and then so many times the same again, for one byte each.
pub fn bomb(times: usize) -> Vec<u8> {
    let mut block = head("GET", "/");
    block.push(0x40);
    length(&mut block, 1);
    block.push(b'x');
    length(&mut block, 4000);
    block.extend([b'v'; 4000]);
    block.extend(std::iter::repeat_n(0xbe, times));
    block
}

/// What came back.
#[derive(Debug, Default)]
pub struct Told {
    /// The error code of a GOAWAY that says there was an error.
    pub goaway: Option<u32>,
    /// Streams that were reset, with their codes.
    pub resets: Vec<(u32, u32)>,
    /// Streams that were answered with a head.
    pub heads: Vec<u32>,
    /// Those of them whose status is 200.
    pub ok: Vec<u32>,
    /// All that was in DATA frames.
    pub data: Vec<u8>,
    /// Whether the server closed the connection.
    pub closed: bool,
    /// How many pieces were sent before the server had enough.
    pub sent: u32,
}

impl Told {
    fn take(&mut self, kind: u8, stream: u32, payload: &[u8]) {
        let code = |at: usize| payload.get(at..at + 4).map_or(0, |code| u32::from_be_bytes(code.try_into().unwrap()));
        match kind {
            GOAWAY if code(4) != 0 => self.goaway = Some(code(4)),
            RST_STREAM => self.resets.push((stream, code(0))),
            HEADERS => {
                self.heads.push(stream);
                // HPACK's static table has it; a change of the dynamic one's size may come before.
                if payload.iter().find(|byte| !(0x20..0x40).contains(*byte)) == Some(&0x88) {
                    self.ok.push(stream);
                }
            }
            DATA => self.data.extend(payload),
            _ => {}
        }
    }
}

/// A connection whose preface and SETTINGS are sent.
pub async fn open(address: SocketAddr, settings: &[(u16, u32)]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let payload: Vec<u8> = settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &payload)].concat()).await.unwrap();
    stream
}

/// Reads frames into `told` until the server closes, or there is `enough`.
async fn listen(mut reader: impl AsyncRead + Unpin, told: Arc<Mutex<Told>>, enough: fn(&Told) -> bool) {
    let mut head = [0; 9];
    while reader.read_exact(&mut head).await.is_ok() {
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        if reader.read_exact(&mut payload).await.is_err() {
            break;
        }
        let mut told = told.lock();
        told.take(head[3], u32::from_be_bytes([head[5] & 127, head[6], head[7], head[8]]), &payload);
        if enough(&told) {
            return;
        }
    }
    told.lock().closed = true;
}

/// Sends `piece(0)`, `piece(1)` … while the server takes them, at most so many, and gives what it told within `most` after that. A
/// connection that the server ends is not waited for any longer.
pub async fn flood(stream: TcpStream, times: u32, piece: impl Fn(u32) -> Vec<u8>, most: Duration) -> Told {
    let (reader, mut writer) = stream.into_split();
    let told = Arc::<Mutex<Told>>::default();
    let reading = tokio::spawn(listen(reader, told.clone(), |_| false));
    let mut sent = 0;
    while sent < times && !reading.is_finished() && told.lock().goaway.is_none() {
        let written = tokio::time::timeout(most, writer.write_all(&piece(sent))).await;
        if !matches!(written, Ok(Ok(()))) {
            break;
        }
        sent += 1;
    }
    let _ = tokio::time::timeout(most, reading).await;
    let mut told = std::mem::take(&mut *told.lock());
    told.sent = sent;
    told
}

/// Sends bytes on a new connection, and gives what was told until there is an error, another answer than 200 or an end.
pub async fn exchange(address: SocketAddr, bytes: &[u8], most: Duration) -> Told {
    let (reader, mut writer) = open(address, &[]).await.into_split();
    // The server may have closed it already.
    let _ = writer.write_all(bytes).await;
    let told = Arc::<Mutex<Told>>::default();
    let enough = |told: &Told| told.goaway.is_some() || !told.resets.is_empty() || told.heads.len() > told.ok.len();
    let _ = tokio::time::timeout(most, listen(reader, told.clone(), enough)).await;
    std::mem::take(&mut *told.lock())
}
