//! `hpo`: the program.
fn main() {}
