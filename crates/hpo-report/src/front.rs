//! The front of a study with several objectives: the trials that no other is better than, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hpo_study::seed::{Purpose, derive};
use hpo_study::{Config, Goal, History, Trial, TrialId, Value, front};
use serde::Serialize;

use crate::export::yaml;
use crate::number::{short, short_value};
use crate::table::Table;

/// An objective.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Objective {
    /// Its name.
    pub name: String,
    /// Which way is better.
    pub goal: Goal,
}

/// A trial of the front.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Member {
    /// Its number.
    pub trial: TrialId,
    /// Its value in each objective.
    pub values: BTreeMap<String, Value>,
    /// Its configuration.
    pub params: Config,
}

/// What `hpo best -f json` prints of a study with several objectives. Fields are added in later versions, never changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Front {
    /// Version of this contract.
    pub version: u32,
    /// The study's name.
    pub study: String,
    /// The objectives, in the order of the study file but for the one that trials are watched by, which is first.
    pub objectives: Vec<Objective>,
    /// The trial of the front that is the best compromise; `None` while there is none.
    pub compromise: Option<TrialId>,
    /// The front, by the first objective, the best first.
    pub front: Vec<Member>,
}

/// The objectives of a study.
#[must_use]
pub fn objectives(history: &History) -> Vec<Objective> {
    let all = history.spec().objectives();
    all.map(|metric| Objective {
        name: metric.name.clone(),
        goal: metric.goal,
    })
    .collect()
}

/// A trial's value in each objective that it has one in, by name.
#[must_use]
pub fn values(history: &History, trial: &Trial) -> BTreeMap<String, Value> {
    let names = history
        .spec()
        .objectives()
        .map(|metric| metric.name.clone());
    let pairs = names.zip(history.values(trial));
    pairs
        .filter_map(|(name, value)| Some((name, Value::Float(value?))))
        .collect()
}

/// The same for a study with several objectives; nothing where there is one.
#[must_use]
pub fn values_of_several(history: &History, trial: &Trial) -> BTreeMap<String, Value> {
    match history.spec().has_several() {
        true => values(history, trial),
        false => BTreeMap::new(),
    }
}

/// The same in words: `val_loss = 0.41, hpo/seconds = 12.5`.
#[must_use]
pub fn words(history: &History, trial: &Trial) -> String {
    let all = history.spec().objectives().zip(history.values(trial));
    let one = |(metric, value): (&hpo_study::Metric, Option<f64>)| {
        let value = value.map_or_else(|| "no value".to_owned(), short);
        format!("{} = {value}", metric.name)
    };
    all.map(one).collect::<Vec<String>>().join(", ")
}

/// The members of the front, the best in the first objective first.
#[must_use]
pub fn sorted(history: &History) -> Vec<&Trial> {
    let first = |trial: &Trial| history.losses(trial)?.first().copied();
    let front = history.front().into_iter();
    let mut trials: Vec<(Option<f64>, &Trial)> = front.map(|t| (first(t), t)).collect();
    trials.sort_by(|(a, _), (b, _)| {
        a.zip(*b)
            .map_or(std::cmp::Ordering::Equal, |(a, b)| a.total_cmp(&b))
    });
    trials.into_iter().map(|(_, trial)| trial).collect()
}

/// The members of the front as data.
#[must_use]
pub fn members(history: &History) -> Vec<Member> {
    let member = |trial: &Trial| Member {
        trial: trial.id,
        values: values(history, trial),
        params: trial.config.clone(),
    };
    sorted(history).into_iter().map(member).collect()
}

/// The front as data.
#[must_use]
pub fn data(history: &History) -> Front {
    Front {
        version: 1,
        study: history.spec().name.clone(),
        objectives: objectives(history),
        compromise: history.compromise().map(|t| t.id),
        front: members(history),
    }
}

/// The front as JSON, a line break at its end.
#[must_use]
pub fn json(history: &History) -> String {
    // Plain data with text keys: this cannot fail.
    serde_json::to_string_pretty(&data(history)).unwrap_or_default() + "\n"
}

