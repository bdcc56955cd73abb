//! One parameter's map of keys to the domain it describes.

use hpo_recipe::Value;

use super::problem::{Problems, Span};
use super::shape::one_of;
use super::yaml::{Kind, Node};
use crate::law::Law;
use crate::space::{self, Domain, Scale};

/// A distribution, by the keys it needs and those it may have beside them.
struct Distribution {
    name: &'static str,
    needs: &'static [&'static str],
    may: &'static [&'static str],
}

const fn row(
    name: &'static str,
    needs: &'static [&'static str],
    may: &'static [&'static str],
) -> Distribution {
    Distribution { name, needs, may }
}

const DISTRIBUTIONS: &[Distribution] = &[
    row("constant", &["value"], &[]),
    row("categorical", &["values"], &[]),
    row(
        "categorical_w_probabilities",
        &["values", "probabilities"],
        &[],
    ),
    row("int_uniform", &["min", "max"], &["q"]),
    row("int_log_uniform", &["min", "max"], &[]),
    row("uniform", &["min", "max"], &[]),
    row("q_uniform", &["min", "max"], &["q"]),
    row("log_uniform_values", &["min", "max"], &[]),
    row("q_log_uniform_values", &["min", "max"], &["q"]),
    row("log_uniform", &["min", "max"], &[]),
    row("q_log_uniform", &["min", "max"], &["q"]),
    row("inv_log_uniform", &["min", "max"], &[]),
    row("inv_log_uniform_values", &["min", "max"], &[]),
    row("one_minus_log", &["min", "max"], &[]),
    row("normal", &[], &["mu", "sigma"]),
    row("q_normal", &[], &["mu", "sigma", "q"]),
    row("log_normal", &[], &["mu", "sigma"]),
    row("q_log_normal", &[], &["mu", "sigma", "q"]),
    row("beta", &[], &["a", "b"]),
    row("q_beta", &[], &["a", "b", "q"]),
];

/// The keys that say what a parameter can be.
const CONTENT: &[&str] = &[
    "value",
    "values",
    "probabilities",
    "min",
    "max",
    "q",
    "mu",
    "sigma",
    "a",
    "b",
];

/// Reads what a parameter (or one branch of it) can be. `None` when that cannot be known; then it
/// has been reported.
pub(super) fn read(node: &Node, name: &str, at: Span, problems: &mut Problems) -> Option<Domain> {
    let distribution = match node.get("distribution") {
        // A word that is none, or is refused, has been reported with the shapes.
        Some(word) => DISTRIBUTIONS.iter().find(|d| Some(d.name) == word.text())?,
        None => infer(node, name, at, problems)?,
    };
    let mut complete = true;
    for needed in distribution.needs {
        if node.get(needed).is_none() {
            complete = false;
            problems.error_with_hint(
                at,
                format!("`{name}` has no `{needed}`"),
                format!(
                    "the distribution `{}` needs {}",
                    distribution.name,
                    one_of(distribution.needs).replace(" or ", " and ")
                ),
            );
        }
    }
    for extra in CONTENT {
        let known = distribution.needs.contains(extra) || distribution.may.contains(extra);
        if !known && node.get(extra).is_some() {
            complete = false;
            problems.error_with_hint(
                node.key_span(extra),
                format!(
                    "`{extra}` does not go with the distribution `{}`",
                    distribution.name
                ),
                "remove it, or choose another `distribution`",
            );
        }
    }
    if complete {
        build(distribution.name, node, name, problems)
    } else {
        None
    }
}

/// The distribution of a parameter that does not name it, as W&B infers it; with `q`, the
/// quantized form.
fn infer(
    node: &Node,
    name: &str,
    at: Span,
    problems: &mut Problems,
) -> Option<&'static Distribution> {
    let has = |key: &str| node.get(key).is_some();
    let int = |key: &str| node.get(key).is_none_or(Node::is_int);
    let inferred = if has("value") {
        "constant"
    } else if has("values") && has("probabilities") {
        "categorical_w_probabilities"
    } else if has("values") {
        "categorical"
    } else if has("min") || has("max") {
        match (int("min") && int("max") && int("q"), has("q")) {
            (true, _) => "int_uniform",
            (false, true) => "q_uniform",
            (false, false) => "uniform",
        }
    } else if node.entries().iter().any(|(key, _)| {
        !["when", "prior"].contains(&key.name.as_str()) && !CONTENT.contains(&key.name.as_str())
    }) {
        // It has unknown keys, which have been reported: one mistake, not two.
        return None;
    } else if has("mu") || has("sigma") {
        problems.error_with_hint(
            at,
            format!("`{name}` does not say which distribution `mu` and `sigma` are of"),
            "add `distribution: normal`, or `distribution: log_normal`",
        );
        return None;
    } else {
        problems.error_with_hint(
            at,
            format!("`{name}` does not say what it can be"),
            "give it a `value`, some `values`, or `min` and `max`",
        );
        return None;
    };
    DISTRIBUTIONS.iter().find(|d| d.name == inferred)
}

