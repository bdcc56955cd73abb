//! The loop that runs a study.

mod opening;
mod performing;
mod signals;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hpo_engine::{ChangeError, Engine, Input};
use hpo_store::{Store, StoreError};
use hpo_study::control::{Answer, Request};
use hpo_study::{
    Confirm, Event, EventKind, GpuSample, History, OnCrash, StudySpec, Timestamp, TrialId,
};

pub(crate) use opening::recall;
use opening::{host_name, left_over, nothing_to_do, open_or_create, slots};
use signals::{Signals, Wish};

use crate::checkpoints::Sweeper;
use crate::clock;
use crate::control::Desk;
use crate::error::RunError;
use crate::executor::local::Local;
use crate::executor::reader::Listening;
use crate::executor::{Executor, LeftOver};
use crate::files::write_best;
use crate::gpu::Gpus;
use crate::importing;
use crate::job::Workshop;
use crate::logging::log_event;
use crate::notify::Notifier;
use crate::room::{self, Room};
use crate::session::{AttemptId, Session};
use crate::snapshot::{About, Snapshot};
use crate::spares::Spares;
use crate::wishes::Wishes;

/// How often a live view is refreshed.
const REFRESH: Duration = Duration::from_millis(250);
/// How long to wait when the system has no room, for another process or on the disk.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// What to run, and where.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The study's directory; made if it is not there.
    pub study_dir: PathBuf,
    /// The study as its file says it now.
    pub spec: StudySpec,
    /// Where trials' processes run: the directory of the study file.
    pub work_dir: PathBuf,
    /// This program: `<it> train` is the built-in trainer, and `<it> warden` the warden.
    pub trainer_program: PathBuf,
    /// This program's version.
    pub hpo_version: String,
    /// The study file, where one was given.
    pub study_file: Option<PathBuf>,
    /// Only to run the best again with fresh seeds.
    pub confirm: Option<Confirm>,
    /// Whether the packages of the trials' Python are to be listed.
    pub pip_freeze: bool,
}

/// Somebody who looks on.
pub trait View {
    /// Something happened; it is durable already. `history` holds it and everything of the same turn.
    fn event(&mut self, history: &History, event: &Event);
    /// Time passed: about four times a second while the study runs.
    fn tick(&mut self, history: &History, now: Timestamp);
    /// What the GPUs of a study hold; comes before each [`View::tick`] of a study that uses any.
    fn gpus(&mut self, _gpus: &[GpuSample]) {}
}

/// How a session came to its end.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Everything that is known of the study.
    pub history: History,
    /// The user stopped it before it was done; the same command goes on with it.
    pub stopped_by_user: bool,
}

/// Runs a study, or takes up what is there of it, until it is done or the user stops it. Nothing is
/// run when there is nothing left to do.
///
/// Blocks. Call it on the main thread of a process that starts no other children meanwhile: all child
/// processes are looked after here, and so are SIGINT (once: no new trials; twice: running ones are
/// ended and put back; thrice: at once), SIGTERM and SIGHUP (as twice).
///
/// # Errors
/// When the study is being run by another process, its file was changed in a way that does not go
/// with what was found, or the disk or the system refuses something without which no study runs.
pub fn run(options: RunOptions, view: &mut dyn View) -> Result<Outcome, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|source| RunError::System {
        what: "cannot set up asynchronous I/O",
        source,
    })?;
    runtime.block_on(run_session(options, view))
}

