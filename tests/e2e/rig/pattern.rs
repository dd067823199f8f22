//! Large bodies that need not be kept: a fixed pattern, made and hashed piece by piece.

use axum::body::Bytes;
use ring::digest::{Context, SHA256};

/// 64 KiB whose bytes never repeat in a way that would hide a lost or doubled piece.
fn piece() -> Bytes {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    (0..16 * 1024).flat_map(|_| next()).collect()
}

/// `total` bytes of the pattern. Each piece begins with its number.
pub(crate) fn chunks(total: u64) -> impl Iterator<Item = Bytes> + Send + 'static {
    let piece = piece();
    let size = piece.len() as u64;
    (0..total.div_ceil(size)).map(move |number| {
        let length = size.min(total - number * size);
        let mut chunk = piece.to_vec();
        chunk[..8].copy_from_slice(&number.to_le_bytes());
        chunk.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        chunk.into()
    })
}

/// SHA-256 of `total` bytes of the pattern.
pub(crate) fn sha256(total: u64) -> String {
    let mut context = Context::new(&SHA256);
    chunks(total).for_each(|chunk| context.update(&chunk));
    hex(context.finish().as_ref())
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
