//! The limit on the size of files that a shell can set (`ulimit -f`).
//!
//! Whoever writes beyond it gets SIGXFSZ, which ends a program without a word, in the middle of anything. With a handler the
//! write fails in place of that (`EFBIG`), and is treated as any other failed write. A handler, unlike a signal that is ignored,
//! is not passed on to the programs that are started: trials end as they would without `hpo`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hpo_run::RunError;
use hpo_store::StoreError;
use nix::sys::signal::Signal;

/// What to do about a file that has reached the limit.
pub(crate) const HINT: &str = "set `ulimit -f unlimited` in the shell or service that starts hpo: the same command goes on from \
     there. Everything that was stored is safe";

/// From here on a write beyond the limit is an error, not the end.
pub(crate) fn make_it_an_error() {
    let nobody_asks = Arc::new(AtomicBool::new(false));
    // Where the system will not have it, it is as it was.
    let _ = signal_hook::flag::register(Signal::SIGXFSZ as i32, nobody_asks);
}

/// Whether a study could not be run on because a file has reached the limit.
pub(crate) fn is_reached(error: &RunError) -> bool {
    match error {
        RunError::Store(StoreError::TooLarge { .. }) => true,
        RunError::Store(StoreError::Io { source, .. }) | RunError::Io { source, .. } => {
            source.kind() == std::io::ErrorKind::FileTooLarge
        }
        _ => false,
    }
}
