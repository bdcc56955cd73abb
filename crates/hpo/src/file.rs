//! Writing files that people asked for.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

/// Writes beside the file first, so that it is never there in part. A device or a pipe
/// (`-o /dev/stderr`) is written to, not replaced.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    if path.exists() && !path.is_file() {
        return fs::write(path, text);
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    // Never through a link that stands there under a name that can be guessed.
    fs::File::create_new(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&beside, path))
        .inspect_err(|_| {
            let _ = fs::remove_file(&beside);
        })
}
