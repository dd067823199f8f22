//! `patapim-edge`: the public server, and the commands of its operator.

use std::process::ExitCode;

/// A request is many small pieces that live for a moment; this one finds them again without asking the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    patapim_edge::cli::main()
}
