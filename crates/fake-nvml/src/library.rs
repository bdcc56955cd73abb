//! The library's file: where it was built, and copies of it that lack functions.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where cargo has put the library for a test that depends on this crate.
///
/// # Errors
/// When it is not beside the running program.
pub fn path() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let beside = program.parent().into_iter().flat_map(|directory| {
        let above = directory.parent().unwrap_or(directory);
        [directory.to_owned(), above.to_owned(), above.join("deps")]
    });
    let mut found = beside.map(|directory| directory.join("libfake_nvml.so"));
    found.find(|path| path.is_file()).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "libfake_nvml.so has not been built: cargo build -p fake-nvml",
        )
    })
}

/// Writes a copy of the library without some of its functions, as an older driver's would be: their names are
/// spoiled in the table of symbols, so that nobody finds them.
///
/// # Errors
/// When a function is not there to begin with, or the disk refuses.
pub fn without(functions: &[&str], copy: &Path) -> io::Result<()> {
    let mut bytes = fs::read(path()?)?;
    for function in functions {
        let name = [b"\0", function.as_bytes(), b"\0"].concat();
        let places: Vec<usize> = (0..bytes.len().saturating_sub(name.len()))
            .filter(|at| bytes[*at..].starts_with(&name))
            .collect();
        if places.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("the library has no function {function}"),
            ));
        }
        for place in places {
            bytes[place + 1] = b'x';
        }
    }
    fs::write(copy, bytes)
}
