//! `hpo`: the program. One file per command under `command/`; the rooms below do the work.
//!
//! Data goes to stdout, words to stderr. This crate must hold no logic of the rooms below.

mod cli;
mod command;
mod failure;
mod file;
mod file_limit;
mod output;
mod panic;
mod study_dir;
mod study_file;
mod view;

use clap::Parser as _;

use crate::failure::Exit;

fn main() -> std::process::ExitCode {
    panic::install_hook();
    file_limit::make_it_an_error();
    let arguments = cli::Arguments::parse();
    let exit = match command::perform(arguments) {
        Ok(exit) => exit,
        Err(failure) => {
            failure.show();
            failure.exit
        }
    };
    exit.code()
}

impl Exit {
    fn code(self) -> std::process::ExitCode {
        std::process::ExitCode::from(self as u8)
    }
}
