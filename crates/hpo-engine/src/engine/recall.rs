//! An engine is made from its study's log, event by event.

use std::collections::{BTreeMap, BTreeSet};

use hpo_search::{Sampler, Scheduler};
use hpo_study::{Event, History, HistoryError};

use super::Engine;
use crate::gpu::Ledger;
use crate::limits::Heard;

/// An engine that is being told what happened so far: for logs that are not to be held in memory as a whole.
#[derive(Default)]
pub struct Recall(Option<Engine>);

impl Recall {
    /// Takes the next event in; the first one opens the study.
    ///
    /// # Errors
    /// When it does not fit those before it.
    pub fn take_in(&mut self, event: &Event) -> Result<(), HistoryError> {
        let Some(engine) = &mut self.0 else {
            let opened = History::open(event)?;
            let sampler = hpo_search::build_sampler(opened.spec());
            let scheduler = hpo_search::build_scheduler(opened.spec());
            self.0 = Some(Engine::opened(event, opened, sampler, scheduler));
            return Ok(());
        };
        engine.recall(event)
    }

    /// The engine that knows all that.
    ///
    /// # Errors
    /// When there was no event.
    pub fn finish(self) -> Result<Engine, HistoryError> {
        let mut engine = self.0.ok_or_else(HistoryError::empty)?;
        engine.watch_all();
        Ok(engine)
    }
}

impl Engine {
    /// An engine for a study, from its log: new (`study_opened` alone) or resumed, the two are the same.
    /// Sampler and scheduler see every event again, as they saw it live. [`Recall`] does the same
    /// without the whole log in memory.
    ///
    /// # Errors
    /// When the log is empty or does not add up.
    pub fn new(log: &[Event]) -> Result<Self, HistoryError> {
        let mut recall = Recall::default();
        log.iter().try_for_each(|event| recall.take_in(event))?;
        recall.finish()
    }

    /// An engine with a sampler and a scheduler of one's own. Both must follow from the log alone, or
    /// a resumed study goes another way than an undisturbed one.
    ///
    /// # Errors
    /// When the log is empty or does not add up.
    pub fn with(
        log: &[Event],
        sampler: Box<dyn Sampler>,
        scheduler: Box<dyn Scheduler>,
    ) -> Result<Self, HistoryError> {
        let (first, later) = log.split_first().ok_or_else(HistoryError::empty)?;
        let mut engine = Self::opened(first, History::open(first)?, sampler, scheduler);
        later.iter().try_for_each(|event| engine.recall(event))?;
        engine.watch_all();
        Ok(engine)
    }

    fn opened(
        event: &Event,
        history: History,
        sampler: Box<dyn Sampler>,
        scheduler: Box<dyn Scheduler>,
    ) -> Self {
        let mut engine = Self {
            history,
            sampler,
            scheduler,
            open: BTreeSet::new(),
            watches: BTreeMap::new(),
            heard: Heard::default(),
            memory: Ledger::default(),
            exhausted: false,
        };
        engine.observe(event);
        engine
    }

    fn recall(&mut self, event: &Event) -> Result<(), HistoryError> {
        self.history.apply(event)?;
        self.observe(event);
        Ok(())
    }
}
