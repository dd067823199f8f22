//! HTTP/2 as nobody's library writes it (RFC 9113 §4.1): frames byte by byte, and what comes back.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use url::Url;

use super::client::{Stream, Visitor};
use super::process::within;

/// What a client says first (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;

/// A frame as it goes over the wire.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&[a, b, c, kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// Fields as literals that no table keeps (RFC 7541 §6.2.2), whatever their bytes.
pub(crate) fn fields<N: AsRef<[u8]>, V: AsRef<[u8]>>(all: &[(N, V)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in all {
        block.push(0);
        text(&mut block, name.as_ref());
        text(&mut block, value.as_ref());
    }
    block
}

fn text(block: &mut Vec<u8>, bytes: &[u8]) {
    // An integer with a prefix of seven bits (RFC 7541 §5.1).
    match u8::try_from(bytes.len()) {
        Ok(length @ 0..=126) => block.push(length),
        _ => {
            block.push(127);
            let mut rest = bytes.len() - 127;
            while rest >= 128 {
                block.push(u8::try_from(rest % 128).expect("seven bits") | 0x80);
                rest /= 128;
            }
            block.push(u8::try_from(rest).expect("seven bits"));
        }
    }
    block.extend_from_slice(bytes);
}

/// A head with this block, in as many frames as it takes.
pub(crate) fn head(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    let mut pieces: Vec<&[u8]> = block.chunks(16 * 1024).collect();
    if pieces.is_empty() {
        pieces.push(&[]);
    }
    let last = pieces.len() - 1;
    let frames = pieces.iter().enumerate().map(|(number, piece)| {
        let end = if number == last { END_HEADERS } else { 0 };
        match number {
            0 => frame(kind::HEADERS, flags | end, stream, piece),
            _ => frame(kind::CONTINUATION, end, stream, piece),
        }
    });
    frames.collect::<Vec<_>>().concat()
}

/// `host:port` as a browser writes it.
pub(crate) fn authority(url: &Url) -> &str {
    &url[url::Position::BeforeHost..url::Position::AfterPort]
}

/// The whole frames at the beginning of `heard`.
pub(crate) fn whole_frames(mut heard: &[u8]) -> impl Iterator<Item = Frame> {
    std::iter::from_fn(move || {
        let (&[a, b, c, kind, flags, stream @ ..], rest) = heard.split_first_chunk::<9>()?;
        let payload = rest.get(..u32::from_be_bytes([0, a, b, c]) as usize)?;
        heard = &rest[payload.len()..];
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload: payload.to_vec() })
    })
}

/// One that came back.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of a RST_STREAM or GOAWAY.
    pub(crate) fn reason(&self) -> Option<u32> {
        let at = match self.kind {
            kind::RST_STREAM => 0,
            kind::GOAWAY => 4,
            _ => return None,
        };
        Some(u32::from_be_bytes(self.payload.get(at..at + 4)?.try_into().expect("four bytes")))
    }

    /// The status in the head of an answer: the first field, as every server writes it.
    pub(crate) fn status(&self) -> Option<u16> {
        if self.kind != kind::HEADERS {
            return None;
        }
        match *self.payload.first()? {
            indexed @ 0x88..=0x8e => Some([200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]),
            // `:status`, with a value that the table has not, Huffman-coded or plain.
            _ => {
                let length = usize::from(self.payload.get(1)? & 0x7f);
                let text = self.payload.get(2..2 + length)?;
                let plain = if self.payload[1] & 0x80 == 0 { text.to_vec() } else { digits(text) };
                String::from_utf8(plain).ok()?.parse().ok()
            }
        }
    }
}

/// Three digits in HPACK's Huffman code: 0, 1 and 2 take five bits, the others six (RFC 7541, appendix B).
fn digits(coded: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = coded.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let (mut at, mut out) = (0, Vec::new());
    while out.len() < 3 && at + 5 <= bits.len() {
        let take = |count: usize| bits[at..at + count].iter().fold(0_u8, |sum, bit| sum * 2 + bit);
        match take(5) {
            short @ 0..=2 => {
                out.push(b'0' + short);
                at += 5;
            }
            _ if at + 6 <= bits.len() => {
                out.push(b'3' + take(6) - 0x19);
                at += 6;
            }
            _ => break,
        }
    }
    out
}

/// A connection of frames.
pub(crate) struct Frames {
    reader: ReadHalf<Box<dyn Stream>>,
    writer: WriteHalf<Box<dyn Stream>>,
}

impl Frames {
    /// Connected, and nothing said yet.
    pub(crate) async fn silent(visitor: &Visitor, url: &Url) -> Self {
        let stream = visitor.h2().dial(url, None).await.expect("a connection");
        let (reader, writer) = tokio::io::split(stream);
        Self { reader, writer }
    }

    /// With the preface said, and empty settings.
    pub(crate) async fn open(visitor: &Visitor, url: &Url) -> Self {
        let mut frames = Self::silent(visitor, url).await;
        frames.say(&[PREFACE, &frame(kind::SETTINGS, 0, 0, &[])].concat()).await;
        frames
    }

    /// Sends bytes as they are. The edge may have closed already.
    pub(crate) async fn say(&mut self, bytes: &[u8]) -> bool {
        self.writer.write_all(bytes).await.is_ok() && self.writer.flush().await.is_ok()
    }

    /// The next frame; none when the edge has closed.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        within("a frame", async {
            let mut head = [0; 9];
            self.reader.read_exact(&mut head).await.ok()?;
            let [a, b, c, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.reader.read_exact(&mut payload).await.ok()?;
            Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
        })
        .await
    }

    /// The next frame that `is`; none when the edge closes first.
    pub(crate) async fn until(&mut self, is: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if is(&frame) {
                return Some(frame);
            }
        }
    }

    /// Whether it answers a PING still.
    pub(crate) async fn lives(&mut self) -> bool {
        let ping = frame(kind::PING, 0, 0, b"stillup?");
        self.say(&ping).await
            && self.until(|frame| frame.kind == kind::PING && frame.flags == ACK).await.is_some()
    }
}
