//! The words of many programs for what became of a trial.

use hpo_study::import::RowEnd;

use crate::ImportError;

/// What became of a trial, which has a value or has none, in its program's words; `at` is where they stand.
pub(crate) fn read(
    at: &str,
    state: &str,
    reason: Option<&str>,
    has_value: bool,
) -> Result<RowEnd, ImportError> {
    let end = end(state, reason).ok_or_else(|| {
        ImportError::new(format!("{at}: the state `{state}` is not known"))
            .hint("a state is completed, pruned, failed or running, or a word of Optuna, W&B or Ray Tune for it")
    })?;
    // What says nothing of its state and has no value is a trial that never came to one.
    Ok(match end {
        RowEnd::Completed if !has_value => RowEnd::Unfinished,
        end => end,
    })
}

/// What a word means; `None`: nobody says so.
pub(crate) fn end(state: &str, reason: Option<&str>) -> Option<RowEnd> {
    let reason = reason.map(str::to_ascii_lowercase);
    if let Some(reason) = reason.as_deref() {
        match reason {
            "diverged" | "stuck" | "no_progress" | "oom" | "crash" => {
                return Some(RowEnd::Infeasible);
            }
            "lost" | "not_started" | "stalled" | "no_metric" => return Some(RowEnd::Unfinished),
            _ => {}
        }
    }
    Some(match state.trim().to_ascii_lowercase().as_str() {
        // hpo, Optuna, W&B, Ray Tune, SMAC, and what people write.
        "" | "completed" | "complete" | "finished" | "success" | "succeeded" | "terminated"
        | "done" | "ok" => RowEnd::Completed,
        "pruned" | "stopped" | "killed" | "early_stopped" => RowEnd::Stopped,
        "fail" | "failed" | "crashed" | "crash" | "error" | "infeasible" | "diverged" | "oom"
        | "memout" => RowEnd::Infeasible,
        "running" | "waiting" | "queued" | "paused" | "pending" | "preempted" | "preempting"
        | "lost" | "timeout" => RowEnd::Unfinished,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_other_programs_are_understood() {
        assert_eq!(end("COMPLETE", None), Some(RowEnd::Completed));
        assert_eq!(end("finished", None), Some(RowEnd::Completed));
        assert_eq!(end("PRUNED", None), Some(RowEnd::Stopped));
        assert_eq!(end("stopped", Some("diverged")), Some(RowEnd::Infeasible));
        assert_eq!(end("stopped", Some("pruned")), Some(RowEnd::Stopped));
        assert_eq!(end("failed", Some("lost")), Some(RowEnd::Unfinished));
        assert_eq!(end("crashed", None), Some(RowEnd::Infeasible));
        assert_eq!(end("purple", None), None);
    }
}