fn build(distribution: &str, node: &Node, name: &str, problems: &mut Problems) -> Option<Domain> {
    match distribution {
        "constant" => node.get("value")?.value().map(Domain::Constant),
        "categorical" | "categorical_w_probabilities" => categorical(node, name, problems),
        "int_uniform" | "int_log_uniform" => {
            whole(node, name, distribution == "int_log_uniform", problems)
        }
        "normal" | "q_normal" | "log_normal" | "q_log_normal" | "beta" | "q_beta" => {
            law(distribution, node, name, problems)
        }
        "log_uniform" | "q_log_uniform" | "inv_log_uniform" => {
            let (low, high) = bounds(node, name, problems)?;
            // Bounds such as 1e-5 and 0.1 are hardly meant for exponents.
            let look_like_values = low > 0.0 && high < 1.0 && distribution != "inv_log_uniform";
            let (low, high) = match distribution {
                // The logarithm of 1/x lies between the two.
                "inv_log_uniform" => (-high, -low),
                _ => (low, high),
            };
            let (low, high) = (low.exp(), high.exp());
            if low <= 0.0 || !high.is_finite() {
                problems.error_with_hint(
                    node.key_span("max"),
                    format!("`{name}` goes from e^min to e^max, which no number can hold"),
                    "for bounds that are values, write `distribution: log_uniform_values`",
                );
                return None;
            }
            if high > 1e30 || look_like_values {
                problems.warning(
                    node.key_span("max"),
                    match look_like_values {
                        true => format!("`{name}` goes from e^min = {low:.4} to e^max = {high:.4}"),
                        false => format!("`{name}` goes up to e^max = {high:e}"),
                    },
                    "for bounds that are values, write `distribution: log_uniform_values`",
                );
            }
            number(
                node,
                name,
                low,
                high,
                Scale::Log,
                distribution == "q_log_uniform",
                problems,
            )
        }
        "log_uniform_values" | "q_log_uniform_values" | "inv_log_uniform_values" => {
            let (low, high) = bounds(node, name, problems)?;
            above_zero(node, name, low, problems)?;
            let quantized = distribution == "q_log_uniform_values";
            number(node, name, low, high, Scale::Log, quantized, problems)
        }
        "one_minus_log" => {
            let (low, high) = bounds(node, name, problems)?;
            if high >= 1.0 {
                problems.error_with_hint(
                    node.get("max")?.span,
                    format!("the largest `{name}` must be less than 1 on the scale one_minus_log"),
                    "write 0.999, say: the scale is the logarithm of 1 - value",
                );
                return None;
            }
            number(node, name, low, high, Scale::OneMinusLog, false, problems)
        }
        quantized => {
            let (low, high) = bounds(node, name, problems)?;
            number(
                node,
                name,
                low,
                high,
                Scale::Linear,
                quantized == "q_uniform",
                problems,
            )
        }
    }
}

