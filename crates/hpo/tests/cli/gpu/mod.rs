//! GPUs, by a library that only says so (`fake-nvml`): the program, the wrapper around NVIDIA's library and the
//! processes are real.

mod broken;
mod study;

use std::path::PathBuf;
use std::process::Command;

use fake_nvml::{STATE, State};

use crate::bench::Bench;

const MIB: u64 = 1 << 20;

/// A directory to work in with GPUs.
struct Machine {
    bench: Bench,
    library: PathBuf,
}

impl Machine {
    fn new(state: &State) -> Self {
        let bench = Bench::new();
        state.write(&bench.path().join("nvml.json")).unwrap();
        let library = fake_nvml::library::path().unwrap();
        Self { bench, library }
    }

    fn state(&self) -> PathBuf {
        self.bench.path().join("nvml.json")
    }

    /// From now on the driver's library lacks these functions.
    fn without(&mut self, functions: &[&str]) {
        let copy = self.bench.path().join("libnvml.so");
        fake_nvml::library::without(functions, &copy).unwrap();
        self.library = copy;
    }

    /// A command that sees these GPUs and no others.
    fn at<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("HPO_NVML_LIBRARY", &self.library)
            .env(STATE, self.state())
            .env_remove("CUDA_VISIBLE_DEVICES")
    }

    fn hpo(&self, arguments: &[&str]) -> Command {
        let mut command = self.bench.hpo(arguments);
        self.at(&mut command);
        command
    }
}

/// Not a test: the fake trainer, which studies start as `<this program> gpu::trainer --exact --ignored`.
#[test]
#[ignore = "a part that trials play"]
fn trainer() {
    if std::env::var_os("HPO_TRIAL").is_some() || std::env::var_os("FAKE_TRAINER").is_some() {
        std::process::exit(fake_nvml::trainer::main());
    }
}
