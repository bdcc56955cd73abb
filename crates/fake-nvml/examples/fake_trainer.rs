//! The fake trainer as a program, to play with by hand: see `fake_nvml::trainer`.

fn main() {
    std::process::exit(fake_nvml::trainer::main());
}
