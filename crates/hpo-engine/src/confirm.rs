//! Confirming the best: which configuration is run again next. A pure function of the history, so that
//! a study that was killed makes the same runs.

use hpo_study::confirm::{Confirmed, candidates, of};
use hpo_study::{EventKind, History, Trial, TrialId, TrialState};

/// The next fresh run, or `None` when all that are wanted have been made or are on their way. The
/// candidates take turns, so that time that runs out leaves them with equally many.
pub(crate) fn next(history: &History) -> Option<EventKind> {
    let wanted = history.confirm()?;
    let made = |trial| of(history, trial).as_ref().map_or(0, Confirmed::made);
    let candidates = candidates(history, wanted.top).into_iter();
    let due = candidates.map(|trial| (made(trial), trial));
    let (_, trial) = due
        .filter(|(made, _)| *made < wanted.seeds as usize)
        .min_by_key(|(made, _)| *made)?;
    Some(EventKind::ConfirmationSuggested {
        trial: TrialId::confirmation(history.confirmations().len()),
        confirms: trial.id,
        config: trial.config.clone(),
    })
}

/// Whether the search leaves room for confirming: none of its trials runs or waits to run. In a session
/// that only confirms, those that wait stay where they are.
pub(crate) fn may_begin<'h>(history: &History, open: impl Iterator<Item = &'h Trial>) -> bool {
    let mut search = open.filter(|trial| trial.confirms.is_none());
    search.all(|trial| {
        let waits = history.only_confirms() && !trial.state.is_active();
        waits || (trial.state == TrialState::Paused && !trial.held)
    })
}

/// Whether a queued trial may be started in this session.
pub(crate) fn may_start(history: &History, trial: &Trial) -> bool {
    trial.confirms.is_some() || !history.only_confirms()
}

/// Whether a trial stands in line for memory: the user does not hold it back, and it may start in this session.
pub(crate) fn stands_in_line(history: &History, trial: &Trial) -> bool {
    let waits = matches!(trial.state, TrialState::Queued | TrialState::Paused);
    waits && !trial.held && may_start(history, trial)
}
