//! Taking in trials from elsewhere: all of them in one turn, or none.

use std::collections::BTreeSet;

use hpo_study::control::Request;
use hpo_study::import::RowEnd;
use hpo_study::{
    AttemptEnd, AttemptNumber, Config, Event, EventKind, FailReason, HistoryError, ImportAs,
    ImportBatch, ImportTrial, Origin, StopReason, Timestamp, TrialId,
};

use super::{Engine, Turn};

/// What is to be imported.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Import {
    /// Where the trials are from, and what they are to the study.
    pub batch: ImportBatch,
    /// The trials, configurations of the study's space.
    pub trials: Vec<ImportTrial>,
    /// How many of the best are tried here, before anything else.
    pub rerun: u32,
}

/// What became of an import.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Imported {
    /// How many trials are new, by what became of them elsewhere.
    pub completed: usize,
    /// Stopped early.
    pub stopped: usize,
    /// Diverged or crashed.
    pub infeasible: usize,
    /// How many had been imported before.
    pub known: usize,
    /// The best value among the new ones.
    pub best: Option<f64>,
    /// Configurations that are tried here first.
    pub rerun: Vec<Config>,
    /// What to know about it, for people.
    pub warning: Option<String>,
}

impl Imported {
    /// How many trials are new.
    #[must_use]
    pub fn count(&self) -> usize {
        self.completed + self.stopped + self.infeasible
    }
}

impl Engine {
    /// Takes trials in that ran elsewhere. The events must be durable, all at once, before anybody is told. Those that
    /// were imported before are passed over; when nothing is left there is no event, unless an entry of the study file
    /// asked for it, which then is known to be done.
    ///
    /// # Errors
    /// When a trial is no configuration of the space.
    pub fn import(
        &mut self,
        now: Timestamp,
        import: &Import,
    ) -> Result<(Vec<Event>, Imported), HistoryError> {
        let mut turn = Turn::at(now);
        let mut known: BTreeSet<u64> = self.known_imports();
        let mut told = Imported::default();
        let is_new = |trial: &&ImportTrial| known.insert(trial.fingerprint());
        let new: Vec<&ImportTrial> = import.trials.iter().filter(is_new).collect();
        told.known = import.trials.len() - new.len();
        if new.is_empty() && import.batch.entry.is_none() {
            return Ok((Vec::new(), told));
        }
        told.warning = self.scale_warning(import.batch.used, &new);
        let batch = u32::try_from(self.history.imports().len()).unwrap_or(u32::MAX);
        self.emit(
            &mut turn,
            EventKind::TrialsImported {
                batch: import.batch.clone(),
            },
        )?;
        for trial in &new {
            self.import_one(&mut turn, batch, trial)?;
            match trial.end {
                RowEnd::Completed => told.completed += 1,
                RowEnd::Stopped => told.stopped += 1,
                RowEnd::Infeasible | RowEnd::Unfinished => told.infeasible += 1,
            }
        }
        let ranked = self.best_first(&new);
        told.best = ranked.first().and_then(|trial| trial.last());
        let rerun = match import.batch.used {
            ImportAs::Trials => 0,
            ImportAs::Evidence | ImportAs::Prior => import.rerun,
        };
        for trial in ranked {
            if told.rerun.len() >= rerun as usize {
                break;
            }
            if self.is_to_be_tried(&trial.config) || told.rerun.contains(&trial.config) {
                continue;
            }
            let config = trial.config.clone();
            told.rerun.push(config.clone());
            let again = true;
            self.grant(&mut turn, Request::Enqueue { config, again })?;
        }
        Ok((turn.events, told))
    }

    fn known_imports(&self) -> BTreeSet<u64> {
        let trials = self.history.trials().iter();
        trials
            .filter_map(|t| t.origin.as_ref())
            .map(|o| o.fingerprint)
            .collect()
    }

    fn is_to_be_tried(&self, config: &Config) -> bool {
        self.history.own_trials().any(|t| t.config == *config)
            || self.history.enqueued().contains(config)
    }

    /// The completed ones with the best values first.
    fn best_first<'t>(&self, trials: &[&'t ImportTrial]) -> Vec<&'t ImportTrial> {
        let goal = self.history.spec().metric.goal;
        let completed = trials.iter().filter(|t| t.end == RowEnd::Completed);
        let mut ranked: Vec<(f64, &ImportTrial)> = completed
            .filter_map(|t| Some((goal.as_loss(t.last()?), *t)))
            .collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
        ranked.into_iter().map(|(_, trial)| trial).collect()
    }

    /// A sentence when values seem to be on another scale than those of the study itself.
    fn scale_warning(&self, used: ImportAs, new: &[&ImportTrial]) -> Option<String> {
        if used == ImportAs::Prior {
            return None;
        }
        let theirs = new
            .iter()
            .filter(|t| t.end == RowEnd::Completed)
            .filter_map(|t| t.last());
        disjoint(theirs, hpo_study::import::own_values(&self.history))
    }

    fn import_one(
        &mut self,
        turn: &mut Turn,
        batch: u32,
        imported: &ImportTrial,
    ) -> Result<(), HistoryError> {
        let trial: TrialId = self.next_trial();
        let origin = Origin {
            batch,
            name: imported.name.clone(),
            fingerprint: imported.fingerprint(),
            value: imported.value,
        };
        self.emit(turn, EventKind::TrialImported { trial, origin })?;
        let suggested = EventKind::TrialSuggested {
            trial,
            config: imported.config.clone(),
            bracket: 0,
            target: None,
        };
        self.emit(turn, suggested)?;
        let attempt = AttemptNumber(1);
        if !imported.curve.is_empty() {
            let launching = EventKind::AttemptLaunching {
                trial,
                attempt,
                target: None,
                assignment: None,
            };
            self.emit(turn, launching)?;
            let name = self.history.spec().metric.name.clone();
            for (step, value) in &imported.curve {
                let reported = EventKind::Reported {
                    trial,
                    attempt,
                    step: *step,
                    metrics: [(name.clone(), *value)].into(),
                };
                self.emit(turn, reported)?;
            }
            let end = AttemptEnd::Exited {
                code: 0,
                stderr: String::new(),
            };
            self.emit(
                turn,
                EventKind::AttemptEnded {
                    trial,
                    attempt,
                    end,
                },
            )?;
        }
        let evidence = || "there, where it was imported from".to_owned();
        let end = match imported.end {
            RowEnd::Completed => EventKind::TrialCompleted { trial },
            RowEnd::Stopped => EventKind::TrialStopped {
                trial,
                reason: StopReason::Pruned {
                    evidence: evidence(),
                },
            },
            RowEnd::Infeasible | RowEnd::Unfinished => EventKind::TrialFailed {
                trial,
                reason: FailReason::Crash {
                    how: "failed or diverged where it was imported from".to_owned(),
                    stderr: String::new(),
                },
            },
        };
        self.emit(turn, end)
    }
}

/// A sentence when two sets of values have nothing in common, and both are large enough to say so.
fn disjoint(theirs: impl Iterator<Item = f64>, ours: Vec<f64>) -> Option<String> {
    hpo_study::import::disjoint(&theirs.collect::<Vec<f64>>(), &ours)
}
