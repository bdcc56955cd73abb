//! A study read in short says the same of its trials' ends as the whole one.

use std::collections::BTreeMap;

use hpo_store::{Store, read, read_brief};
use hpo_study::study_file::{Source, read as read_study};
use hpo_study::{
    AttemptEnd, AttemptNumber, Config, Event, EventKind, History, StopReason, Timestamp, TrialId,
};

const STUDY: &str = "name: s\ncommand: [\"true\"]\nmethod: random\nmetric: {name: val_loss}\nrun_cap: 9\n\
                     parameters: {lr: {min: 0.1, max: 1.0}}\n";

fn reported(trial: u32, attempt: u32, step: u64, metrics: &[(&str, f64)]) -> EventKind {
    let metrics = metrics.iter().map(|(name, x)| ((*name).to_owned(), *x));
    EventKind::Reported {
        trial: TrialId(trial),
        attempt: AttemptNumber(attempt),
        step,
        metrics: metrics.collect::<BTreeMap<_, _>>(),
    }
}

fn begun(trial: u32) -> [EventKind; 2] {
    let (trial, target) = (TrialId(trial), None);
    let config = Config::from_iter([("lr", 0.5)]);
    [
        EventKind::TrialSuggested {
            trial,
            config,
            bracket: 0,
            target,
        },
        launching(trial.0, 1),
    ]
}

fn launching(trial: u32, attempt: u32) -> EventKind {
    EventKind::AttemptLaunching {
        trial: TrialId(trial),
        attempt: AttemptNumber(attempt),
        target: None,
        assignment: None,
    }
}

fn ended(trial: u32, attempt: u32) -> EventKind {
    EventKind::AttemptEnded {
        trial: TrialId(trial),
        attempt: AttemptNumber(attempt),
        end: AttemptEnd::Lost,
    }
}

#[test]
fn what_matters_of_a_trial_that_is_over_is_there() {
    let source = Source {
        file: "s.yaml".into(),
        directory: "/".into(),
    };
    let spec = Box::new(read_study(STUDY, &source).spec.expect("sound"));
    let hpo_version = "0".to_owned();
    let mut kinds = vec![EventKind::StudyOpened { spec, hpo_version }];
    // Two lines to a step, and the objective not in the last step; and a second attempt that goes back.
    kinds.extend(begun(0));
    kinds.extend((1..50).map(|step| reported(0, 1, step, &[("val_loss", 9.0)])));
    kinds.extend([
        ended(0, 1),
        EventKind::TrialRequeued { trial: TrialId(0) },
        launching(0, 2),
    ]);
    for step in 1..=20 {
        let loss = 1.0 / step as f64;
        kinds.push(reported(0, 2, step, &[("train_loss", loss)]));
        if step < 20 {
            kinds.push(reported(
                0,
                2,
                step,
                &[("val_loss", 2.0 * loss), ("acc", 0.5)],
            ));
        }
    }
    // A report of a process that was replaced does not count, wherever it stands.
    kinds.push(reported(0, 1, 90, &[("val_loss", 77.0)]));
    kinds.extend([ended(0, 2), EventKind::TrialCompleted { trial: TrialId(0) }]);
    kinds.extend(begun(1));
    kinds.extend((1..=30).map(|step| reported(1, 1, step, &[("val_loss", step as f64)])));
    kinds.extend(begun(2));
    kinds.extend([ended(2, 1), EventKind::TrialCompleted { trial: TrialId(2) }]);
    // A later attempt goes back, and ends before it says anything of the objective.
    for (trial, back_to) in [(3, 4), (4, 6)] {
        kinds.extend(begun(trial));
        kinds.extend((1..=6).map(|step| reported(trial, 1, step, &[("val_loss", step as f64)])));
        kinds.push(reported(trial, 1, 7, &[("acc", 0.5)]));
        kinds.extend([
            ended(trial, 1),
            EventKind::TrialRequeued {
                trial: TrialId(trial),
            },
            launching(trial, 2),
            reported(trial, 2, back_to, &[("train_loss", 0.5)]),
            ended(trial, 2),
            EventKind::TrialStopped {
                trial: TrialId(trial),
                reason: StopReason::User,
            },
        ]);
    }
    let event = |(i, kind)| Event {
        at: Timestamp(1_000_000 + i as u64),
        kind,
    };
    let log: Vec<Event> = kinds.into_iter().enumerate().map(event).collect();
    let dir = tempfile::tempdir().expect("a directory");
    drop(Store::create(dir.path(), &log).expect("is created"));

    let brief = read_brief(dir.path()).expect("is read");
    assert!(
        brief.len() < log.len() - 60,
        "{} of {}",
        brief.len(),
        log.len()
    );
    let history = |log: &[Event]| History::replay(log).expect("adds up");
    let (whole, brief) = (
        history(&read(dir.path()).expect("is read")),
        history(&brief),
    );
    for (a, b) in whole.trials().iter().zip(brief.trials()) {
        assert_eq!(
            (&a.state, a.value()),
            (&b.state, b.value()),
            "trial {}",
            a.id
        );
        assert_eq!(a.curve.last_step(), b.curve.last_step());
        for name in whole.metric_names() {
            let (a, b) = (whole.last_metric(a, name), brief.last_metric(b, name));
            let number = |x: Option<f64>| x.filter(|x| !x.is_nan());
            assert_eq!(number(a), number(b), "{name}");
        }
    }
    assert_eq!(whole.trials()[0].value(), Some(2.0 / 19.0));
    assert_eq!(
        whole.trials()[1].curve,
        brief.trials()[1].curve,
        "it still runs"
    );
    assert_eq!(
        whole.running_time(Timestamp(2_000_000)),
        brief.running_time(Timestamp(2_000_000))
    );
}
