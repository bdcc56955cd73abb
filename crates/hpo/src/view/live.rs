//! The live view: what happened scrolls by above, what runs stands below.

use console::{Term, measure_text_width, style, truncate_str};
use hpo_report::confirmations;
use hpo_report::number::{short, time};
use hpo_report::status::{counts, eta, finished};
use hpo_report::trials::{configuration, key_configuration};
use hpo_run::View;
use hpo_study::{Event, GpuSample, History, Timestamp, Trial};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::plain::time_of_day;
use super::story::{Story, Tone};

/// Most running trials that are shown; the rest are counted.
const MOST: usize = 16;
/// Width of a trial's bar.
const BAR: usize = 20;

pub(super) struct Live {
    screen: MultiProgress,
    /// All lines at the foot are one bar's message, so that they change together.
    foot: ProgressBar,
    story: Story,
    gpus: Vec<GpuSample>,
}

impl Live {
    pub(super) fn new() -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8));
        let foot = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            foot.set_style(style);
        }
        let foot = screen.add(foot);
        Self {
            screen,
            foot,
            story: Story::default(),
            gpus: Vec::new(),
        }
    }

    /// The screen, for others who want to say something.
    pub(super) fn screen(&self) -> MultiProgress {
        self.screen.clone()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.screen.clear();
    }
}

impl View for Live {
    fn event(&mut self, history: &History, event: &Event) {
        if let Some(line) = self.story.tell(history, event) {
            let at = style(time_of_day(event.at)).for_stderr().dim();
            let room = usize::from(Term::stderr().size().1).saturating_sub(10);
            let text = match line.tone {
                Tone::Plain | Tone::Bad => wrapped(&line.text, room),
                // Those of trials that come to nothing are many and long: what does not fit is in `hpo trial`.
                Tone::Good | Tone::Mild => cut(&line.text, room),
            };
            let text = style(text.join("\n")).for_stderr();
            let text = match line.tone {
                Tone::Plain => text,
                Tone::Good => text.green(),
                Tone::Mild => text.yellow(),
                Tone::Bad => text.red(),
            };
            let _ = self.screen.println(format!("{at} {text}"));
        }
    }

    fn tick(&mut self, history: &History, now: Timestamp) {
        let width = usize::from(Term::stderr().size().1.saturating_sub(1));
        let mut lines = foot(history, now);
        // Beneath the best, above what runs.
        lines.splice(3..3, self.gpus.iter().map(hpo_report::gpus::line));
        let lines = lines.iter().map(|line| truncate_str(line, width, "…"));
        self.foot.set_message(lines.collect::<Vec<_>>().join("\n"));
    }

    fn gpus(&mut self, gpus: &[GpuSample]) {
        self.gpus = gpus.to_vec();
    }
}

/// A text's lines, as much of each as there is room for.
fn cut(text: &str, room: usize) -> Vec<String> {
    let lines = text.lines();
    lines
        .map(|line| truncate_str(line, room, "…").into_owned())
        .collect()
}

/// A text on as many lines as it takes, broken between words; what goes on stands below the words, behind the time of day.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    const BEHIND_THE_TIME: &str = "         ";
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut rest = line;
        while measure_text_width(rest) > room.max(1) {
            let head = truncate_str(rest, room.max(1), "");
            // A single word that is too long is broken anywhere, between characters in any case.
            let blank = head
                .trim_end()
                .rfind(' ')
                .filter(|at| !head[..*at].trim().is_empty());
            let at = blank.unwrap_or(head.len());
            let at = if at == 0 { rest.len() } else { at };
            lines.push(rest[..at].to_owned());
            rest = rest[at..].trim_start();
        }
        lines.push(rest.to_owned());
    }
    for line in lines.iter_mut().skip(1) {
        line.insert_str(0, BEHIND_THE_TIME);
    }
    lines
}