async fn run_session(options: RunOptions, view: &mut dyn View) -> Result<Outcome, RunError> {
    let absolute = |path: &PathBuf| std::path::absolute(path).map_err(RunError::io(path));
    let (study_dir, work_dir) = (absolute(&options.study_dir)?, absolute(&options.work_dir)?);
    let (store, mut engine) = open_or_create(&options, &study_dir)?;
    if options.confirm.is_none() && nothing_to_do(engine.history(), &options.spec) {
        let history = engine.into_history();
        return Ok(Outcome {
            history,
            stopped_by_user: false,
        });
    }
    clock::begin(engine.history().last_event());
    let now = after(engine.history());
    let mut events = engine.begin_session(now, std::process::id(), &host_name())?;
    events.extend(
        engine
            .change_spec(now, options.spec)
            .map_err(|error| match error {
                ChangeError::Refused { changes } => RunError::SpecChanged { changes },
                ChangeError::History(error) => RunError::History(error),
            })?,
    );

    if let Some(confirm) = options.confirm {
        events.extend(engine.record(now, EventKind::ConfirmRequested { confirm })?);
    }
    let study_file = match &options.study_file {
        Some(path) => Some(absolute(path)?),
        None => engine
            .history()
            .code()
            .last()
            .and_then(|c| Some(c.study_file.clone()?.into())),
    };
    let about = About {
        study_dir: &study_dir,
        work_dir: &work_dir,
        study_file: study_file.as_deref(),
        hpo_version: &options.hpo_version,
        pip_freeze: options.pip_freeze,
    };
    let snapshot = Snapshot::of(engine.history(), &about);

    // Everything that can be refused comes before the first write.
    let signals = Signals::new()?;
    let history = engine.history();
    let session = Session::new(&study_dir, history.opened(), history.sessions())
        .map_err(RunError::io(&study_dir))?;
    let program = options.trainer_program;
    let slots = slots(history.spec());
    let snapshot = snapshot.keep(&study_dir);
    events.extend(engine.record(now, EventKind::SnapshotTaken { snapshot })?);
    let history = engine.history();
    let keep = history.spec().on_crash == OnCrash::Adopt;
    let listening = Listening::of(history.spec());
    let gpus = Gpus::start(history.spec(), session.clone())?;
    let executor = Local::start(
        &study_dir,
        session.clone(),
        listening,
        slots,
        program.as_os_str(),
        keep,
    )?;
    let room = Room::of(&study_dir);
    let sweeper = Sweeper::of(&study_dir);
    let workshop = Workshop {
        spares: Spares::start(&study_dir),
        study_dir,
        work_dir,
        trainer_program: program,
        session,
    };
    let left = left_over(&engine, &store)?;
    let desk = Desk::open(&workshop.study_dir)?;
    let mut coordinator = Coordinator {
        workshop,
        store,
        engine,
        executor: Box::new(executor),
        gpus,
        view,
        signals,
        performed: BTreeSet::new(),
        no_room: None,
        room,
        sweeper,
        wished: None,
        best: None,
        desk,
        wishes: Wishes::default(),
        notifier: Notifier::default(),
        best_is_due: true,
    };
    let begun = coordinator.take_in(&events).await;
    drop(events);
    let result = match begun {
        Ok(()) => coordinator.live(left).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &result {
        let history = coordinator.engine.history();
        coordinator.notifier.gave_up(history, error);
    }
    result?;
    let history = coordinator.engine.into_history();
    let stopped_by_user = history.draining() && history.end().is_none();
    Ok(Outcome {
        history,
        stopped_by_user,
    })
}

/// Now, but never before the last event.
fn after(history: &History) -> Timestamp {
    clock::now().max(history.last_event())
}

struct Coordinator<'v> {
    // First, so that whatever happens all processes are gone before the store's lock is.
    executor: Box<dyn Executor>,
    gpus: Gpus,
    workshop: Workshop,
    store: Store,
    engine: Engine,
    view: &'v mut dyn View,
    signals: Signals,
    /// Commands that were performed and not acknowledged yet; `true`: a stop.
    performed: BTreeSet<(AttemptId, bool)>,
    /// Since when the system has had no room for another process, and when to try again.
    no_room: Option<(Instant, Instant)>,
    room: Room,
    sweeper: Sweeper,
    /// What a signal asked for while nothing could be done about it.
    wished: Option<Wish>,
    /// The trial whose configuration stands in the file of the best, and how many runs had confirmed
    /// the best by then, …
    best: Option<(TrialId, usize)>,
    desk: Desk,
    wishes: Wishes,
    notifier: Notifier,
    /// … and whether there may be another one by now.
    best_is_due: bool,
}

