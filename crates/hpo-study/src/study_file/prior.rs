//! `prior`: where the optimum is believed to be. Under a parameter, or by name at the top of the file, which is how
//! parameters of a `recipe` get theirs.

use super::keys::CHOICE;
use super::problem::{Problems, Span};
use super::shape::{KeyFacts, NUMBER, Shape, Table, Word, did_you_mean, key, word};
use super::yaml::{Key, Kind, Node};
use crate::control::range;
use crate::prior::{Belief, Confidence, Prior, Priors};
use crate::space::{Clause, Condition, Domain, Parameter, Space};
use crate::spec::Method;

/// The value of `prior` under a parameter.
pub(super) const OWN: Shape = Shape::Either(
    "a guess, or a map such as `{guess: 0.001, confidence: high}`",
    &[Shape::Value, Shape::Table(&PRIOR)],
);
/// The value of a parameter's name under `prior` at the top.
pub(super) static ENTRY: Shape = Shape::Either(
    "a guess, a map such as `{guess: 0.001, confidence: high}`, or a list of maps with `when`",
    &[
        NUMBER,
        Shape::Text,
        Shape::Flag,
        Shape::Table(&UNDER),
        Shape::List(&Shape::Table(&UNDER), 1),
    ],
);

const GUESS: KeyFacts = key("guess", Shape::Value, "the value believed to be the best");
const CONFIDENCE: KeyFacts = key(
    "confidence",
    Shape::Word(CONFIDENCES),
    "how sure that is; medium if absent",
);
const MIN: KeyFacts = key(
    "min",
    NUMBER,
    "instead of a guess: the best value is likely (8 of 10) not below this",
);
const MAX: KeyFacts = key("max", NUMBER, "… and not above this");
const WEIGHTS: KeyFacts = key(
    "weights",
    WEIGHTED,
    "instead of a guess: how likely each of `values` is, in any unit; 1 for those not named in a map",
);
const WEIGHTED: Shape = Shape::Either(
    "a list with a number for each of `values`, or a map of values to numbers",
    &[Shape::List(&WEIGHT, 1), Shape::Map(&WEIGHT)],
);
static WEIGHT: Shape = Shape::Number(std::ops::Bound::Included(0.0), std::ops::Bound::Unbounded);
const CONFIDENCES: &[Word] = &[
    word("low", "a hint: within a quarter of the range"),
    word("medium", "a good guess: within an eighth of it"),
    word("high", "from experience: within a twentieth of it"),
];
const FOREIGN: &[(&str, &str)] = &[
    ("value", "did you mean `guess`?"),
    ("default", "did you mean `guess`?"),
    ("mean", "did you mean `guess`?"),
    ("mu", "did you mean `guess`?"),
    ("sd", "say it with `confidence`, or with `min` and `max`"),
    ("std", "say it with `confidence`, or with `min` and `max`"),
    ("sigma", "say it with `confidence`, or with `min` and `max`"),
    ("probabilities", "did you mean `weights`?"),
    (
        "distribution",
        "a prior is a normal distribution on the parameter's own scale: give its `guess`",
    ),
];
const HINT: Option<&str> = Some("write `prior: {guess: 0.001, confidence: high}`");

/// `prior` under a parameter
pub(crate) static PRIOR: Table = Table {
    title: "`prior`",
    keys: &[GUESS, CONFIDENCE, MIN, MAX, WEIGHTS],
    foreign: FOREIGN,
    hint: HINT,
};
/// An entry of `prior` at the top
pub(crate) static UNDER: Table = Table {
    title: "`prior`",
    keys: &[
        GUESS,
        CONFIDENCE,
        MIN,
        MAX,
        WEIGHTS,
        key(
            "when",
            Shape::Map(&CHOICE),
            "other parameters' values under which this is believed",
        )
        .hint("write `when: {optimizer: adamw}`"),
    ],
    foreign: FOREIGN,
    hint: HINT,
};

/// Reads all priors of a file.
pub(super) fn read(
    root: &Node,
    space: &Space,
    space_is_sound: bool,
    method: Option<Method>,
    problems: &mut Problems,
) -> Priors {
    let mut reader = Reader {
        space,
        space_is_sound,
        found: Vec::new(),
        first: None,
    };
    if let Some(node) = root.get("parameters") {
        reader.group(node.entries(), "", problems);
    }
    let own: Vec<String> = reader.found.iter().map(|p| p.parameter.clone()).collect();
    for (key, value) in root.get("prior").map_or(&[][..], Node::entries) {
        reader.first.get_or_insert(key.span);
        reader.named(key, value, &own, problems);
    }
    if let (Some(at), Some(method @ (Method::Grid | Method::Sobol | Method::Pbt))) =
        (reader.first, method)
    {
        let what = match method {
            Method::Grid => "`grid` tries every combination in order",
            Method::Pbt => "`pbt` has members begin anywhere in the ranges",
            _ => "`sobol` spreads its trials evenly whatever is believed",
        };
        let hint = match method {
            Method::Pbt => {
                "remove it, and narrow the range; `hpo enqueue` gives a member values of yours to begin with"
            }
            _ => "remove it, or write `method: bayes`",
        };
        problems.error_with_hint(
            at,
            format!("a prior does not go with this method: {what}"),
            hint,
        );
    }
    Priors(reader.found)
}

