//! Writing files that people asked for.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Writes beside the file first, so that it is never there in part. A device or a pipe
/// (`-o /dev/stderr`) is written to, not replaced.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    if path.exists() && !path.is_file() {
        return fs::write(path, text);
    }
    replace(path, text, 0o666)
}

/// As [`write()`], a file of a study's directory: for its owner alone, and a link that stands there is replaced.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    replace(path, text, 0o600)
}

fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    // Never through a link that stands there under a name that can be guessed.
    let mut options = fs::File::options();
    let options = options.write(true).create_new(true).mode(mode);
    options
        .open(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&beside, path))
        .inspect_err(|_| {
            let _ = fs::remove_file(&beside);
        })
}
