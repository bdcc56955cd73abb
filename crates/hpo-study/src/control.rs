//! What a user asks of a study from outside: the words of the control channel, which are also what
//! the log keeps of a request that was granted.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use hpo_recipe::{Config, Value};

use crate::id::TrialId;
use crate::space::{Domain, Space};
use crate::spec::StudySpec;
use crate::study_file::nearest;
use crate::study_file::shape::length_of_time;

/// Longer requests are refused unread.
pub const LONGEST_REQUEST: usize = 64 << 10;

/// What a user can ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// Start nothing until [`Request::Resume`]; what runs goes on to its end.
    Pause,
    /// Go on after [`Request::Pause`].
    Resume,
    /// Start nothing more in this session, and end it when what runs has ended.
    Stop,
    /// End what runs too, and put it back, to go on in a later session.
    Cancel,
    /// End a trial's process and keep the trial from being started.
    PauseTrial {
        /// The trial.
        trial: TrialId,
    },
    /// Let a trial be started again.
    ResumeTrial {
        /// The trial.
        trial: TrialId,
    },
    /// A trial is over; its process has the time to end well.
    StopTrial {
        /// The trial.
        trial: TrialId,
    },
    /// A trial is over, and its process is killed.
    CancelTrial {
        /// The trial.
        trial: TrialId,
    },
    /// A trial goes on with other values, which its process is told through its control file.
    Set {
        /// The trial.
        trial: TrialId,
        /// The values.
        values: Config,
    },
    /// A configuration to be tried before the sampler is asked.
    Enqueue {
        /// All or some of its values; in the log all of them.
        config: Config,
        /// Even if it was tried before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
    },
    /// Trials from elsewhere; granted, they stand in the log as they are.
    Import {
        /// The name of the file with them, in the control directory.
        file: String,
    },
    /// Other limits for the study.
    Limits {
        /// Those that change.
        limits: Limits,
    },
}

/// Limits of a study that can be changed while it runs; `None`: unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Most trials at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// Most running time, all sessions together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_cap: Option<Duration>,
    /// Most trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_cap: Option<u32>,
}

impl Limits {
    /// Puts these limits over what the study file says.
    pub fn apply(&self, spec: &mut StudySpec) {
        spec.cpu.max_parallel = self.max_parallel.or(spec.cpu.max_parallel);
        spec.time_cap = self.time_cap.or(spec.time_cap);
        spec.run_cap = self.run_cap.or(spec.run_cap);
    }

    /// These limits with newer ones over them.
    #[must_use]
    pub fn with(self, newer: Self) -> Self {
        Self {
            max_parallel: newer.max_parallel.or(self.max_parallel),
            time_cap: newer.time_cap.or(self.time_cap),
            run_cap: newer.run_cap.or(self.run_cap),
        }
    }

