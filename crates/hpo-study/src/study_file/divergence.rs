//! `divergence`, and `chance` and `num_classes` of `metric`: what is done about runs that come to
//! nothing, and how they are told.

use super::problem::Problems;
use super::yaml::Node;
use crate::divergence::{Divergence, DivergencePolicy, NoProgress, Rescue, trainer_tells};
use crate::spec::{Dataset, Goal, Job, Metric, Task};

/// Reads it all. `None` when something is wrong; then it has been reported.
pub(super) fn read(
    root: &Node,
    objective: &Metric,
    job: Option<&Job>,
    problems: &mut Problems,
) -> Option<Divergence> {
    let node = root.get("divergence");
    let get = |key: &str| node.and_then(|node| node.get(key));
    let whole = |key: &str| {
        get(key)
            .and_then(Node::whole)
            .and_then(|steps| u64::try_from(steps).ok())
    };
    let policy = match get("policy").map(Node::text) {
        None | Some(Some("auto")) => DivergencePolicy::Auto,
        Some(Some("warn")) => DivergencePolicy::Warn,
        Some(Some("off")) => DivergencePolicy::Off,
        Some(_) => return None,
    };
    let metric = watched(node, objective, job)?;
    let chance = chance(root, objective, metric.as_ref(), problems)
        .or_else(|| known(metric.as_ref().unwrap_or(objective), job?));
    let told =
        matches!(job, Some(Job::Trainer(_))) && trainer_tells(metric.as_ref().unwrap_or(objective));
    if get("policy").is_some() && policy == DivergencePolicy::Auto && chance.is_none() && !told {
        problems.warning(
            root.key_span("divergence"),
            format!(
                "`{}` of a model that knows nothing is unknown: unless the trials say it, only \
                 values that are not finite will stop one, all else is a warning",
                metric.as_ref().unwrap_or(objective).name
            ),
            "add `num_classes: 10` to `metric`, or `chance: 2.3` to `divergence`, or report `chance/METRIC`",
        );
    }
    Some(Divergence {
        policy,
        metric,
        chance,
        planned_steps: whole("planned_steps"),
        recover_steps: whole("recover_steps"),
        grace_steps: whole("grace_steps").unwrap_or(0),
        no_progress: match get("no_progress").map(Node::flag) {
            None | Some(Some(true)) => NoProgress::Stop,
            Some(Some(false)) => NoProgress::Warn,
            Some(None) => return None,
        },
        rescue: match get("rescue") {
            None => None,
            Some(rescue) => Some(read_rescue(rescue)?),
        },
    })
}

fn read_rescue(node: &Node) -> Option<Rescue> {
    let attempts = node.get("attempts").map_or(Some(1), Node::whole)?;
    Some(Rescue {
        attempts: u32::try_from(attempts).ok()?,
        lr_factor: node.get("lr_factor").map_or(Some(0.1), Node::number)?,
    })
}

/// The metric to watch, where it is not the objective. `Some(None)`: it is.
///
/// What a model that knows nothing gets in `val_loss` or `val_rmse` of a regression depends on the
/// validation rows; in `val_r2` it is 0, and the three rise and fall together.
fn watched(node: Option<&Node>, objective: &Metric, job: Option<&Job>) -> Option<Option<Metric>> {
    let named = node.and_then(|node| node.get("metric"));
    let goal = match node.and_then(|node| node.get("goal")).map(Node::text) {
        None => None,
        Some(Some("minimize")) => Some(Goal::Minimize),
        Some(Some("maximize")) => Some(Goal::Maximize),
        Some(_) => return None,
    };
    let Some(named) = named else {
        let of_regression = ["val_loss", "val_rmse"].contains(&objective.name.as_str())
            && task(job) == Some(Task::Regression)
            && node.is_none_or(|node| node.get("chance").is_none());
        return Some(of_regression.then(|| Metric {
            name: "val_r2".to_owned(),
            goal: Goal::Maximize,
        }));
    };
    let name = named.text()?.to_owned();
    if name == objective.name {
        return Some(None);
    }
    let ours = matches!(job, Some(Job::Trainer(_))) && ["val_accuracy", "val_r2"].contains(&&*name);
    let goal = goal.unwrap_or(if ours { Goal::Maximize } else { Goal::Minimize });
    Some(Some(Metric { name, goal }))
}

/// What the file says of the value of a model that knows nothing.
fn chance(
    root: &Node,
    objective: &Metric,
    watched: Option<&Metric>,
    problems: &mut Problems,
) -> Option<f64> {
    let metric = super::objectives::watched(root)?;
    let (of_objective, classes) = (metric.get("chance"), metric.get("num_classes"));
    if let (Some(_), Some(_)) = (of_objective, classes) {
        problems.error_with_hint(
            metric.key_span("num_classes"),
            "`chance` and `num_classes` say the same twice",
            "keep one of them",
        );
        return None;
    }
    let own = root.get("divergence").and_then(|node| node.get("chance"));
    if let (Some(_), Some(_), None) = (own, of_objective, watched) {
        problems.error_with_hint(
            root.get("divergence")?.key_span("chance"),
            "`chance` is given twice: in `metric` and in `divergence`",
            "keep one of them",
        );
        return None;
    }
    if let Some(own) = own {
        return own.number();
    }
    if let (Some(of_objective), None) = (of_objective, watched) {
        return of_objective.number();
    }
    let classes = classes.and_then(Node::whole)? as f64;
    Some(of_classes(watched.unwrap_or(objective).goal, classes))
}

