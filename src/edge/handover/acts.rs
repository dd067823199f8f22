//! Acts of a server that has a successor: that one writes them down. Called on the trail's own thread, where it may block.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::{HeirCall, PATIENCE};
use crate::trail::{Event, Forward, TrailError};

/// Has the server that is heard at `heir` write acts down.
pub(super) fn forward_to(heir: PathBuf) -> Forward {
    Box::new(move |event| match told(&heir, event) {
        Ok(written) => written.map_err(TrailError::Unwritten),
        Err(error) => Err(TrailError::Unwritten(error.to_string())),
    })
}

fn told(heir: &Path, event: &Event) -> io::Result<Result<(), String>> {
    let mut line = UnixStream::connect(heir)?;
    line.set_read_timeout(Some(PATIENCE))?;
    let mut word = serde_json::to_vec(&HeirCall::Act(Box::new(event.clone())))?;
    word.push(b'\n');
    line.write_all(&word)?;
    let mut answer = String::new();
    BufReader::new(line).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
