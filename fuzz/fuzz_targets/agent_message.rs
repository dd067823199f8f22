//! What an agent says, as the edge reads it: in one way, however it is cut, and the same when it is written again.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use patapim_edge::wire::approval::{Answer, TrustedDevice};
use patapim_edge::wire::{AgentEvent, AgentHello, AppFault, LineTooLong, Lines, read_hello};
use patapim_fuzz::lines;
use serde::Serialize;
use serde::de::DeserializeOwned;

const LONGEST: usize = 512;

// How long the pieces are, and what is said in them.
fuzz_target!(|data: &[u8]| {
    let [cuts, said] = lines(data);
    let whole = said_in(&[said]);
    assert_eq!(said_in(&pieces(said, cuts)), whole, "how the bytes were cut matters");
    for line in whole.iter().flatten() {
        assert!(line.len() <= LONGEST && !line.contains(&b'\n'));
    }

    for line in whole.iter().flatten() {
        lasts::<AgentEvent>(line);
        lasts::<Answer>(line);
        lasts::<Vec<TrustedDevice>>(line);
        if let Ok(hello) = read_hello::<AgentHello>(line) {
            assert_eq!(hello.version, 1);
            let written = serde_json::to_vec(&hello).expect("written");
            let again: AgentHello = read_hello(&written).expect("read again");
            assert_eq!(serde_json::to_vec(&again).expect("written"), written);
        }
        if let Some(fault) = std::str::from_utf8(line).ok().and_then(AppFault::parse) {
            assert_eq!(fault.as_str().as_bytes(), line);
        }
    }
});

/// What can be read says the same when it is written and read again.
fn lasts<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(line: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(line) else { return };
    let written = serde_json::to_vec(&read).expect("written");
    assert_eq!(serde_json::from_slice::<T>(&written).expect("read again"), read);
}

/// All lines, up to one that is too long.
fn said_in(chunks: &[&[u8]]) -> Vec<Result<Bytes, LineTooLong>> {
    let mut lines = Lines::of_at_most(LONGEST);
    let mut found = Vec::new();
    for chunk in chunks {
        lines.push(chunk);
        loop {
            match lines.next_line() {
                Ok(Some(line)) => found.push(Ok(line)),
                Ok(None) => break,
                Err(error) => {
                    found.push(Err(error));
                    return found;
                }
            }
        }
    }
    found
}

fn pieces<'a>(mut said: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for &cut in cuts {
        let (piece, rest) = said.split_at(usize::from(cut).min(said.len()));
        pieces.push(piece);
        said = rest;
    }
    pieces.push(said);
    pieces
}
