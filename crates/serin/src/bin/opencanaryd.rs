//! The `opencanaryd` command: OpenCanary's verbs for Serin.

use std::process::ExitCode;

fn main() -> ExitCode {
    serin::cli::opencanaryd::main()
}