impl Coordinator<'_> {
    async fn live(&mut self, left: Vec<LeftOver>) -> Result<(), RunError> {
        let mut inputs = self.executor.recover(&left);
        for LeftOver { id, .. } in left {
            if self.executor.has(id) {
                let dir = &self.workshop.study_dir;
                self.wishes.recall(id, self.engine.history(), dir);
            }
        }
        inputs.push(Input::Tick);
        let mut refreshed = Instant::now();
        loop {
            inputs.extend(self.executor.poll());
            if self.gpus.has_news() {
                inputs.push(Input::Tick);
            }
            self.turn(std::mem::take(&mut inputs)).await?;
            if self.engine.is_done() {
                break;
            }
            inputs = self.perform()?;
            if refreshed.elapsed() >= REFRESH {
                refreshed = Instant::now();
                self.view.gpus(self.gpus.now());
                self.store.check_place()?;
                self.follow_the_clock().await?;
                self.view
                    .tick(self.engine.history(), after(self.engine.history()));
                self.serve().await?;
                // Something may have become due by time alone.
                inputs.push(Input::Tick);
            }
            // What is known at once is not waited for; but where every trial is refused, signals are to be heard as well.
            let pause = match inputs.is_empty() {
                true => REFRESH.saturating_sub(refreshed.elapsed()),
                false => Duration::ZERO,
            };
            if let Some(wish) = self.wait(pause).await {
                inputs.push(self.grant(&wish));
            }
        }
        self.executor.close();
        let samples = self.gpus.rest();
        self.store.add_samples(&samples)?;
        self.view
            .tick(self.engine.history(), after(self.engine.history()));
        Ok(())
    }

    /// One turn: what happened goes in, and what is decided is written before anything is done.
    async fn turn(&mut self, mut inputs: Vec<Input>) -> Result<(), RunError> {
        let now = after(self.engine.history());
        let due = || self.engine.next_deadline(now).is_some_and(|at| at <= now);
        if inputs.is_empty() && !due() {
            return Ok(());
        }
        for input in &inputs {
            if let Input::Ended { trial, attempt, .. } = input {
                let id = AttemptId {
                    trial: *trial,
                    attempt: *attempt,
                };
                self.performed.remove(&(id, false));
                self.performed.remove(&(id, true));
            }
        }
        let mut inventory = self.executor.inventory();
        let study_dir = &self.workshop.study_dir;
        self.gpus
            .hear(&mut inputs, self.engine.history(), study_dir);
        self.gpus.fill(&mut inventory);
        if self.room.is_short() {
            inventory.cpu_slots = 0;
        }
        self.room.explain(self.engine.history(), &mut inputs);
        let events = self.engine.step(now, &inventory, inputs)?;
        self.take_in(&events).await?;
        let samples = self.gpus.note(self.engine.history(), &inventory, now);
        match self.store.add_samples(&samples).map_err(RunError::from) {
            // Samples are for looking at; they are not worth waiting for.
            Err(error) if room::is_full(&error) => self.room.is_full(),
            Err(RunError::Store(StoreError::Busy { .. })) => {}
            written => written?,
        }
        Ok(())
    }

    /// The time in which the machine slept is nobody's.
    async fn follow_the_clock(&mut self) -> Result<(), RunError> {
        let Some((from, to)) = clock::moved() else {
            return Ok(());
        };
        let last = self.engine.history().last_event();
        let events = self.engine.clock_moved(from.max(last), to.max(last))?;
        self.take_in(&events).await
    }

    /// Waits for room on the disk with events that have to be written before anything else is done. What
    /// trials report meanwhile waits in their files.
    async fn wait_for_room(&mut self, full: RunError) -> Result<(), RunError> {
        self.room.is_full();
        self.wait_to_write(full).await
    }

    /// Waits a while before something is written again, unless the user has no patience for it.
    async fn wait_to_write(&mut self, refused: RunError) -> Result<(), RunError> {
        self.store.check_place()?;
        let history = self.engine.history();
        self.view.tick(history, after(history));
        tokio::select! {
            wish = self.signals.wish() => match wish {
                Wish::Drain => {
                    self.wished = Some(wish);
                    Ok(())
                }
                Wish::Interrupt | Wish::AtOnce => Err(refused),
            },
            () = tokio::time::sleep(TRY_AGAIN) => Ok(()),
        }
    }

    /// Makes events durable and shows them.
    async fn take_in(&mut self, events: &[Event]) -> Result<(), RunError> {
        let mut told = false;
        while let Err(error) = self.store.append(events).map_err(RunError::from) {
            if matches!(error, RunError::Store(StoreError::Busy { .. })) {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!("{error}: everything waits until it is done (docs/database.md)");
                }
                self.wait_to_write(error).await?;
            } else if room::is_full(&error) {
                self.wait_for_room(error).await?;
            } else {
                return Err(error);
            }
        }
        let history = self.engine.history();
        // What happened elsewhere is no news.
        let own = |event: &&Event| {
            let trial = event.kind.trial();
            !trial.is_some_and(|trial| history.is_imported(trial))
        };
        for event in events.iter().filter(own) {
            log_event(history, event);
            self.view.event(history, event);
            self.notifier.event(history, event);
        }
        self.sweeper.see(history, events);
        let completed = |event: &Event| match event.kind {
            EventKind::TrialCompleted { .. } => true,
            // How a confirming run ends changes the answer, however it ends.
            EventKind::TrialStopped { trial, .. } | EventKind::TrialFailed { trial, .. } => {
                trial.confirmation_index().is_some()
            }
            _ => false,
        };
        self.best_is_due |= events.iter().any(completed);
        self.keep_best()
    }

    fn keep_best(&mut self) -> Result<(), RunError> {
        if !std::mem::take(&mut self.best_is_due) {
            return Ok(());
        }
        let history = self.engine.history();
        let final_runs = history.confirmations().iter();
        let final_runs = final_runs.filter(|run| run.state.is_final()).count();
        // Of a front the newest member: whoever leaves it gives way to one.
        let best = history.newest_best().map(|id| (id, final_runs));
        if best == self.best {
            return Ok(());
        }
        match write_best(&self.workshop.study_dir, history) {
            Err(error) if room::is_full(&error) => {
                self.room.is_full();
                self.best_is_due = true;
            }
            result => {
                result?;
                self.best = best;
            }
        }
        Ok(())
    }

    /// Answers what users have asked for, one after the other.
    async fn serve(&mut self) -> Result<(), RunError> {
        for (ticket, asked) in self.desk.take() {
            let answer = match asked {
                Err(why) => Answer::refused(why),
                Ok(request) => {
                    // Whatever else has happened comes first, and a jump of the clock above all.
                    self.turn(Vec::new()).await?;
                    let now = after(self.engine.history());
                    let (events, answer) = match &request {
                        Request::Import { file } => importing::answer(
                            &mut self.engine,
                            now,
                            &self.workshop.study_dir,
                            file,
                        )?,
                        _ => self.engine.ask(now, request.clone())?,
                    };
                    if !events.is_empty() {
                        self.take_in(&events).await?;
                        self.follow(&request);
                    }
                    answer
                }
            };
            self.desk.answer(&ticket, &answer);
        }
        Ok(())
    }

    /// Does what follows from a request beside the engine's commands.
    fn follow(&mut self, request: &Request) {
        let history = self.engine.history();
        self.executor.resize(slots(history.spec()));
        let grace = history.spec().stop_grace;
        let dir = &self.workshop.study_dir;
        let Some(id) = self.wishes.hear(request, history, dir) else {
            return;
        };
        // A process that is being ended already is ended the new way.
        if self.performed.contains(&(id, true)) {
            let (term, kill) = self.wishes.manner(id, grace);
            self.executor.cancel(id, term, kill);
        }
    }

    /// Waits until something may have happened; gives back what a signal asks for.
    async fn wait(&mut self, at_most: Duration) -> Option<Wish> {
        if let Some(wish) = self.wished.take() {
            return Some(wish);
        }
        let now = after(self.engine.history());
        let deadline = self.engine.next_deadline(now).map(|at| at.since(now));
        let again = self
            .no_room
            .map(|(_, again)| again.saturating_duration_since(Instant::now()))
            // It is past where something else stands in the way: a full disk.
            .filter(|left| !left.is_zero());
        let pause = [deadline, again]
            .into_iter()
            .flatten()
            .fold(at_most, Duration::min);
        tokio::select! {
            wish = self.signals.wish() => Some(wish),
            () = self.executor.changed() => None,
            () = self.gpus.news() => None,
            () = tokio::time::sleep(pause) => None,
        }
    }

    fn grant(&mut self, wish: &Wish) -> Input {
        match wish {
            Wish::Drain => Input::Drain,
            Wish::Interrupt => Input::Interrupt,
            Wish::AtOnce => {
                for (trial, attempt, _) in self.engine.leftovers() {
                    self.executor.cancel(
                        AttemptId { trial, attempt },
                        Duration::ZERO,
                        Duration::ZERO,
                    );
                }
                Input::Interrupt
            }
        }
    }
}
