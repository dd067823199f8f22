//! `patapim-agent`: the desktop side.

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

/// As at the edge, and for the same reason.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> anyhow::Result<ExitCode> {
    // What people should read is printed; the log is for those who ask for it with RUST_LOG.
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error")))
        .with_writer(std::io::stderr)
        .init();
    // Everything passes through one connection, which one thread moves in any case. Others would mostly wake each other.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(patapim_edge::agent::cli::main()))
}