/// ln(classes), the cross-entropy of a model that takes all classes for equally likely, or the share
/// that it gets right.
fn of_classes(goal: Goal, classes: f64) -> f64 {
    match goal {
        Goal::Minimize => classes.ln(),
        Goal::Maximize => 1.0 / classes,
    }
}

/// What is known of the built-in trainer without being said.
fn known(watched: &Metric, job: &Job) -> Option<f64> {
    const DIGITS: f64 = 10.0;
    let Job::Trainer(trainer) = job else {
        return None;
    };
    match (&*watched.name, task(Some(job))?) {
        ("val_loss" | "train_loss", Task::Classification)
            if trainer.dataset == Dataset::Digits && watched.goal == Goal::Minimize =>
        {
            Some(DIGITS.ln())
        }
        ("val_accuracy", Task::Classification)
            if trainer.dataset == Dataset::Digits && watched.goal == Goal::Maximize =>
        {
            Some(1.0 / DIGITS)
        }
        // The mean square of a target that was standardized with these very rows.
        ("train_loss", Task::Regression) if watched.goal == Goal::Minimize => Some(1.0),
        ("val_r2", Task::Regression) if watched.goal == Goal::Maximize => Some(0.0),
        _ => None,
    }
}

/// What the built-in trainer learns, where the study says it.
fn task(job: Option<&Job>) -> Option<Task> {
    match job? {
        Job::Trainer(trainer) => match &trainer.dataset {
            Dataset::Digits => Some(Task::Classification),
            Dataset::Csv { task, .. } => *task,
        },
        Job::Command(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study_file::{Source, read};

    fn divergence(job: &str, metric: &str, more: &str) -> Divergence {
        let text = format!(
            "{job}\nmethod: random\nmetric: {metric}\nrun_cap: 3\n\
             parameters: {{optimizer: {{value: adam}}}}\n{more}\n"
        );
        let source = Source {
            file: "s.yaml".into(),
            directory: "/".into(),
        };
        let checked = read(&text, &source);
        let spec = checked
            .spec
            .unwrap_or_else(|| panic!("{:?}", checked.problems));
        spec.divergence
    }

    const DIGITS: &str = "trainer: {model: mlp, dataset: digits, epochs: 3}";
    const TABLE: &str =
        "trainer: {model: mlp, dataset: {csv: a.csv, target: y, task: TASK}, epochs: 3}";

    fn chance(job: &str, metric: &str, more: &str) -> Option<f64> {
        divergence(job, metric, more).chance
    }

    #[test]
    fn the_built_in_trainer_knows_its_chance_level() {
        assert_eq!(chance(DIGITS, "{name: val_loss}", ""), Some(10f64.ln()));
        let accuracy = "{name: val_accuracy, goal: maximize}";
        assert_eq!(chance(DIGITS, accuracy, ""), Some(0.1));
        let loss = "divergence: {metric: train_loss}";
        assert_eq!(chance(DIGITS, accuracy, loss), Some(10f64.ln()));
        assert_eq!(chance(DIGITS, "{name: lr}", ""), None);
        // Upside down nothing is known.
        assert_eq!(chance(DIGITS, "{name: val_loss, goal: maximize}", ""), None);
        let classes = TABLE.replace("TASK", "classification");
        assert_eq!(chance(&classes, "{name: val_loss}", ""), None);
        let three = "{name: val_loss, num_classes: 3}";
        assert_eq!(chance(&classes, three, ""), Some(3f64.ln()));
    }

    #[test]
    fn a_regression_is_watched_by_a_metric_of_which_chance_is_known() {
        let job = TABLE.replace("TASK", "regression");
        for objective in ["{name: val_rmse}", "{name: val_loss}"] {
            let read = divergence(&job, objective, "");
            let watched = read.metric.unwrap();
            assert_eq!((&*watched.name, watched.goal), ("val_r2", Goal::Maximize));
            assert_eq!(read.chance, Some(0.0));
        }
        let own = divergence(&job, "{name: val_rmse}", "divergence: {chance: 5.5}");
        assert_eq!((own.metric, own.chance), (None, Some(5.5)));
        assert_eq!(chance(&job, "{name: train_loss}", ""), Some(1.0));
    }

    #[test]
    fn a_command_says_it_itself() {
        let job = "program: train.py";
        assert_eq!(divergence(job, "{name: loss}", ""), Divergence::default());
        assert_eq!(chance(job, "{name: loss, chance: 2.5}", ""), Some(2.5));
        let accuracy = "{name: acc, goal: maximize, num_classes: 4}";
        assert_eq!(chance(job, accuracy, ""), Some(0.25));
        // The classes hold for every metric, the chance level for its own.
        let loss = "divergence: {metric: loss}";
        assert_eq!(chance(job, accuracy, loss), Some(4f64.ln()));
        assert_eq!(chance(job, "{name: acc, chance: 0.1}", loss), None);
    }

    #[test]
    fn every_key_is_read() {
        let read = divergence(
            "program: train.py",
            "{name: loss}",
            "divergence: {policy: warn, metric: train_acc, goal: maximize, chance: 0.1, \
             planned_steps: 500, recover_steps: 50, grace_steps: 20, no_progress: false, \
             rescue: {attempts: 2, lr_factor: 0.5}}",
        );
        let expected = Divergence {
            policy: DivergencePolicy::Warn,
            metric: Some(Metric {
                name: "train_acc".into(),
                goal: Goal::Maximize,
            }),
            chance: Some(0.1),
            planned_steps: Some(500),
            recover_steps: Some(50),
            grace_steps: 20,
            no_progress: NoProgress::Warn,
            rescue: Some(Rescue {
                attempts: 2,
                lr_factor: 0.5,
            }),
        };
        assert_eq!(read, expected);
    }
}