struct Reader<'a> {
    space: &'a Space,
    /// Where it is not, nothing more is said of values.
    space_is_sound: bool,
    found: Vec<Prior>,
    /// Where the first one stands.
    first: Option<Span>,
}

impl Reader<'_> {
    /// The priors under the parameters of a group.
    fn group(&mut self, entries: &[(Key, Node)], above: &str, problems: &mut Problems) {
        for (key, value) in entries {
            let name = format!("{above}{}", key.name);
            if let Some(inner) = value.get("parameters") {
                self.group(inner.entries(), &format!("{name}."), problems);
                continue;
            }
            let branches = match &value.kind {
                Kind::Map(_) => std::slice::from_ref(value),
                Kind::List(items) => items.as_slice(),
                _ => continue,
            };
            for (branch, node) in branches.iter().enumerate() {
                let Some(prior) = node.get("prior") else {
                    continue;
                };
                self.first.get_or_insert(node.key_span("prior"));
                let Some(domain) = self.domain(&name, branch) else {
                    continue;
                };
                let at = node.key_span("prior");
                if let Some(belief) = belief(prior, at, &name, &[domain], problems)
                    .into_iter()
                    .next()
                    .flatten()
                {
                    self.found.push(Prior {
                        parameter: name.clone(),
                        branch,
                        when: Condition::default(),
                        belief,
                    });
                }
            }
        }
    }

    fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.space.parameter(name).filter(|_| self.space_is_sound)
    }

    fn domain(&self, name: &str, branch: usize) -> Option<&Domain> {
        self.parameter(name)?
            .branches
            .get(branch)
            .map(|b| &b.domain)
    }

    /// What the top of the file says of a parameter.
    fn named(&mut self, key: &Key, value: &Node, own: &[String], problems: &mut Problems) {
        if !self.space_is_sound {
            return;
        }
        let Some(parameter) = self.space.parameter(&key.name) else {
            let names: Vec<&str> = self
                .space
                .parameters
                .iter()
                .map(|p| p.name.as_str())
                .collect();
            problems.error_with_hint(
                key.span,
                format!("`prior` names `{}`, which is not a parameter", key.name),
                did_you_mean(&key.name, &names[..names.len().min(20)]),
            );
            return;
        };
        if own.contains(&key.name) {
            problems.error_with_hint(
                key.span,
                format!("`{}` has a prior of its own, under `parameters`", key.name),
                "remove one of the two",
            );
            return;
        }
        let entries = match &value.kind {
            Kind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(value),
        };
        for entry in entries {
            let when = self.condition(entry, parameter, problems);
            let domains: Vec<&Domain> = parameter.branches.iter().map(|b| &b.domain).collect();
            let beliefs = belief(entry, key.span, &key.name, &domains, problems);
            for (branch, belief) in beliefs.into_iter().enumerate() {
                if let Some(belief) = belief {
                    self.found.push(Prior {
                        parameter: key.name.clone(),
                        branch,
                        when: when.clone(),
                        belief,
                    });
                }
            }
        }
    }

    /// Reads a `when`. It looks at parameters that are decided before this one.
    fn condition(&self, entry: &Node, of: &Parameter, problems: &mut Problems) -> Condition {
        let mut clauses = Vec::new();
        let parameters = &self.space.parameters;
        let own_place = parameters.iter().position(|p| p.name == of.name);
        for (key, value) in entry.get("when").map_or(&[][..], Node::entries) {
            let place = parameters.iter().position(|p| p.name == key.name);
            let Some(other) = place.and_then(|place| parameters.get(place)) else {
                let names: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
                problems.error_with_hint(
                    key.span,
                    format!("`when` names `{}`, which is not a parameter", key.name),
                    did_you_mean(&key.name, &names[..names.len().min(20)]),
                );
                continue;
            };
            if place >= own_place {
                problems.error_with_hint(
                    key.span,
                    format!(
                        "`{}` is decided before `{}`, so a prior cannot look at it",
                        of.name, key.name
                    ),
                    format!(
                        "let `{}` stand before `{}` in `parameters`",
                        key.name, of.name
                    ),
                );
            }
            let items = match &value.kind {
                Kind::List(items) => items.as_slice(),
                _ => std::slice::from_ref(value),
            };
            let mut any_of = Vec::new();
            for item in items {
                let Some(value) = item.value() else { continue };
                if !other.branches.iter().any(|b| b.domain.contains(&value)) {
                    let can: Vec<String> =
                        other.branches.iter().map(|b| range(&b.domain)).collect();
                    problems.error_with_hint(
                        item.span,
                        format!("`{}` can never be {value}", key.name),
                        format!("`{}` is {}", key.name, can.join(", or ")),
                    );
                }
                any_of.push(value);
            }
            clauses.push(Clause {
                parameter: key.name.clone(),
                any_of,
            });
        }
        Condition(clauses)
    }
}

