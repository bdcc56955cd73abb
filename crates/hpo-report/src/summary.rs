//! What is said when a study has come to its end, or has been stopped.

use std::fmt::Write as _;

use hpo_study::{History, Timestamp, Trial};

use crate::comparison::{comparable, compare};
use crate::confirmations;
use crate::map::{Map, map};
use crate::number::{short, short_value, time};
use crate::status::{counts, end_sentence, given_up};
use crate::text::printable;
use crate::trials::state_words;
use crate::trials::{change_words, rescue_words};

/// The summary: how it went, the best configuration, and the comparison of every choice. `now` is
/// when it ended; `width` the terminal's.
#[must_use]
pub fn text(history: &History, now: Timestamp, width: Option<u16>) -> String {
    let mut text = String::new();
    let name = &history.spec().name;
    let end = history
        .end()
        .map_or_else(|| "stopped before its end".to_owned(), end_sentence);
    let _ = writeln!(text, "{name}: {end}");
    let _ = writeln!(
        text,
        "{} in {}",
        counts(history),
        time(history.running_time(now))
    );
    if let Some(warning) = hpo_study::import::warning(history) {
        let _ = writeln!(text, "warning: {warning}");
    }
    if let Some(saved) = given_up(history) {
        let _ = writeln!(text, "{}", saved.sentence());
    }
    if let Some(map) = map(history).filter(Map::has_lost) {
        let _ = write!(text, "\n{}", map.text());
    }
    let Some(best) = history.best() else {
        text.push_str("\nNo trial completed, so there is no best configuration.\n");
        if let Some((trial, value)) = furthest(history) {
            let metric = &history.spec().metric.name;
            let _ = writeln!(
                text,
                "The best value on the way was {metric} = {}, of trial {} ({}).",
                short(value),
                trial.id,
                state_words(trial.state.word(), trial.state.reason())
            );
        }
        return text;
    };
    if history.spec().has_several() {
        let _ = writeln!(text, "\n{}", crate::front::sentence(history));
        let table = crate::front::table(history, width);
        let _ = write!(text, "\n{}", table.unwrap_or_default());
        return text;
    }
    let metric = &history.spec().metric.name;
    let value = best.value().map_or_else(String::new, short);
    let _ = writeln!(text, "\nbest: trial {} with {metric} = {value}", best.id);
    let words = [
        crate::repeats::words(best),
        confirmations::words(history, best),
        confirmations::sentence(history),
    ];
    for words in words.into_iter().flatten() {
        let _ = writeln!(text, "  {words}");
    }
    for rescue in &best.rescues {
        let _ = writeln!(text, "  {}", rescue_words(rescue));
    }
    for change in &best.changes {
        let _ = writeln!(text, "  {}", change_words(change));
    }
    let widest = best
        .config
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    for (name, value) in &best.config {
        let _ = writeln!(text, "  {name:widest$}  {}", printable(&short_value(value)));
    }
    if let Some(table) = confirmations::table(history, width) {
        let _ = write!(text, "\n{table}");
    }
    let mut explained = false;
    for parameter in worth_showing(history) {
        let comparison = compare(history, parameter);
        let _ = writeln!(text, "\n{}", comparison.table(width).trim_end());
        let _ = writeln!(text, "{}", comparison.sentence());
        if let (Some(k), false) = (comparison.k, explained) {
            let _ = writeln!(
                text,
                "(\"of {k}\": expected best of {k} trials, so that a choice that was tried more often has \
                 no advantage; \"broken\": failed or diverged.)"
            );
            explained = true;
        }
    }
    text
}

/// The trial with the best last value, whatever became of it, and that value.
pub(crate) fn furthest(history: &History) -> Option<(&Trial, f64)> {
    let goal = history.spec().metric.goal;
    let valued = history.own_trials().filter_map(|trial| {
        let value = trial.value().filter(|value| value.is_finite())?;
        Some((trial, value))
    });
    valued.min_by(|(_, a), (_, b)| goal.as_loss(*a).total_cmp(&goal.as_loss(*b)))
}

/// The optimizer and the schedule; where a study has neither, the first choices it has.
fn worth_showing(history: &History) -> Vec<&str> {
    const MOST: usize = 2;
    let all = comparable(history);
    let ours: Vec<&str> = all
        .iter()
        .copied()
        .filter(|name| ["optimizer", "schedule"].contains(name))
        .collect();
    if ours.is_empty() {
        all.into_iter().take(MOST).collect()
    } else {
        ours
    }
}

#[cfg(test)]
mod tests {
    use crate::sample;

    #[test]
    fn the_end_of_a_study() {
        let history = sample::study();
        insta::assert_snapshot!(super::text(&history, history.last_event(), None));
    }

    #[test]
    fn the_end_of_a_study_without_a_result() {
        let history = sample::empty();
        insta::assert_snapshot!(super::text(&history, history.last_event(), None), @r"
        digits: stopped before its end
        no trial yet in 0.0s

        No trial completed, so there is no best configuration.
        ");
    }
    #[test]
    fn the_best_value_on_the_way_is_known_without_a_completed_trial() {
        let history = sample::study();
        let (trial, value) = super::furthest(&history).unwrap();
        assert_eq!((trial.id.0, value), (3, 0.975));
        assert!(super::furthest(&sample::empty()).is_none());
    }
}
