//! What people see while a study runs: a live view on a terminal, plain lines elsewhere.

mod failing;
mod live;
mod plain;
mod story;

use std::io::{self, Write};

use console::Term;
use hpo_run::View;
use indicatif::MultiProgress;

/// A view, and where other words (the log's) can go without spoiling it.
pub(crate) struct Watch {
    pub(crate) view: Box<dyn View>,
    pub(crate) words: Words,
}

/// The live view when stderr is a terminal and it is wanted, else plain lines.
pub(crate) fn watch(live: bool) -> Watch {
    if live && Term::stderr().is_term() && !console::is_dumb() {
        let view = live::Live::new();
        let words = Words(Some(view.screen()));
        Watch {
            view: Box::new(view),
            words,
        }
    } else {
        Watch {
            view: Box::new(plain::Plain::new(Box::new(io::stderr()))),
            words: Words(None),
        }
    }
}

/// Stderr, above the live view if there is one.
#[derive(Clone)]
pub(crate) struct Words(Option<MultiProgress>);

impl Words {
    /// As the logging library wants it.
    pub(crate) fn writer(self) -> impl Fn() -> Self + Send + Sync + 'static {
        move || self.clone()
    }
}

impl Write for Words {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(screen) => {
                screen.println(String::from_utf8_lossy(bytes).trim_end_matches('\n'))?;
                Ok(bytes.len())
            }
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