/// The front as a YAML list, each trial with its number, values and parameters.
#[must_use]
pub fn yaml(history: &History) -> String {
    let mut text = format!("# {}\n", sentence(history).replace(char::is_control, " "));
    let front = sorted(history);
    if front.is_empty() {
        text.push_str("[]\n");
    }
    let compromise = history.compromise().map(|t| t.id);
    for trial in front {
        let _ = writeln!(text, "- trial: {}", trial.id);
        if Some(trial.id) == compromise {
            text.push_str("  compromise: true\n");
        }
        let map = |text: &mut String, key: &str, pairs: Vec<(&String, &Value)>| {
            let empty = if pairs.is_empty() { " {}" } else { "" };
            let _ = writeln!(text, "  {key}:{empty}");
            for (name, value) in pairs {
                let _ = writeln!(text, "    {}: {}", yaml::string(name), yaml::scalar(value));
            }
        };
        let values = values(history, trial);
        map(&mut text, "values", values.iter().collect());
        map(&mut text, "params", trial.config.iter().collect());
    }
    text
}

/// `the front of digits: 5 trials that no other dominates (better: val_loss smaller, acc larger)`.
#[must_use]
pub fn sentence(history: &History) -> String {
    let goals: Vec<String> = objectives(history)
        .iter()
        .map(|o| match o.goal {
            Goal::Minimize => format!("{} smaller", o.name),
            Goal::Maximize => format!("{} larger", o.name),
        })
        .collect();
    let count = match history.front().len() {
        1 => "1 trial that no other dominates".to_owned(),
        n => format!("{n} trials that no other dominates"),
    };
    format!(
        "the front of {}: {count} (better: {})",
        history.spec().name,
        goals.join(", ")
    )
}

/// One line on where the front is: `5 trials on the front; the best compromise is trial 3: val_loss = 0.4, …`; `None`
/// while there is none.
#[must_use]
pub fn line(history: &History) -> Option<String> {
    let best = history.compromise()?;
    let on_it = match history.front().len() {
        1 => "1 trial on the front".to_owned(),
        n => format!("{n} trials on the front"),
    };
    Some(format!(
        "{on_it}; the best compromise is trial {}: {}",
        best.id,
        words(history, best)
    ))
}

/// The front as a table for people, with the best compromise marked; `None` while nothing has completed.
#[must_use]
pub fn table(history: &History, width: Option<u16>) -> Option<String> {
    let compromise = history.compromise()?.id;
    let names = history
        .spec()
        .objectives()
        .map(|metric| format!(">{}", metric.name));
    let mut headers = vec![">trial".to_owned(), String::new()];
    headers.extend(names);
    headers.push("configuration".to_owned());
    let mut table = Table::new(&headers.iter().map(String::as_str).collect::<Vec<_>>());
    for trial in sorted(history) {
        let mark = if trial.id == compromise { "*" } else { "" };
        let mut cells = vec![trial.id.to_string(), mark.to_owned()];
        let values = history.values(trial).into_iter();
        cells.extend(values.map(|value| value.map_or_else(String::new, short)));
        let params = trial.config.iter();
        let params = params.map(|(name, value)| format!("{name}={}", short_value(value)));
        cells.push(params.collect::<Vec<_>>().join(" "));
        table.row(cells);
    }
    Some(table.render(width) + "(*: the best compromise, nearest to the best of every objective)\n")
}

/// How much of the space of objectives the front covered when each trial completed: trial, and hypervolume as a share of
/// the box from the best to somewhat beyond the worst that completed trials had of each objective.
#[must_use]
pub fn covered(history: &History) -> Vec<(TrialId, f64)> {
    let completed = history.trials().iter();
    let mut done: Vec<(&Trial, Vec<f64>)> = completed
        .filter(|t| t.state == hpo_study::TrialState::Completed && t.origin.is_none())
        .filter_map(|t| Some((t, history.losses(t)?)))
        .collect();
    done.sort_by_key(|(trial, _)| (trial.ended, trial.id));
    let (trials, losses): (Vec<&Trial>, Vec<Vec<f64>>) = done.into_iter().unzip();
    let Some(first) = losses.first() else {
        return Vec::new();
    };
    let reference = front::beyond(first.len());
    let shares = shares(&front::normalized(&losses), &reference);
    trials.iter().map(|trial| trial.id).zip(shares).collect()
}

/// The volume that the first one dominates, the first two, and so on, as shares of what the reference point does.
fn shares(losses: &[Vec<f64>], reference: &[f64]) -> Vec<f64> {
    /// About a second, see [`front::Work`].
    const ENOUGH: u64 = 100_000_000;
    measured(losses, reference, &mut front::Work::of(ENOUGH))
        .unwrap_or_else(|| estimated(losses, reference))
}