    /// What is left of these limits when the study file is changed from `old` to `new`: where the
    /// file says something else than before, it is the newer word.
    #[must_use]
    pub fn kept(self, old: &StudySpec, new: &StudySpec) -> Self {
        Self {
            max_parallel: self
                .max_parallel
                .filter(|_| old.cpu.max_parallel == new.cpu.max_parallel),
            time_cap: self.time_cap.filter(|_| old.time_cap == new.time_cap),
            run_cap: self.run_cap.filter(|_| old.run_cap == new.run_cap),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The limits in words: `max_parallel 4, time_cap 2h`.
    #[must_use]
    pub fn words(&self) -> String {
        let time = |time: Duration| {
            jiff::SignedDuration::try_from(time)
                .map_or_else(|_| format!("{time:?}"), |t| format!("{t:#}"))
        };
        let parts = [
            self.max_parallel.map(|n| format!("max_parallel {n}")),
            self.time_cap.map(|t| format!("time_cap {}", time(t))),
            self.run_cap.map(|n| format!("run_cap {n}")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is granted, and durable.
    Done {
        /// What happens now, for people.
        words: String,
    },
    /// It is not, and nothing has changed.
    Refused {
        /// Why, for people.
        why: String,
        /// What to do about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

impl Answer {
    /// Granted.
    pub fn done(words: impl Into<String>) -> Self {
        Self::Done {
            words: words.into(),
        }
    }

    /// Not granted.
    pub fn refused(why: impl Into<String>) -> Self {
        Self::Refused {
            why: why.into(),
            hint: None,
        }
    }

    /// Not granted, and what to do about it.
    pub fn refused_with_hint(why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused {
            why: why.into(),
            hint: Some(hint.into()),
        }
    }
}

impl Request {
    /// Reads a request from outside.
    ///
    /// # Errors
    /// A sentence saying what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > LONGEST_REQUEST {
            return Err(format!(
                "the request is longer than {} KiB",
                LONGEST_REQUEST >> 10
            ));
        }
        serde_json::from_slice(bytes).map_err(|error| format!("not a request: {error}"))
    }
}

/// A length of time as people write it: `2h`, `1h30m`, or a number of seconds.
///
/// # Errors
/// What is wrong with it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let seconds = match text.trim().parse::<f64>() {
        Ok(seconds) => seconds,
        Err(_) => text
            .parse::<jiff::SignedDuration>()
            .map_err(|_| format!("`{text}` is no length of time such as `2h` or `1h30m`"))?
            .as_secs_f64(),
    };
    length_of_time(seconds)
}

/// A value as people write it in `lr=0.01`: a number, true, false, null, or else a text.
#[must_use]
pub fn value(text: &str) -> Value {
    if let Ok(whole) = text.parse::<i64>() {
        return Value::Int(whole);
    }
    if let Ok(number) = text.parse::<f64>().map(|x| (x, x.is_finite()))
        && number.1
        && text.contains(|c: char| c.is_ascii_digit())
    {
        return Value::Float(number.0);
    }
    match text {
        "true" | "True" => Value::Bool(true),
        "false" | "False" => Value::Bool(false),
        _ => serde_json::from_str(text)
            .ok()
            .filter(|v: &Value| v.as_list().is_some())
            .unwrap_or_else(|| text.into()),
    }
}

/// Checks values that a user names for a trial's configuration, each by itself: the parameter is there
/// and can have the value in some branch. Texts that look like numbers are taken as what the domain
/// has. Gives back the values as the domains have them.
///
/// # Errors
/// What is wrong, and a hint where there is one.
pub fn check_values(
    space: &Space,
    values: &Config,
    mut allowed: impl FnMut(&Domain, &Value) -> bool,
) -> Result<Config, (String, Option<String>)> {
    let mut checked = Config::new();
    for (name, value) in values {
        let Some(parameter) = space.parameter(name) else {
            return Err(unknown(space, name));
        };
        let spellings = [
            value.clone(),
            Value::from(value.to_string().as_str()),
            value.as_f64().map_or_else(|| value.clone(), Value::Float),
        ];
        let domains = || parameter.branches.iter().map(|branch| &branch.domain);
        let found = spellings
            .into_iter()
            .find(|value| domains().any(|domain| allowed(domain, value)));
        match found {
            Some(value) => checked.set(name.clone(), value),
            None => {
                let all: Vec<String> = domains().map(range).collect();
                return Err((
                    format!("`{name}` cannot be {value}"),
                    Some(format!("`{name}` is {}", all.join(", or "))),
                ));
            }
        };
    }
    Ok(checked)
}

fn unknown(space: &Space, name: &str) -> (String, Option<String>) {
    let names = || space.parameters.iter().map(|p| p.name.as_str());
    let hint = match nearest(name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            const MOST: usize = 20;
            let some: Vec<&str> = names().take(MOST).collect();
            let more = if space.parameters.len() > MOST {
                ", …"
            } else {
                ""
            };
            format!("its parameters are {}{more}", some.join(", "))
        }
    };
    (
        format!("`{name}` is not a parameter of this study"),
        Some(hint),
    )
}

/// A domain in words.
#[must_use]
pub fn range(domain: &Domain) -> String {
    match domain {
        Domain::Float {
            low, high, step, ..
        } => {
            let step = step.map_or(String::new(), |q| format!(" in steps of {q}"));
            format!("a number from {low} to {high}{step}")
        }
        Domain::Int {
            low, high, step, ..
        } => {
            let step = if *step == 1 {
                String::new()
            } else {
                format!(" in steps of {step}")
            };
            format!("a whole number from {low} to {high}{step}")
        }
        Domain::Categorical { choices, .. } => {
            let all: Vec<String> = choices.iter().map(ToString::to_string).collect();
            format!("one of {}", all.join(", "))
        }
        Domain::Law { whole: true, .. } => "a whole number".to_owned(),
        Domain::Law { .. } => "a number".to_owned(),
        Domain::Constant(value) => format!("always {value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_back_and_strange_ones_are_refused() {
        let requests = [
            Request::Pause,
            Request::StopTrial { trial: TrialId(3) },
            Request::Set {
                trial: TrialId(1),
                values: [("lr", Value::Float(1e-4))].into_iter().collect(),
            },
            Request::Limits {
                limits: Limits {
                    time_cap: Some(Duration::from_secs(7200)),
                    ..Limits::default()
                },
            },
        ];
        for request in requests {
            let json = serde_json::to_vec(&request).unwrap();
            assert_eq!(Request::parse(&json), Ok(request));
        }
        for strange in ["", "{}", "[1]", r#"{"ask":"dance"}"#, r#"{"ask":"set"}"#] {
            assert!(Request::parse(strange.as_bytes()).is_err(), "{strange}");
        }
        assert!(
            Request::parse(&vec![b' '; LONGEST_REQUEST + 1])
                .unwrap_err()
                .contains("longer")
        );
    }

    #[test]
    fn values_are_read_as_people_write_them() {
        assert_eq!(value("1e-4"), Value::Float(1e-4));
        assert_eq!(value("64"), Value::Int(64));
        assert_eq!(value("true"), Value::Bool(true));
        assert_eq!(value("adamw"), Value::from("adamw"));
        assert_eq!(value("nan"), Value::from("nan"));
        assert!(value("[128, 64]").as_list().is_some());
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert!(duration("soon").is_err() && duration("-1").is_err());
    }

    #[test]
    fn a_changed_study_file_is_the_newer_word() {
        let limits = Limits {
            max_parallel: Some(8),
            run_cap: Some(100),
            ..Limits::default()
        };
        let text = |cap| {
            format!(
                "name: a\nmethod: random\nmetric: {{name: loss}}\ncommand: [x]\nrun_cap: {cap}\n\
                 parameters: {{lr: {{min: 0.1, max: 1.0}}}}\n"
            )
        };
        let spec = |cap| {
            let source = crate::study_file::Source {
                file: "a.yaml".to_owned(),
                directory: "/".into(),
            };
            crate::study_file::read(&text(cap), &source).spec.unwrap()
        };
        let kept = limits.kept(&spec(20), &spec(30));
        assert_eq!((kept.max_parallel, kept.run_cap), (Some(8), None));
        assert_eq!(limits.kept(&spec(20), &spec(20)), limits);
    }
}
