//! The space file: parameters as a JSON list, read into the space that a study has.

use serde::Deserialize;
use serde_json::Value as Json;

use hpo_study::{
    Belief, Branch, Clause, Condition, Confidence, Domain, EarlyTerminate, Goal, Job, Method,
    Metric, Parameter, Prior, Priors, Scale, Space, StudySpec, Value, WarmStart,
};

use hpo_study::space::{MOST_MULTIPLES, multiples};
use hpo_study::spec::MOST_OBJECTIVES;

use super::Refusal;

/// The name under which values are kept.
pub const METRIC: &str = "value";

/// What a space file says.
pub(super) struct SpaceFile {
    pub(super) space: Space,
    /// One for each objective, at least one.
    pub(super) goals: Vec<Goal>,
    pub(super) max_steps: Option<u64>,
    pub(super) eta: u32,
    priors: Priors,
    allow_duplicates: bool,
}

impl SpaceFile {
    /// Whether it has priors.
    pub(super) fn believes(&self) -> bool {
        !self.priors.is_empty()
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(expecting = "an object with `params`")]
struct File {
    params: Vec<Entry>,
    #[serde(default)]
    direction: Option<String>,
    #[serde(default)]
    directions: Option<Vec<String>>,
    #[serde(default)]
    max_steps: Option<u64>,
    #[serde(default)]
    eta: Option<u32>,
    #[serde(default)]
    allow_duplicates: bool,
}

/// One parameter as it is written.
#[derive(Deserialize)]
#[serde(expecting = "a parameter: an object with `name` and `type`")]
struct Entry {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    low: Option<Json>,
    #[serde(default)]
    high: Option<Json>,
    #[serde(default)]
    log: bool,
    #[serde(default)]
    step: Option<Json>,
    #[serde(default)]
    choices: Option<Vec<Value>>,
    #[serde(default)]
    when: std::collections::BTreeMap<String, Vec<Value>>,
    #[serde(default)]
    prior: Option<Wish>,
}

/// A prior as it is written: a guess, or more.
#[derive(Deserialize)]
#[serde(untagged)]
enum Wish {
    Full(Full),
    Guess(Value),
}

/// A prior with all its words.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Full {
    #[serde(default, deserialize_with = "given")]
    guess: Option<Value>,
    #[serde(default)]
    confidence: Option<Confidence>,
    #[serde(default)]
    min: Option<f64>,
    #[serde(default)]
    max: Option<f64>,
    #[serde(default)]
    weights: Option<Vec<f64>>,
}

/// `null` is a value here, too.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

pub(super) fn read(text: &str) -> Result<SpaceFile, Refusal> {
    let file: File = serde_json::from_str(text).map_err(|e| format!("the space file: {e}"))?;
    let goals = match (&file.direction, &file.directions) {
        (Some(_), Some(_)) => {
            return Err("there is either `direction` or `directions`, not both".to_owned());
        }
        (one, None) => vec![goal(one.as_deref().unwrap_or("minimize"))?],
        (None, Some(directions)) => directions
            .iter()
            .map(|d| goal(d))
            .collect::<Result<_, _>>()?,
    };
    if goals.is_empty() || goals.len() > MOST_OBJECTIVES {
        return Err(format!(
            "`directions` has a direction for each objective, at most {MOST_OBJECTIVES}"
        ));
    }
    let eta = file.eta.unwrap_or(3);
    if eta < 2 || file.max_steps == Some(0) {
        return Err("`eta` must be at least 2, and `max_steps` at least 1".to_owned());
    }
    let mut parameters: Vec<Parameter> = Vec::new();
    let mut priors = Vec::new();
    for entry in &file.params {
        let named = |why: String| format!("parameter `{}`: {why}", entry.name);
        let branch = branch(entry).map_err(named)?;
        if let Some(wish) = &entry.prior {
            let earlier = parameters.iter().find(|p| p.name == entry.name);
            priors.push(Prior {
                parameter: entry.name.clone(),
                branch: earlier.map_or(0, |p| p.branches.len()),
                when: Condition::default(),
                belief: belief(wish, &branch.domain).map_err(named)?,
            });
        }
        match parameters.iter_mut().find(|p| p.name == entry.name) {
            Some(parameter) => parameter.branches.push(branch),
            None => parameters.push(Parameter {
                name: entry.name.clone(),
                branches: vec![branch],
            }),
        }
    }
    let space = Space {
        parameters: in_order(parameters)?,
    };
    Ok(SpaceFile {
        space,
        goals,
        max_steps: file.max_steps,
        eta,
        priors: Priors(priors),
        allow_duplicates: file.allow_duplicates,
    })
}

fn belief(wish: &Wish, domain: &Domain) -> Result<Belief, Refusal> {
    let usual = Confidence::default();
    let found = match wish {
        Wish::Guess(guess) => Belief::around(domain, guess, usual),
        Wish::Full(full) => match (&full.guess, full.min, full.max, &full.weights) {
            (Some(guess), None, None, None) => {
                Belief::around(domain, guess, full.confidence.unwrap_or(usual))
            }
            (None, Some(low), Some(high), None) if low < high => Belief::between(domain, low, high),
            (None, None, None, Some(weights)) => match domain {
                Domain::Categorical { choices, .. }
                    if choices.len() == weights.len() && weights.iter().all(|w| *w >= 0.0) =>
                {
                    Belief::weighted(weights.clone())
                }
                _ => None,
            },
            _ => {
                return Err("`prior` is a guess, or has a `guess` (with a `confidence`), `min` below `max`, or `weights`".to_owned());
            }
        },
    };
    found.ok_or_else(|| {
        let range = hpo_study::control::range(domain);
        format!("its `prior` is not of what it can be: {range}")
    })
}