/// What is believed, for each of some domains of one parameter; `None` for those it does not fit. When it fits none,
/// that has been reported.
fn belief(
    node: &Node,
    at: Span,
    name: &str,
    domains: &[&Domain],
    problems: &mut Problems,
) -> Vec<Option<Belief>> {
    let varies = |domain: &&Domain| domain.cardinality() != Some(1);
    if !domains.iter().any(varies) {
        let what = domains
            .first()
            .map_or_else(String::new, |d| d.at(0.5).to_string());
        problems.error_with_hint(
            at,
            format!("`{name}` is always {what}: there is nothing to believe"),
            "remove its `prior`",
        );
        return Vec::new();
    }
    let is_map = matches!(node.kind, Kind::Map(_));
    let known = |key: &Key| UNDER.keys.iter().any(|facts| facts.name == key.name);
    if !node.entries().iter().all(|(key, _)| known(key)) {
        return Vec::new(); // unknown keys have been reported: one mistake, not two
    }
    let given = |key: &'static str| node.get(key).filter(|_| is_map);
    let guess = if is_map { given("guess") } else { Some(node) };
    let between = (given("min"), given("max"));
    let forms = [
        guess.is_some(),
        between.0.is_some() || between.1.is_some(),
        given("weights").is_some(),
    ];
    if forms.iter().filter(|form| **form).count() != 1 {
        problems.error_with_hint(
            at,
            format!("the prior of `{name}` must have a `guess`, or `min` and `max`, or `weights`"),
            "write `prior: {guess: 0.001, confidence: medium}`",
        );
        return Vec::new();
    }
    let confidence = given("confidence").and_then(Node::text);
    let confidence = confidence.and_then(Confidence::parse);
    if confidence.is_some() && guess.is_none() {
        problems.error_with_hint(
            node.key_span("confidence"),
            "`confidence` is about a `guess`",
            "remove it, or give a `guess`",
        );
        return Vec::new();
    }
    let (place, found) = if let Some(node) = guess {
        let Some(value) = node.value() else {
            return Vec::new(); // reported with the shapes
        };
        let of = |d: &&Domain| Belief::around(d, &value, confidence.unwrap_or_default());
        (node.span, domains.iter().map(of).collect::<Vec<_>>())
    } else if let Some(weights) = given("weights") {
        let of = |d: &&Domain| shares(weights, d);
        (node.key_span("weights"), domains.iter().map(of).collect())
    } else {
        let (Some(low), Some(high)) = between else {
            problems.error_with_hint(
                at,
                format!("the prior of `{name}` has only one of `min` and `max`"),
                "give both: between them the best value is likely (8 of 10)",
            );
            return Vec::new();
        };
        let (Some(a), Some(b)) = (low.number(), high.number()) else {
            return Vec::new();
        };
        if a >= b {
            problems.error_with_hint(
                low.span,
                format!("`min` of the prior of `{name}` must be less than its `max`"),
                "for a single value write `guess`",
            );
            return Vec::new();
        }
        let of = |d: &&Domain| Belief::between(d, a, b);
        (low.span, domains.iter().map(of).collect())
    };
    if found.iter().all(Option::is_none) {
        let can: Vec<String> = domains
            .iter()
            .filter(|d| varies(d))
            .map(|d| range(d))
            .collect();
        let what = match (guess.and_then(Node::value), given("weights")) {
            (Some(value), _) => format!("the guess {value} is not one that `{name}` can be"),
            (_, Some(_)) => format!("these weights do not fit the values of `{name}`"),
            _ => format!("`{name}` cannot be all of what its prior says"),
        };
        problems.error_with_hint(place, what, format!("`{name}` is {}", can.join(", or ")));
    }
    found
}

/// The shares of a domain's choices by weights, listed or named.
fn shares(weights: &Node, domain: &Domain) -> Option<Belief> {
    let Domain::Categorical { choices, .. } = domain else {
        return None;
    };
    if let Kind::List(items) = &weights.kind {
        let weights: Option<Vec<f64>> = items.iter().map(Node::number).collect();
        return Belief::weighted(weights.filter(|w| w.len() == choices.len())?);
    }
    let mut found = vec![1.0; choices.len()];
    for (key, value) in weights.entries() {
        let index = choices.iter().position(|c| c.to_string() == key.name)?;
        found[index] = value.number()?;
    }
    Belief::weighted(found)
}
