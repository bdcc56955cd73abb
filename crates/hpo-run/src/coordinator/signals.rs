//! What signals ask for.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::RunError;

/// The signals that people and systems send.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    interrupts: u32,
}

/// What a signal asks for.
pub(super) enum Wish {
    Drain,
    Interrupt,
    AtOnce,
}

impl Signals {
    pub(super) fn new() -> Result<Self, RunError> {
        let stream = |kind| {
            signal(kind).map_err(|source| RunError::System {
                what: "cannot watch signals",
                source,
            })
        };
        Ok(Self {
            interrupt: stream(SignalKind::interrupt())?,
            terminate: stream(SignalKind::terminate())?,
            hang_up: stream(SignalKind::hangup())?,
            interrupts: 0,
        })
    }

    pub(super) async fn wish(&mut self) -> Wish {
        tokio::select! {
            _ = self.interrupt.recv() => {
                self.interrupts += 1;
                match self.interrupts {
                    1 => Wish::Drain,
                    2 => Wish::Interrupt,
                    _ => Wish::AtOnce,
                }
            }
            _ = self.terminate.recv() => Wish::Interrupt,
            _ = self.hang_up.recv() => Wish::Interrupt,
        }
    }
}
