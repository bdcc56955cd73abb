//! The plan of a study, for people.

use std::fmt::Write as _;

use hpo_study::divergence::trainer_tells;
use hpo_study::plan::{GridSize, Plan, ScheduleCurve, describe_clause};
use hpo_study::{Confirm, DivergencePolicy, EarlyTerminate, Job, StudySpec};

use crate::number::{short, time};
use crate::picture;
use crate::table::Table;
use crate::text::shortened;
use crate::trials::dash;

/// The longest description of a domain in full, in characters.
const LONGEST_DOMAIN: usize = 600;

/// The plan as text: what is searched, how long it takes at most, the rungs, memory, and a picture
/// of each schedule.
#[must_use]
pub fn text(spec: &StudySpec, plan: &Plan, width: Option<u16>) -> String {
    let mut text = heading(spec, plan);
    text.push('\n');
    let mut table = Table::new(&["parameter", ">values", "domain", "when"]);
    for dimension in &plan.dimensions {
        table.row([
            dimension.parameter.clone(),
            dimension
                .values
                .map_or_else(|| "∞".to_owned(), |n| n.to_string()),
            // Ten thousand choices are in the study file.
            shortened(&dimension.domain, LONGEST_DOMAIN),
            dimension.when.clone().unwrap_or_default(),
        ]);
    }
    text += &table.render(width);
    text += &beliefs(spec);
    text += &rungs(plan);
    text += &memory(plan, width);
    text += &pictures(&plan.schedules, width);
    text
}

/// What is believed beforehand, where anything is.
fn beliefs(spec: &StudySpec) -> String {
    let mut text = String::new();
    for prior in &spec.warm_start.priors.0 {
        let branches = spec.space.parameter(&prior.parameter).map(|p| &p.branches);
        let Some(branch) = branches.and_then(|branches| branches.get(prior.branch)) else {
            continue;
        };
        let clauses = branch.when.0.iter().chain(&prior.when.0);
        let when: Vec<String> = clauses.map(describe_clause).collect();
        let when = match when.is_empty() {
            true => String::new(),
            false => format!(", where {}", when.join(" and ")),
        };
        let words = prior.belief.words(&branch.domain);
        let _ = writeln!(text, "believed: {} {words}{when}", prior.parameter);
    }
    match text.is_empty() {
        true => text,
        false => format!("\n{text}"),
    }
}

fn heading(spec: &StudySpec, plan: &Plan) -> String {
    let job = match &spec.job {
        Job::Command(job) => job.command.join(" "),
        Job::Trainer(trainer) => format!("built-in trainer, {} epochs", trainer.epochs),
    };
    let mut text = String::new();
    let _ = writeln!(text, "study           {}", spec.name);
    let _ = writeln!(text, "each trial      {job}");
    for (i, metric) in spec.objectives().enumerate() {
        let label = if i == 0 { "objective" } else { "         " };
        let goal = match metric.goal {
            hpo_study::Goal::Minimize => "smaller",
            hpo_study::Goal::Maximize => "larger",
        };
        let measured = match hpo_study::Measured::of(&metric.name) {
            Some(_) => ", measured by hpo",
            None => "",
        };
        let name = &metric.name;
        let _ = writeln!(text, "{label}       {name} ({goal} is better{measured})");
    }
    let configurations = match plan.configurations {
        GridSize::Points(n) => n.to_string(),
        GridSize::MoreThan(n) => format!("more than {n}"),
        GridSize::Uncountable => "endless: there are continuous ranges".to_owned(),
    };
    let _ = writeln!(text, "configurations  {configurations}");
    let mut trials = plan
        .trials
        .map_or_else(|| "as many as fit".to_owned(), |n| n.to_string());
    if let Some(cap) = spec.time_cap {
        let _ = write!(trials, ", for at most {}", time(cap));
    }
    let _ = writeln!(text, "trials          {trials}");
    if let Some(repeats) = spec.repeats {
        let runs = plan.trials.map(|n| n.saturating_mul(repeats.into()));
        let runs = runs.map_or_else(String::new, |n| format!(": {n} runs at most"));
        let _ = writeln!(
            text,
            "repeats         each configuration with {repeats} seeds, fewer for the hopeless{runs}"
        );
    }
    if let Some(confirm) = spec.confirm {
        let _ = writeln!(text, "confirming      {}", confirming(spec, plan, confirm));
    }
    if let (Some(expected), Some(most), Some(full)) =
        (plan.expected_steps, plan.most_steps, plan.full_length)
    {
        let steps = if expected == most {
            format!("{most} ({full} to a trial)")
        } else {
            format!("about {expected} with early stopping, at most {most} ({full} to a trial)")
        };
        let _ = writeln!(text, "steps           {steps}");
    }
    let _ = writeln!(
        text,
        "early stopping  {}",
        rule(spec, &spec.early_terminate)
    );
    if let Some(how) = promotion(spec) {
        let _ = writeln!(text, "going on        {how}");
    }
    let _ = writeln!(text, "hopeless runs   {}", hopeless(spec));
    text
}