fn goal(word: &str) -> Result<Goal, Refusal> {
    match word {
        "minimize" => Ok(Goal::Minimize),
        "maximize" => Ok(Goal::Maximize),
        other => Err(format!(
            "a direction is `minimize` or `maximize`, not `{other}`"
        )),
    }
}

/// The names under which the values of so many objectives are kept.
pub(super) fn metrics(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|i| match i {
        0 => METRIC.to_owned(),
        i => format!("{METRIC}_{i}"),
    })
}

fn branch(entry: &Entry) -> Result<Branch, Refusal> {
    let clause = |(parameter, any_of): (&String, &Vec<Value>)| Clause {
        parameter: parameter.clone(),
        any_of: any_of.clone(),
    };
    Ok(Branch {
        when: Condition(entry.when.iter().map(clause).collect()),
        domain: domain(entry)?,
    })
}

fn domain(entry: &Entry) -> Result<Domain, Refusal> {
    let of = |key: &str, value: &Option<Json>| match value {
        None => Err(format!("`{key}` is missing")),
        Some(json) => Ok(json.clone()),
    };
    match entry.kind.as_str() {
        "float" => {
            let number = |key: &str, json: Json| {
                let number = json.as_f64().filter(|x| x.is_finite());
                number.ok_or_else(|| format!("`{key}` must be a number, not {json}"))
            };
            let low = number("low", of("low", &entry.low)?)?;
            let high = number("high", of("high", &entry.high)?)?;
            let step = entry.step.clone().map(|s| number("step", s)).transpose()?;
            if low > high || (entry.log && low <= 0.0) || step.is_some_and(|s| s <= 0.0) {
                return Err(
                    "`low` must not be above `high`, must be above 0 where `log` is true, \
                            and `step` must be above 0"
                        .to_owned(),
                );
            }
            if !(high - low).is_finite() {
                return Err("`low` and `high` are farther apart than a number can say".to_owned());
            }
            if let Some(step) = step {
                if low.abs().max(high.abs()) / step > MOST_MULTIPLES {
                    return Err("`step` is too small beside `low` and `high`".to_owned());
                }
                let (first, last) = multiples(low, high, step);
                if last < first {
                    return Err("no multiple of `step` lies between `low` and `high`".to_owned());
                }
            }
            let scale = if entry.log { Scale::Log } else { Scale::Linear };
            Ok(Domain::Float {
                low,
                high,
                scale,
                step,
            })
        }
        "int" => {
            let whole = |key: &str, json: Json| {
                let number = json.as_i64().filter(|x| x.unsigned_abs() < 1 << 53);
                number.ok_or_else(|| format!("`{key}` must be a whole number, not {json}"))
            };
            let low = whole("low", of("low", &entry.low)?)?;
            let high = whole("high", of("high", &entry.high)?)?;
            let step = entry.step.clone().map_or(Ok(1), |s| whole("step", s))?;
            if low > high || (entry.log && low <= 0) || step < 1 {
                return Err(
                    "`low` must not be above `high`, must be above 0 where `log` is true, \
                            and `step` must be at least 1"
                        .to_owned(),
                );
            }
            Ok(Domain::Int {
                low,
                high,
                log: entry.log,
                step,
            })
        }
        "cat" => {
            let choices = entry.choices.clone().ok_or("`choices` is missing")?;
            let is_double = |i: usize| choices[..i].iter().any(|c| c.same(&choices[i]));
            if choices.is_empty() || (0..choices.len()).any(is_double) {
                return Err("`choices` must be a list of different values".to_owned());
            }
            Ok(Domain::Categorical {
                choices,
                weights: None,
            })
        }
        other => Err(format!("`type` is `float`, `int` or `cat`, not `{other}`")),
    }
}

/// The parameters with every one after those its conditions look at.
fn in_order(mut parameters: Vec<Parameter>) -> Result<Vec<Parameter>, Refusal> {
    let names: Vec<String> = parameters.iter().map(|p| p.name.clone()).collect();
    let mut ordered: Vec<Parameter> = Vec::new();
    while !parameters.is_empty() {
        let is_ready = |p: &Parameter| {
            let mut clauses = p.branches.iter().flat_map(|b| &b.when.0);
            clauses.all(|c| ordered.iter().any(|earlier| earlier.name == c.parameter))
        };
        let Some(next) = parameters.iter().position(is_ready) else {
            let left: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
            let mut clauses = parameters
                .iter()
                .flat_map(|p| &p.branches)
                .flat_map(|b| &b.when.0);
            return Err(match clauses.find(|c| !names.contains(&c.parameter)) {
                Some(clause) => format!("`when` names no parameter: `{}`", clause.parameter),
                None => format!("the conditions of {} go in a circle", left.join(", ")),
            });
        };
        ordered.push(parameters.remove(next));
    }
    Ok(ordered)
}

/// The study that such a search is.
pub(super) fn spec(
    file: SpaceFile,
    seed: u64,
    method: Method,
    early_terminate: EarlyTerminate,
) -> StudySpec {
    let objective = |(name, goal): (String, &Goal)| Metric { name, goal: *goal };
    let metrics = metrics(file.goals.len()).zip(&file.goals);
    let further = metrics.skip(1).map(objective).collect();
    let metric = Metric {
        name: METRIC.to_owned(),
        goal: file.goals.first().copied().unwrap_or(Goal::Minimize),
    };
    StudySpec {
        seed,
        further,
        early_terminate,
        warm_start: WarmStart {
            priors: file.priors,
            ..WarmStart::default()
        },
        allow_duplicates: file.allow_duplicates,
        ..StudySpec::new(
            "stdio",
            Job::command(&["stdio"]),
            method,
            metric,
            file.space,
        )
    }
}