/// Which of many points spread evenly over the box are dominated: within about one in a hundred, however many objectives
/// there are.
fn estimated(losses: &[Vec<f64>], reference: &[f64]) -> Vec<f64> {
    const POINTS: usize = 4096;
    // The same points every time, so that no report differs from the one before.
    let share = |point: u64, objective: u32| {
        let number = derive(point, TrialId(objective), Purpose::Scramble);
        (number >> 11) as f64 / (1_u64 << 53) as f64
    };
    let place = |point: u64| {
        let ends = (0..).zip(reference);
        ends.map(|(j, end)| end * share(point, j)).collect()
    };
    let mut free: Vec<Vec<f64>> = (0..POINTS as u64).map(place).collect();
    let covers = |own: &[f64], point: &[f64]| own.iter().zip(point).all(|(a, b)| a <= b);
    let step = |own: &Vec<f64>| {
        free.retain(|point| !covers(own, point));
        (POINTS - free.len()) as f64 / POINTS as f64
    };
    losses.iter().map(step).collect()
}

/// `None` when the work does not suffice.
fn measured(losses: &[Vec<f64>], reference: &[f64], work: &mut front::Work) -> Option<Vec<f64>> {
    let whole: f64 = reference.iter().product();
    let mut on_front: Vec<Vec<f64>> = Vec::new();
    let mut volume = 0.0;
    let mut shares = Vec::with_capacity(losses.len());
    for own in losses {
        if !on_front.iter().any(|other| front::dominates(other, own)) {
            // What it adds is much less work than the volume of all.
            volume += front::exclusive(own, &on_front, reference, work)? / whole;
            on_front.retain(|other| !front::dominates(own, other));
            on_front.push(own.clone());
        }
        shares.push(volume);
    }
    Some(shares)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_front_in_every_form() {
        let history = sample::several();
        insta::assert_snapshot!("front_table", table(&history, None).unwrap());
        insta::assert_snapshot!("front_json", json(&history));
        insta::assert_snapshot!("front_yaml", yaml(&history));
        insta::assert_snapshot!(
            "front_summary",
            crate::summary::text(&history, history.last_event(), None)
        );
        assert_eq!(
            line(&history).unwrap(),
            "3 trials on the front; the best compromise is trial 2: val_loss = 0.5, size = 20"
        );
        let empty = sample::empty();
        assert!(table(&empty, None).is_none() && line(&empty).is_none());
    }

    #[test]
    fn what_is_covered_only_grows() {
        let covered = covered(&sample::several());
        assert_eq!(covered.len(), 4);
        assert!(covered.windows(2).all(|w| w[0].1 <= w[1].1));
        assert!(covered.iter().all(|(_, share)| (0.0..=1.0).contains(share)));
    }

    #[test]
    fn what_cannot_be_measured_is_estimated() {
        // Where both can be done they say the same.
        let losses: Vec<Vec<f64>> = (0..20_u8)
            .map(|i| {
                let x = f64::from(i * 7 % 20) / 20.0;
                vec![x, (1.0 - x) * 0.8, f64::from(i % 3) / 3.0]
            })
            .collect();
        let reference = front::beyond(3);
        let pairs = measured(&losses, &reference, &mut front::Work::of(u64::MAX));
        let pairs = pairs
            .unwrap()
            .into_iter()
            .zip(estimated(&losses, &reference));
        for (measured, estimated) in pairs {
            assert!(
                (measured - estimated).abs() < 0.03,
                "{measured} {estimated}"
            );
        }
        // And sixteen objectives take no time.
        let many: Vec<Vec<f64>> = (0..300_u32)
            .map(|i| {
                (0..16)
                    .map(|j| f64::from(i * (2 * j + 1) % 307) / 307.0)
                    .collect()
            })
            .collect();
        let shares = shares(&many, &front::beyond(16));
        assert_eq!(shares.len(), 300);
        assert!(shares.windows(2).all(|w| w[0] <= w[1]));
    }

    #[test]
    fn what_each_adds_makes_the_volume_of_all() {
        // Knuth's linear congruential generator: enough for points with many ties.
        let mut state = 7_u64;
        let mut digit = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005);
            state = state.wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % 6
        };
        for objectives in 1..5 {
            let reference = front::beyond(objectives);
            let whole: f64 = reference.iter().product();
            let mut one = || (0..objectives).map(|_| digit() as f64 / 5.0).collect();
            let losses: Vec<Vec<f64>> = (0..40).map(|_| one()).collect();
            for (n, share) in (1..).zip(shares(&losses, &reference)) {
                let meant = front::hypervolume(&losses[..n], &reference) / whole;
                assert!((share - meant).abs() < 1e-12, "{n}: {share} {meant}");
            }
        }
    }
}
