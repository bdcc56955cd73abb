//! Plain lines with the time of day, for logs and pipes.

use std::io::Write;
use std::time::Duration;

use hpo_report::status::finished;
use hpo_run::View;
use hpo_study::{Event, GpuSample, History, Timestamp};

use super::story::{Story, Tone, where_it_is};
use crate::output;

/// The time between two lines that say where the study is.
const EVERY: Duration = Duration::from_secs(30);

pub(super) struct Plain {
    to: Box<dyn Write>,
    story: Story,
    /// When it was last said where the study is, and how many trials had finished.
    said: Option<(Timestamp, usize)>,
    gpus: Vec<GpuSample>,
}

impl Plain {
    pub(super) fn new(to: Box<dyn Write>) -> Self {
        Self {
            to,
            story: Story::default(),
            said: None,
            gpus: Vec::new(),
        }
    }

    fn say(&mut self, at: Timestamp, text: &str) {
        // Nobody may be reading any more; the study goes on.
        let _ = writeln!(self.to, "{} {text}", time_of_day(at));
    }
}

impl View for Plain {
    fn event(&mut self, history: &History, event: &Event) {
        if let Some(line) = self.story.tell(history, event) {
            let text = match line.tone {
                Tone::Plain => line.text,
                Tone::Good => output::green(line.text).to_string(),
                Tone::Mild => output::yellow(line.text).to_string(),
                Tone::Bad => output::red(line.text).to_string(),
            };
            self.say(event.at, &text);
        }
    }

    fn tick(&mut self, history: &History, now: Timestamp) {
        let finished = finished(history);
        let (last, then) = *self.said.get_or_insert((now, finished));
        if now.since(last) >= EVERY {
            self.said = Some((now, finished));
            if finished != then {
                self.say(now, &where_it_is(history, now));
                for gpu in std::mem::take(&mut self.gpus) {
                    self.say(now, &hpo_report::gpus::line(&gpu));
                }
            }
        }
    }

    fn gpus(&mut self, gpus: &[GpuSample]) {
        self.gpus = gpus.to_vec();
    }
}

/// The local time of day.
pub(super) fn time_of_day(at: Timestamp) -> String {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).map_or_else(
        |_| String::new(),
        |at| {
            at.to_zoned(jiff::tz::TimeZone::system())
                .strftime("%H:%M:%S")
                .to_string()
        },
    )
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::view::story::tests::{events, replayed};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_study_is_told_in_lines_and_not_too_many() {
        let shared = Shared::default();
        let mut plain = Plain::new(Box::new(shared.clone()));
        for (history, event) in replayed(&events()) {
            plain.event(&history, &event);
            plain.tick(&history, event.at);
        }
        let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        // The time of day depends on where this runs.
        let lines: Vec<&str> = text.lines().map(|line| line.split_at(9).1).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