/// The lines at the foot: the study, the best, and one per running trial.
fn foot(history: &History, now: Timestamp) -> Vec<String> {
    let metric = &history.spec().metric.name;
    let mut head = format!(
        "{}  {}",
        style(&history.spec().name).for_stderr().bold(),
        counts(history)
    );
    if let Some(cap) = history.spec().run_cap {
        head += &format!(
            "  {} {}/{cap}",
            bar(finished(history) as u64, u64::from(cap)),
            finished(history)
        );
    }
    head += &format!("  {}", time(history.running_time(now)));
    // While a study is drained the end is near, and not the one that is reckoned with.
    if history.draining() {
        head += "  (no new trials)";
    } else if let Some(eta) = eta(history, now) {
        head += &format!(", about {} to go", time(eta));
    }
    let best = history
        .best()
        .and_then(|trial| Some((trial, trial.value()?)));
    let best = best.map_or_else(
        || "no trial has completed yet".to_owned(),
        |(trial, value)| {
            format!(
                "best: {metric} = {}, trial {}{}; {}",
                short(value),
                trial.id,
                confirmations::words(history, trial)
                    .map_or_else(String::new, |words| format!(" ({words})")),
                configuration(&trial.config)
            )
        },
    );
    let best = match history.spec().has_several() {
        true => hpo_report::front::line(history).unwrap_or(best),
        false => best,
    };
    let mut lines = vec![String::new(), head, best];
    let running: Vec<&Trial> = history.runs().filter(|t| t.state.is_active()).collect();
    lines.extend(
        running
            .iter()
            .take(MOST)
            .map(|trial| running_line(history, trial)),
    );
    if running.len() > MOST {
        lines.push(format!("  … and {} more", running.len() - MOST));
    }
    lines
}

fn running_line(history: &History, trial: &Trial) -> String {
    let step = trial.curve.last_step().unwrap_or(0);
    let progress = match history.spec().max_steps() {
        Some(full) => format!("{} {step:>3}/{full}", bar(step, full)),
        None => format!("step {step:>6}"),
    };
    let value = trial.value().map_or_else(|| "–".to_owned(), short);
    format!(
        "  trial {:>3}  {progress}  {value:>9}  {}",
        trial.id,
        key_configuration(&trial.config)
    )
}

/// `━━━━━─────`
fn bar(done: u64, of: u64) -> String {
    let filled = (BAR as u64).saturating_mul(done.min(of)) / of.max(1);
    let filled = usize::try_from(filled).unwrap_or(BAR).min(BAR);
    format!(
        "{}{}",
        "━".repeat(filled),
        style("─".repeat(BAR - filled)).for_stderr().dim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::story::tests::{events, replayed};

    #[test]
    fn the_foot_shows_the_study_the_best_and_what_runs() {
        let (history, event) = replayed(&events()).pop().unwrap();
        let lines = foot(&history, event.at);
        let plain: Vec<String> = lines
            .iter()
            .map(|l| console::strip_ansi_codes(l).into_owned())
            .collect();
        insta::assert_snapshot!(plain.join("\n"));
    }

    #[test]
    fn long_lines_are_wrapped_between_words() {
        let text = "no new trials are started; the 4 running ones go on to the end (Ctrl-C again: stop now)";
        let lines = wrapped(text, 30);
        assert_eq!(
            lines,
            [
                "no new trials are started;",
                "         the 4 running ones go on to",
                "         the end (Ctrl-C again: stop",
                "         now)",
            ]
        );
        assert_eq!(
            wrapped("short\n  | last word", 30),
            ["short", "           | last word"]
        );
        assert_eq!(wrapped("", 30), Vec::<String>::new());
        for room in [0, 1, 7] {
            let all = wrapped("ein-überlanges-Wort 日本語 🎉 x", room)
                .concat()
                .replace(' ', "");
            assert_eq!(all, "ein-überlanges-Wort日本語🎉x", "{room}");
        }
    }

    #[test]
    fn bars_are_never_longer_than_they_may_be() {
        for (done, of) in [(0, 0), (5, 3), (1, 1), (0, 9), (u64::MAX, u64::MAX)] {
            let bar = bar(done, of);
            let text = console::strip_ansi_codes(&bar);
            assert_eq!(text.chars().count(), BAR, "{done}/{of}");
        }
    }
}
