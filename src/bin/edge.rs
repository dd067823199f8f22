//! `patapim-edge`: the public server, and the commands of its operator.

use std::process::ExitCode;

/// Requests begin on one thread and end on another, in pieces of every size, and the system's allocator spends a fifth of
/// the time on that (`BENCHMARKS.md`).
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    patapim_edge::cli::main()
}
