//! What people see when the program has a bug.

use std::panic::PanicHookInfo;

use crate::output::words;

/// From here on a panic prints a short apology and ends the program with exit code 4. With
/// `RUST_BACKTRACE` set, the usual report comes first.
pub(crate) fn install_hook() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            usual(info);
        }
        apologize(info);
        std::process::exit(4);
    }));
}

fn apologize(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    let what = owned
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    let place = info
        .location()
        .map_or_else(String::new, |l| format!(" ({}:{})", l.file(), l.line()));
    words!("hpo has met a bug in itself, sorry: {what}{place}");
    words!(
        "Finished trials are safe in the study directory; the same command goes on from there. \
         Its log.jsonl says what happened; RUST_BACKTRACE=1 shows more."
    );
}
