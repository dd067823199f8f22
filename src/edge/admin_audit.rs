//! The audit trail, told to the operator line by line: all of it, and with `--follow` what happens from then on.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{ReadHalf, WriteHalf};

use super::admin_socket::Told;
use crate::names::UserName;
use crate::trail::{Entry, Trail};

/// What is asked for.
pub(super) struct Asked {
    /// Only what concerns this person.
    pub(super) user: Option<UserName>,
    /// And then what is to come.
    pub(super) follow: bool,
}

/// Tells the lines. Whoever reads slowly is waited for: the lines lie in the file meanwhile. Ends with the other side.
pub(super) async fn tell(
    trail: &Trail,
    asked: &Asked,
    mut reading: ReadHalf<'_>,
    writing: &mut WriteHalf<'_>,
) -> io::Result<()> {
    let mut reader = trail.reader().await.map_err(io::Error::other)?;
    loop {
        let lines = reader.lines().await?;
        if !lines.is_empty() {
            writing.write_all(&told(&lines, asked.user.as_ref())?).await?;
            continue;
        }
        if !asked.follow {
            return Ok(());
        }
        tokio::select! {
            more = reader.more() => if !more { return Ok(()) },
            // Nothing more is asked on this connection: what can be read is its end.
            _ = reading.read_u8() => return Ok(()),
        }
    }
}

/// Each line as it is in the file, to the byte: so its hash can be checked on another machine.
fn told(lines: &[u8], user: Option<&UserName>) -> io::Result<Vec<u8>> {
    let mut told = Vec::new();
    for line in String::from_utf8_lossy(lines).lines() {
        let concerns = |user: &UserName| {
            serde_json::from_str::<Entry>(line).is_ok_and(|entry| entry.text("user") == Some(user.as_str()))
        };
        if user.is_none_or(concerns) {
            serde_json::to_writer(&mut told, &Told::Line { line: line.to_owned() })?;
            told.push(b'\n');
        }
    }
    Ok(told)
}