/// A distribution without `min` and `max`, with W&B's defaults.
fn law(distribution: &str, node: &Node, name: &str, problems: &mut Problems) -> Option<Domain> {
    let or = |key: &str, default: f64| node.get(key).map_or(Some(default), Node::number);
    let shape = |key: &str| or(key, 1.0).filter(|x| *x > 0.0);
    let quantized = distribution.strip_prefix("q_");
    let law = match quantized.unwrap_or(distribution) {
        "beta" => Law::Beta {
            a: shape("a")?,
            b: shape("b")?,
        },
        kind => {
            let (mu, sigma) = (or("mu", 0.0)?, or("sigma", 1.0)?);
            if sigma < 0.0 {
                return None; // As its key's own range says.
            }
            let logarithmic = kind == "log_normal";
            if sigma == 0.0 && quantized.is_none() {
                let value = if logarithmic { mu.exp() } else { mu };
                return value
                    .is_finite()
                    .then_some(Domain::Constant(Value::Float(value)));
            }
            match logarithmic {
                true => Law::LogNormal { mu, sigma },
                false => Law::Normal { mu, sigma },
            }
        }
    };
    let positive = |x: f64| x > 0.0;
    let sound = match law {
        Law::Normal { sigma, .. } | Law::LogNormal { sigma, .. } => positive(sigma),
        // Beyond this the distribution is a spike, and its numbers lose their digits.
        Law::Beta { a, b } => [a, b].into_iter().all(|x| (1e-3..=1e6).contains(&x)),
    };
    let step = match (quantized, node.get("q")) {
        (None, _) => None,
        (Some(_), None) => Some((1.0, true)),
        (Some(_), Some(q)) => Some((q.number().filter(|q| *q > 0.0)?, q.is_int())),
    };
    let (low, high) = (law.quantile(0.0), law.quantile(1.0));
    const LARGEST: f64 = 9e15;
    let fits = [low, high].into_iter().all(|x| {
        x.is_finite() && step.is_none_or(|(q, _)| x.abs() <= LARGEST && (x / q).abs() <= LARGEST)
    });
    // The ends of a distribution that cannot be told apart, or that no number holds.
    if !sound || !fits || low >= high {
        problems.error_with_hint(
            node.key_span("distribution"),
            format!("no numbers can hold the values of `{name}`: they go from {low:e} to {high:e}"),
            "`mu` and `sigma` of log_normal are of the logarithm: mu: -6, sigma: 2 is about 0.0025",
        );
        return None;
    }
    Some(Domain::Law {
        law,
        step: step.map(|(q, _)| q),
        whole: step.is_some_and(|(_, whole)| whole),
    })
}

/// `min` and `max`, in the right order.
fn bounds(node: &Node, name: &str, problems: &mut Problems) -> Option<(f64, f64)> {
    let (low, high) = (node.get("min")?, node.get("max")?);
    let (a, b) = (low.number()?, high.number()?);
    if a > b {
        problems.error_with_hint(
            low.span,
            format!(
                "`{name}`: `min` ({}) is more than `max` ({})",
                low.describe(),
                high.describe()
            ),
            format!(
                "write `min: {}` and `max: {}`",
                high.describe(),
                low.describe()
            ),
        );
        return None;
    }
    if !(b - a).is_finite() {
        problems.error_with_hint(
            high.span,
            format!("`{name}`: `min` and `max` are farther apart than a number can say"),
            "give bounds between -8e307 and 8e307",
        );
        return None;
    }
    Some((a, b))
}

fn above_zero(node: &Node, name: &str, low: f64, problems: &mut Problems) -> Option<()> {
    if low > 0.0 {
        return Some(());
    }
    problems.error_with_hint(
        node.get("min")?.span,
        format!("the smallest `{name}` must be more than 0 on a logarithmic scale"),
        "write a small number such as 1e-6, or `distribution: uniform`",
    );
    None
}

/// A numeric domain; with a whole `q` (as W&B does) its values are whole numbers.
fn number(
    node: &Node,
    name: &str,
    low: f64,
    high: f64,
    scale: Scale,
    quantized: bool,
    problems: &mut Problems,
) -> Option<Domain> {
    if !quantized {
        return Some(Domain::Float {
            low,
            high,
            scale,
            step: None,
        });
    }
    let step = match node.get("q") {
        // W&B's default.
        None => return multiples(node, name, low, high, scale, 1, problems),
        Some(q) if q.is_int() => {
            return multiples(node, name, low, high, scale, q.whole()?, problems);
        }
        Some(q) => q.number()?,
    };
    if step <= 0.0 {
        return None;
    }
    if low.abs().max(high.abs()) / step > space::MOST_MULTIPLES {
        problems.error_with_hint(
            node.key_span("q"),
            format!("`q` of `{name}` is too small beside its bounds"),
            "leave `q` out, and choose a distribution without it",
        );
        return None;
    }
    let (first, last) = space::multiples(low, high, step);
    if last < first {
        return no_multiple(node, name, problems);
    }
    Some(Domain::Float {
        low,
        high,
        scale,
        step: Some(step),
    })
}

