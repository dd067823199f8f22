//! `patapim-edge`: the public server, and the commands of its operator.

use std::process::ExitCode;

fn main() -> ExitCode {
    patapim_edge::cli::main()
}
