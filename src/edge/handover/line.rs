//! Two servers in conversation: a line of JSON each way over a Unix socket, and with it sockets (`SCM_RIGHTS`).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;

/// How many sockets go with one line; the system takes some 250.
pub(super) const SOCKETS: usize = 64;
/// Read at a time.
const PIECE: usize = 64 * 1024;

/// One end of a conversation.
#[derive(Debug)]
pub(super) struct Line {
    stream: UnixStream,
    heard: Vec<u8>,
    received: Vec<OwnedFd>,
}

impl Line {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, heard: Vec::new(), received: Vec::new() }
    }

    pub(super) async fn dial(path: &Path) -> io::Result<Self> {
        UnixStream::connect(path).await.map(Self::new)
    }

    /// Says `word`.
    pub(super) async fn say(&mut self, word: &impl Serialize) -> io::Result<()> {
        self.say_with(word, &[]).await
    }

    /// Says `word`, and hands over a copy of each of `sockets` with it.
    pub(super) async fn say_with(
        &mut self,
        word: &impl Serialize,
        sockets: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let mut line = serde_json::to_vec(word)?;
        line.push(b'\n');
        let mut sent = 0;
        if !sockets.is_empty() {
            sent = self.stream.async_io(Interest::WRITABLE, || send(&self.stream, &line, sockets)).await?;
        }
        self.stream.write_all(&line[sent..]).await
    }

    /// As [`Self::hear`], with the sockets that have come along by then.
    pub(super) async fn hear_with<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let word = self.hear().await?;
        Ok(word.map(|word| (word, std::mem::take(&mut self.received))))
    }

    /// Hears the next word; none: the other side has ended.
    pub(super) async fn hear<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut searched = 0;
        let end = loop {
            if let Some(at) = self.heard[searched..].iter().position(|&byte| byte == b'\n') {
                break searched + at;
            }
            searched = self.heard.len();
            let (stream, heard, received) = (&self.stream, &mut self.heard, &mut self.received);
            if stream.async_io(Interest::READABLE, || receive(stream, heard, received)).await? == 0 {
                return Ok(None);
            }
        };
        let word = serde_json::from_slice(&self.heard[..end])?;
        self.heard.drain(..=end);
        Ok(Some(word))
    }

    /// Resolves when the other side has ended, or says something that nobody expects.
    pub(super) async fn gone(&mut self) {
        let _ = self.hear::<serde::de::IgnoredAny>().await;
    }
}

fn send(stream: &UnixStream, line: &[u8], sockets: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut along = SendAncillaryBuffer::new(&mut space);
    if !along.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(io::Error::other(format!("more than {SOCKETS} sockets cannot be handed over")));
    }
    Ok(sendmsg(stream, &[IoSlice::new(line)], &mut along, SendFlags::NOSIGNAL)?)
}

fn receive(stream: &UnixStream, heard: &mut Vec<u8>, received: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut along = RecvAncillaryBuffer::new(&mut space);
    let mut piece = vec![0; PIECE];
    let read =
        recvmsg(stream, &mut [IoSliceMut::new(&mut piece)], &mut along, RecvFlags::CMSG_CLOEXEC)?.bytes;
    heard.extend_from_slice(&piece[..read]);
    for message in along.drain() {
        if let RecvAncillaryMessage::ScmRights(sockets) = message {
            received.extend(sockets);
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[tokio::test]
    async fn words_arrive_one_by_one_and_sockets_with_theirs() {
        let (one, other) = UnixStream::pair().expect("a pair");
        let (mut one, mut other) = (Line::new(one), Line::new(other));
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let long = "x".repeat(10 * PIECE);
        let said = async {
            one.say(&"first").await.expect("said");
            one.say_with(&long, &[socket.as_fd()]).await.expect("said");
            one.say(&"last").await.expect("said");
        };
        let heard = async {
            let first = other.hear::<String>().await.expect("well").expect("a word");
            let (second, along) = other.hear_with::<String>().await.expect("well").expect("a word");
            (first, second, along, other.hear::<String>().await.expect("well").expect("a word"))
        };
        let ((), (first, second, mut along, last)) = tokio::join!(said, heard);
        assert_eq!((first.as_str(), second.len(), last.as_str()), ("first", long.len(), "last"));
        let received = std::net::TcpListener::from(along.pop().expect("a socket"));
        assert_eq!(received.local_addr().expect("bound"), socket.local_addr().expect("bound"));
        assert!(along.is_empty());
        drop(one);
        assert!(other.hear::<String>().await.expect("an end").is_none());
    }
}