/// The multiples of a whole number between two bounds.
fn multiples(
    node: &Node,
    name: &str,
    low: f64,
    high: f64,
    scale: Scale,
    q: i64,
    problems: &mut Problems,
) -> Option<Domain> {
    const LARGEST: f64 = 9e15;
    if q < 1 {
        return None;
    }
    let step = q as f64;
    let (first, last) = space::multiples(low, high, step);
    let (first, last) = (first * step, last * step);
    if first.abs() > LARGEST || last.abs() > LARGEST {
        problems.error(
            node.key_span("max"),
            format!("the bounds of `{name}` are too large"),
        );
        return None;
    }
    if last < first {
        return no_multiple(node, name, problems);
    }
    let log = scale == Scale::Log;
    Some(Domain::Int {
        low: first as i64,
        high: last as i64,
        log,
        step: q,
    })
}

fn no_multiple(node: &Node, name: &str, problems: &mut Problems) -> Option<Domain> {
    problems.error_with_hint(
        node.key_span("q"),
        format!("no multiple of `q` lies between the bounds of `{name}`"),
        "widen the bounds, or make `q` smaller",
    );
    None
}

fn whole(node: &Node, name: &str, log: bool, problems: &mut Problems) -> Option<Domain> {
    const LARGEST: i64 = 9_000_000_000_000_000;
    for key in ["min", "max", "q"] {
        let Some(value) = node.get(key) else { continue };
        if value.number().is_some()
            && value
                .whole()
                .is_none_or(|i| !(-LARGEST..=LARGEST).contains(&i))
        {
            if value.number().is_some_and(|x| x.abs() > LARGEST as f64) {
                problems.error(
                    value.span,
                    format!("`{key}` of `{name}` is too large: whole numbers go up to {LARGEST}"),
                );
                return None;
            }
            problems.error_with_hint(
                value.span,
                format!(
                    "`{key}` of `{name}` must be a whole number, not {}",
                    value.describe()
                ),
                "for numbers that need not be whole, write `distribution: uniform`",
            );
            return None;
        }
    }
    let (low, _) = bounds(node, name, problems)?;
    if log {
        above_zero(node, name, low, problems)?;
    }
    let (low, high) = (node.get("min")?.whole()?, node.get("max")?.whole()?);
    let step = node.get("q").map_or(Some(1), Node::whole)?;
    (step >= 1).then_some(Domain::Int {
        low,
        high,
        log,
        step,
    })
}

fn categorical(node: &Node, name: &str, problems: &mut Problems) -> Option<Domain> {
    let Kind::List(items) = &node.get("values")?.kind else {
        return None; // said with the shapes
    };
    let mut choices: Vec<Value> = Vec::new();
    let mut distinct = true;
    let mut seen = std::collections::HashMap::new();
    for item in items {
        let value = item.value()?;
        // `1` and `1.0` are the same value, and read the same here.
        let text = value
            .as_f64()
            .map_or_else(|| format!("{value:?}"), |x| format!("{x:?}"));
        if let Some(line) = seen.insert(text, item.span.line) {
            distinct = false;
            problems.error_with_hint(
                item.span,
                format!("`{name}` has the value {value} twice"),
                format!("the first is on line {line}; to make it likelier give `probabilities`"),
            );
        }
        choices.push(value);
    }
    if choices.is_empty() {
        problems.error_with_hint(
            node.key_span("values"),
            format!("`{name}` has no value to choose from"),
            "list at least one: values: [0.1, 0.01]",
        );
        return None;
    }
    let weights = match node.get("probabilities") {
        None => None,
        Some(list) => Some(probabilities(list, node, choices.len(), name, problems)?),
    };
    distinct.then_some(Domain::Categorical { choices, weights })
}

fn probabilities(
    list: &Node,
    node: &Node,
    choices: usize,
    name: &str,
    problems: &mut Problems,
) -> Option<Vec<f64>> {
    let Kind::List(items) = &list.kind else {
        return None; // said with the shapes
    };
    let weights: Vec<f64> = items.iter().map(Node::number).collect::<Option<_>>()?;
    let at = node.key_span("probabilities");
    if weights.len() != choices {
        problems.error_with_hint(
            at,
            format!(
                "`{name}` has {choices} values and {} probabilities",
                weights.len()
            ),
            "give one probability for each value",
        );
        return None;
    }
    // Each alone was checked with the shapes.
    if weights.iter().any(|w| !(0.0..=1.0).contains(w)) {
        return None;
    }
    let sum: f64 = weights.iter().sum();
    if (sum - 1.0).abs() > 1e-3 {
        problems.error_with_hint(
            at,
            format!(
                "the probabilities of `{name}` add up to {}",
                (sum * 1e6).round() / 1e6
            ),
            "they must add up to 1",
        );
        return None;
    }
    Some(weights.iter().map(|w| w / sum).collect())
}