/// What is run again when the search is over.
fn confirming(spec: &StudySpec, plan: &Plan, confirm: Confirm) -> String {
    let Confirm { top, seeds } = confirm;
    let top = plan
        .trials
        .map_or(top.into(), |trials| trials.min(top.into()));
    let runs = top.saturating_mul(seeds.into());
    let steps = plan
        .full_length
        .map(|steps| format!(", {} steps", steps.saturating_mul(runs)));
    let time = if spec.time_cap.is_some() {
        ", as far as the time allows"
    } else {
        ""
    };
    let times = |n: u64| match n {
        1 => "once".to_owned(),
        n => format!("{n} times"),
    };
    let best = match top {
        1 => "the best configuration is".to_owned(),
        top => format!("the {top} best configurations are each"),
    };
    format!(
        "{best} run {} more with fresh seeds: {runs} runs at most{}{time}",
        times(seeds.into()),
        steps.unwrap_or_default()
    )
}

/// When trials are stopped.
fn rule(spec: &StudySpec, early: &EarlyTerminate) -> String {
    match early {
        EarlyTerminate::None => "never".to_owned(),
        EarlyTerminate::Median {
            min_iter,
            min_trials,
        } => {
            format!("when worse than the median, from step {min_iter} and {min_trials} trials on")
        }
        EarlyTerminate::Auto { min_iter, .. } => auto(*min_iter),
        EarlyTerminate::Percentile {
            percentile,
            min_iter,
            min_trials,
            interval,
        } => {
            let often = match interval {
                1 => String::new(),
                every => format!(", every {every} steps"),
            };
            format!(
                "when not among the best {percentile} %, from step {min_iter} and {min_trials} trials on{often}"
            )
        }
        EarlyTerminate::Wilcoxon {
            p_threshold,
            n_startup_steps,
            metric,
        } => {
            let metric = metric.as_ref().unwrap_or(&spec.metric.name);
            format!(
                "when {metric} is significantly worse than the best trial's (p < {p_threshold}), from {n_startup_steps} \
                 steps in common on"
            )
        }
        EarlyTerminate::Patient {
            rule: other,
            patience,
            min_delta,
        } => {
            let better = match min_delta {
                0.0 => "better".to_owned(),
                delta => format!("better by {}", short(*delta)),
            };
            let held = match **other {
                EarlyTerminate::None => String::new(),
                _ => format!("; {}", rule(spec, other)),
            };
            format!("only when not {better} for more than {patience} reports{held}")
        }
        EarlyTerminate::Asha(r) => format!(
            "ASHA: at each rung the best 1 in {} goes on, at once",
            r.eta
        ),
        EarlyTerminate::AshaPromotion(r) => format!(
            "ASHA: trials wait at each rung, and go on once they are among the best 1 in {}",
            r.eta
        ),
        EarlyTerminate::SuccessiveHalving(r) => {
            format!(
                "successive halving: at each rung the best 1 in {} goes on",
                r.eta
            )
        }
        EarlyTerminate::Hyperband(r) => {
            format!("Hyperband: at each rung the best 1 in {} goes on", r.eta)
        }
        EarlyTerminate::Population(p) => format!(
            "none; of {} members the worst {} copy the best after every {} steps, and go on with another {}",
            p.size,
            p.replaced(),
            p.interval,
            p.mutate.join(", ")
        ),
    }
}

/// What `early_terminate: auto` is going to do.
fn auto(min_iter: u64) -> String {
    let from = match min_iter {
        1 => "their first report".to_owned(),
        step => format!("step {step}"),
    };
    format!(
        "auto: from {from} on, trials further back than those that became good had been at that step; every \
         second one goes on at first, and the study learns where the line is"
    )
}

/// How a trial goes on that is promoted to the next rung; `None` where no trial ever waits at one.
fn promotion(spec: &StudySpec) -> Option<&'static str> {
    match (&spec.early_terminate, &spec.job) {
        (
            EarlyTerminate::None
            | EarlyTerminate::Median { .. }
            | EarlyTerminate::Percentile { .. }
            | EarlyTerminate::Wilcoxon { .. }
            | EarlyTerminate::Patient { .. }
            | EarlyTerminate::Auto { .. },
            _,
        ) => None,
        (EarlyTerminate::Population(_), Job::Trainer(_)) => {
            Some("each interval of a member is a trial, which begins from a copy of a checkpoint")
        }
        (EarlyTerminate::Population(_), Job::Command(_)) => Some(
            "each interval of a member is a trial, which begins from a copy of what another left in \
             HPO_CHECKPOINT_DIR; one that left nothing fails",
        ),
        (EarlyTerminate::Asha(_), _) => {
            Some("trials that are good enough run through, without a pause")
        }
        (_, Job::Trainer(_)) => Some("promoted trials resume from their checkpoints"),
        (_, Job::Command(_)) => Some(
            "promoted trials resume from what they left in HPO_CHECKPOINT_DIR; one that left nothing \
             begins anew",
        ),
    }
}

