//! Where trials' processes run.

pub(crate) mod heard;
pub(crate) mod identity;
mod link;
pub(crate) mod local;
pub(crate) mod orphans;
pub(crate) mod reader;
pub(crate) mod records;
pub(crate) mod warden;
mod wardens;
mod watched;
mod wire;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use hpo_engine::{Input, Inventory};

use crate::error::RunError;
use crate::job::Job;
use crate::session::AttemptId;

/// Starts processes, watches them and ends them. The only async seam: [`Executor::changed`] waits.
///
/// An executor answers for every attempt it accepted: reports in order, and then one end, given only
/// when nothing of the attempt is left.
pub(crate) trait Executor {
    /// What can be used at present.
    fn inventory(&self) -> Inventory;

    /// From now on this many attempts may run at once; those that run already go on.
    fn resize(&mut self, slots: u32);

    /// Starts an attempt's process. It is announced by a later [`Executor::poll`].
    ///
    /// # Errors
    /// When the trouble is not the job's: a directory cannot be written.
    fn submit(&mut self, job: &Job) -> Result<Submitted, RunError>;

    /// Asks after attempts that an earlier session left without an end. What still lives is adopted, or ended
    /// if the study wants that; what they reported and nobody took in comes with the answers, and
    /// so does the end of those that came to it in between. All else of the study is ended.
    fn recover(&mut self, left: &[LeftOver]) -> Vec<Input>;

    /// Asks an attempt to end after `term`, and makes it end after `grace`. Of an attempt that is not
    /// there nothing is heard.
    fn cancel(&mut self, id: AttemptId, term: Duration, grace: Duration);

    /// Whether an attempt was accepted and its end not given yet.
    fn has(&self, id: AttemptId) -> bool;

    /// What happened since the last call, in the order of the trials. Does not wait.
    fn poll(&mut self) -> Vec<Input>;

    /// Waits until [`Executor::poll`] may have something to say.
    fn changed(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>>;

    /// Ends everything at once. Nothing of the session is left then.
    fn close(&mut self);
}

/// What became of a submission.
#[derive(Debug)]
pub(crate) enum Submitted {
    /// It is on its way.
    Accepted,
    /// It cannot be started, now or later.
    Refused {
        /// The system's words.
        error: String,
    },
    /// The system has no room for it at present.
    Later {
        /// The system's words.
        error: String,
    },
}

/// An attempt of an earlier session without an end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeftOver {
    pub(crate) id: AttemptId,
    /// How many of its reports are in the log.
    pub(crate) reports: usize,
    /// The highest step among them.
    pub(crate) last_step: Option<u64>,
}
