//! What is found in a run, and the numbers that show it.

use std::fmt;

use hpo_study::Verdict;
use serde::{Deserialize, Serialize};

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing is wrong, or not for long enough to say so.
    #[default]
    Healthy,
    /// At least a third of what it had learned is lost.
    Spiking,
    /// Back from a spike, or from where it seemed hopeless.
    Recovered,
    /// At chance, or most of what it had learned is lost, and nothing moves.
    Stuck,
    /// Above chance or not finite, and not coming back.
    Diverged,
    /// Never left chance, neither down nor up.
    NoProgress,
}

impl State {
    /// Its name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Spiking => "spiking",
            Self::Recovered => "recovered",
            Self::Stuck => "stuck",
            Self::Diverged => "diverged",
            Self::NoProgress => "no_progress",
        }
    }
}

impl From<Verdict> for State {
    /// The state that a run is in after a finding.
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Diverged => Self::Diverged,
            Verdict::Stuck => Self::Stuck,
            Verdict::NoProgress => Self::NoProgress,
            Verdict::Spiking => Self::Spiking,
            Verdict::Recovered => Self::Recovered,
        }
    }
}

/// The numbers behind a finding, in the metric's own units and in steps. What a rule does not use
/// is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// How many reports in a row were not finite.
    pub non_finite: Option<u32>,
    /// The level: the median over the later half of the time since, for a rule on how long;
    /// the smoothed value now, for spikes and recoveries.
    pub level: Option<f64>,
    /// The best smoothed value so far.
    pub best: Option<f64>,
    /// The value of a model that knows nothing: as given, or the first report.
    pub chance: Option<f64>,
    /// Since which step it is so.
    pub since: Option<u64>,
    /// How many more steps it would take to come back at the present rate; `None` when the run is
    /// not coming back at all.
    pub to_return: Option<f64>,
    /// How many steps are left (of the planned ones, or of those a run is taken to have).
    pub remaining: Option<f64>,
}

/// Something that was found in a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What it says of the run.
    pub verdict: Verdict,
    /// At which step it was found.
    pub step: u64,
    /// The rule that found it: `non_finite`, `above_chance`, `collapsed`, `never_learned`, `lost`
    /// or `spike`.
    pub rule: &'static str,
    /// Whether it may end a run. An uncertain finding is a warning.
    pub certain: bool,
    /// The numbers.
    pub evidence: Evidence,
}

impl fmt::Display for Finding {
    /// One line: `diverged at step 412 (above_chance): 8.03, where chance is 2.303, since step 80;
    /// not coming back, 588 steps left`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verdict,
            step,
            rule,
            ..
        } = self;
        write!(f, "{verdict} at step {step} ({rule}): {}", self.words())
    }
}

impl Finding {
    /// The numbers in words: `8.03, where chance is 2.303, since step 80; not coming back, 588 left`.
    pub fn words(&self) -> impl fmt::Display {
        Words(*self)
    }
}

struct Words(Finding);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let evidence = &self.0.evidence;
        if let Some(reports) = evidence.non_finite {
            return write!(f, "{reports} reports in a row are not finite");
        }
        let number = Short(evidence.level.unwrap_or(f64::NAN));
        write!(f, "{number}")?;
        if let Some(chance) = evidence.chance {
            let what = if self.0.certain {
                "chance is"
            } else {
                "chance is about"
            };
            write!(f, ", where {what} {}", Short(chance))?;
        }
        if let Some(best) = evidence.best {
            write!(f, " and the best was {}", Short(best))?;
        }
        let Some(since) = evidence.since else {
            return Ok(());
        };
        write!(f, ", since step {since}; ")?;
        match evidence.to_return {
            Some(steps) => write!(f, "{} steps to come back", Short(steps.ceil()))?,
            None => write!(f, "not coming back")?,
        }
        write!(f, ", {} left", Short(evidence.remaining.unwrap_or(0.0)))
    }
}

/// A number as people write it: four digits.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        if self.0 == self.0.trunc() && size < 1e6 {
            write!(f, "{}", self.0)
        } else if (1e-3..1e6).contains(&size) {
            let digits = (3.0 - size.log10().floor()).max(0.0) as usize;
            write!(f, "{:.digits$}", self.0)
        } else {
            write!(f, "{:.2e}", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_as_a_sentence() {
        let evidence = Evidence {
            level: Some(8.03127),
            chance: Some(10f64.ln()),
            best: Some(0.4512),
            since: Some(80),
            remaining: Some(588.0),
            ..Evidence::default()
        };
        let (verdict, rule) = (Verdict::Diverged, "collapsed");
        let finding = Finding {
            verdict,
            step: 412,
            rule,
            certain: true,
            evidence,
        };
        let expected = "diverged at step 412 (collapsed): 8.031, where chance is 2.303 and the \
                        best was 0.4512, since step 80; not coming back, 588 left";
        assert_eq!(finding.to_string(), expected);
        let evidence = Evidence {
            non_finite: Some(3),
            ..Evidence::default()
        };
        let finding = Finding {
            evidence,
            rule: "non_finite",
            ..finding
        };
        assert!(
            finding
                .to_string()
                .ends_with("3 reports in a row are not finite")
        );
    }

    #[test]
    fn numbers_are_short() {
        let short = |number| Short(number).to_string();
        assert_eq!(
            (short(0.0451234), short(1234567.0)),
            ("0.04512".into(), "1.23e6".into())
        );
        assert_eq!(
            (short(-3.25149), short(12.0)),
            ("-3.251".into(), "12".into())
        );
    }
}