/// What is done about runs that come to nothing.
fn hopeless(spec: &StudySpec) -> String {
    let watched = &spec.watched().name;
    let done = match spec.divergence.policy {
        DivergencePolicy::Off => return "nobody looks for them".to_owned(),
        DivergencePolicy::Warn => "warned of",
        DivergencePolicy::Auto => "given up",
    };
    match (spec.divergence.chance, spec.planned_steps()) {
        (Some(chance), Some(_)) => {
            format!(
                "{done}, by {watched} (a model that knows nothing gets {})",
                short(chance)
            )
        }
        (None, Some(_)) if is_told(spec) => {
            format!("{done}, by {watched} (the trainer says what a model that knows nothing gets)")
        }
        (None, _) => format!(
            "warned of; given up when {watched} is not finite (more is certain with `num_classes` or \
             `chance` in `metric`)"
        ),
        (Some(_), None) => format!(
            "{done} when far above chance by {watched}, else warned of (more is certain with \
             `planned_steps` in `divergence`)"
        ),
    }
}

/// Whether the trials say what a model that knows nothing gets.
fn is_told(spec: &StudySpec) -> bool {
    matches!(spec.job, Job::Trainer(_)) && trainer_tells(spec.watched())
}

fn rungs(plan: &Plan) -> String {
    let mut text = String::new();
    for (i, bracket) in plan.brackets.iter().enumerate() {
        if i == 0 {
            text.push_str("\nrungs (step: trials that reach it)\n");
        }
        let rungs: Vec<String> = bracket
            .rungs
            .iter()
            .map(|rung| format!("{}: {}", rung.step, rung.trials))
            .collect();
        let _ = writeln!(
            text,
            "  bracket {i}   {}   (as much as {} whole trials)",
            rungs.join("   "),
            short(bracket.full_trainings)
        );
    }
    text
}

fn memory(plan: &Plan, width: Option<u16>) -> String {
    if plan.memory.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["optimizer", ">state", ">weights, gradients, state"]);
    for memory in &plan.memory {
        table.row([
            memory.optimizer.clone(),
            match memory.state_copies {
                0 => dash(),
                n => format!("{n} × weights"),
            },
            bytes(memory.bytes),
        ]);
    }
    format!("\n{}", table.render(width))
}

fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = n as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS.get(unit).copied().unwrap_or_default())
}

/// The learning-rate curves, as many beside each other as fit.
fn pictures(curves: &[ScheduleCurve], width: Option<u16>) -> String {
    const COLUMNS: usize = 30;
    const ROWS: usize = 3;
    const GAP: usize = 4;
    if curves.is_empty() {
        return String::new();
    }
    let beside = ((usize::from(width.unwrap_or(100)) + GAP) / (COLUMNS + GAP)).clamp(1, 4);
    let mut text =
        "\nlearning rate over a run (knobs at their defaults; 0 at the foot)\n".to_owned();
    for group in curves.chunks(beside) {
        let names = group
            .iter()
            .map(|curve| format!("{:width$}", curve.schedule, width = COLUMNS + GAP));
        let _ = writeln!(text, "\n{}", names.collect::<String>().trim_end());
        let drawn: Vec<Vec<String>> = group
            .iter()
            .map(|curve| picture(curve, COLUMNS, ROWS))
            .collect();
        for row in 0..ROWS {
            let line = drawn.iter().map(|p| {
                let part = p.get(row).map_or("", String::as_str);
                format!("{part:width$}", width = COLUMNS + GAP)
            });
            let _ = writeln!(text, "{}", line.collect::<String>().trim_end());
        }
    }
    text
}

fn picture(curve: &ScheduleCurve, columns: usize, rows: usize) -> Vec<String> {
    let rates: Vec<f64> = curve.points.iter().map(|(_, rate)| *rate).collect();
    picture::curve_from(0.0, &rates, columns, rows)
}

#[cfg(test)]
mod tests {
    use crate::sample;

    #[test]
    fn the_plan_for_people() {
        let spec = sample::spec();
        let plan = hpo_study::plan::plan(&spec);
        insta::assert_snapshot!(super::text(&spec, &plan, Some(100)));
    }

    #[test]
    fn bytes_have_units() {
        assert_eq!(super::bytes(1536), "1.5 KiB");
        assert_eq!(super::bytes(5 << 30), "5.0 GiB");
    }
}
