//! The lock that keeps two coordinators from one study: an advisory lock of the operating system's
//! on a file, so it is gone with its holder however that ends.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use crate::error::StoreError;
use crate::private;

/// A study's lock: nobody else runs the study as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock and writes this process's id into the file. The file stays when the lock goes:
    /// removing it would let two processes lock two files of the same name.
    pub(crate) fn take(path: &Path) -> Result<Self, StoreError> {
        let mut file = private::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|e| StoreError::io(path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked {
                    pid: holder(&mut file),
                });
            }
            Err(TryLockError::Error(e)) => return Err(StoreError::io(path, e)),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(|e| StoreError::io(path, e))?;
        Ok(Self { _file: file })
    }
}

/// The process id that the holder wrote; `None` while it has not written it yet.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
