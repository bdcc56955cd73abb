//! Ranges as other programs write them: Hydra's sweeper syntax, Optuna's and Ray Tune's calls, as texts in
//! `parameters`. A text that is not such a call is a constant, as any other text.
//!
//! What each means is taken from hydra-core 1.3 (`range` ends before its stop), hydra-optuna-sweeper 1.2 (`interval`,
//! `tag(log, …)`), optuna 4 (`suggest_float`, …) and ray 2 (`tune.randint` ends before its upper bound).

mod arguments;
mod expression;

use super::problem::{Problems, Span};
use super::yaml::{Key, Kind, Node};
use arguments::Arguments;
use expression::{Expression, parse};

/// What a text says of a parameter.
pub(super) enum Reading {
    /// Nothing: it is a text.
    Text,
    /// As this map of a parameter's keys would.
    Map(Node),
    /// It has been reported.
    Wrong,
}

/// Reads a text that stands for a parameter's range.
pub(super) fn read(text: &str, name: &str, span: Span, problems: &mut Problems) -> Reading {
    let Some(expression) = parse(text) else {
        return Reading::Text;
    };
    let Expression::Call { name: call, .. } = &expression else {
        return Reading::Text;
    };
    let word = last_word(call);
    if !CALLS.contains(&word) {
        return Reading::Text;
    }
    match translate(&expression, false).and_then(checked) {
        Ok(entries) => Reading::Map(map(entries, span)),
        Err(why) => {
            problems.error_with_hint(span, format!("`{name}`: {}", why.message), why.hint);
            Reading::Wrong
        }
    }
}

/// Calls that are ranges somewhere. Any other is a text.
const CALLS: &[&str] = &[
    "interval",
    "range",
    "choice",
    "tag",
    "int",
    "float",
    "uniform",
    "quniform",
    "loguniform",
    "log_uniform",
    "qloguniform",
    "randint",
    "qrandint",
    "lograndint",
    "randn",
    "normal",
    "suggest_float",
    "suggest_int",
    "suggest_uniform",
    "suggest_loguniform",
    "suggest_discrete_uniform",
    "suggest_categorical",
    "FloatDistribution",
    "IntDistribution",
    "CategoricalDistribution",
];

/// The shapes of a file's values are checked before this; those in a text are checked here.
fn checked(entries: Entries) -> Result<Entries, Why> {
    for (key, value) in &entries {
        let number = number(value);
        let sound = match *key {
            "min" | "max" | "mu" => number.is_some(),
            "q" => number.is_some_and(|q| q > 0.0),
            "sigma" => number.is_some_and(|sigma| sigma >= 0.0),
            _ => true,
        };
        if !sound {
            let what = node(value.clone()).describe();
            return why(
                format!("{what} must be a number here"),
                "write numbers: interval(1e-5, 1e-1), suggest_int(2, 16, step=2)",
            );
        }
    }
    Ok(entries)
}

struct Why {
    message: String,
    hint: String,
}

fn why<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, Why> {
    Err(Why {
        message: message.into(),
        hint: hint.into(),
    })
}

type Entries = Vec<(&'static str, Kind)>;

fn last_word(call: &str) -> &str {
    call.rsplit('.').next().unwrap_or(call)
}

fn translate(expression: &Expression, log: bool) -> Result<Entries, Why> {
    let Expression::Call { name, arguments } = expression else {
        return why("a range is wanted here", "write interval(1e-5, 1e-1)");
    };
    let word = last_word(name);
    let ray = name.starts_with("tune.") || name.contains(".tune.");
    let mut call = Arguments {
        word,
        given: arguments.clone(),
    };
    let entries = match word {
        "tag" => return tag(arguments, log),
        "int" | "float" => {
            let mut entries = translate(call.only()?, log)?;
            if word == "int" {
                whole(&mut entries)?;
            }
            return Ok(entries);
        }
        "choice" => choices(call.given.drain(..).map(|(_, e)| e).collect(), word)?,
        "suggest_categorical" | "CategoricalDistribution" => {
            call.drop_label();
            let list = call.take("choices")?;
            choices(vec![list], word)?
        }
        "range" => {
            let (start, stop, step) = (
                call.take("start")?,
                call.take("stop")?,
                call.optional("step"),
            );
            hydra_range(&start, &stop, step.as_ref())?
        }
        "randint" if !ray => {
            return why(
                "whether `randint` has its upper bound is different in different programs",
                "write {min: 1, max: 9} with the last number that may come, or tune.randint(1, 10), or range(1, 10)",
            );
        }
        "randint" | "lograndint" | "qrandint" => {
            let (low, high) = (call.take("lower")?, call.take("upper")?);
            let Kind::Int(upper) = scalar(&high)? else {
                return why(
                    format!("`{word}` wants whole numbers"),
                    "write tune.randint(1, 10)",
                );
            };
            let mut entries = vec![("min", scalar(&low)?)];
            // Of Ray's, only the quantized one has its upper bound.
            entries.push((
                "max",
                Kind::Int(if word == "qrandint" {
                    upper
                } else {
                    upper.saturating_sub(1)
                }),
            ));
            if let Some(q) = call.optional("q").filter(|_| word == "qrandint") {
                entries.push(("q", scalar(&q)?));
            }
            let distribution = if word == "lograndint" {
                "int_log_uniform"
            } else {
                "int_uniform"
            };
            entries.push(("distribution", text(distribution)));
            entries
        }
        "randn" | "normal" => {
            let (mu, sigma) = (call.take("mean")?, call.take("sd")?);
            vec![
                ("mu", scalar(&mu)?),
                ("sigma", scalar(&sigma)?),
                ("distribution", text("normal")),
            ]
        }
        _ => bounded(word, &mut call, log)?,
    };
    call.nothing_left()?;
    Ok(entries)
}

/// The calls with two bounds and perhaps a step.
fn bounded(word: &str, call: &mut Arguments<'_>, tagged: bool) -> Result<Entries, Why> {
    let optuna = word.starts_with("suggest_") || word.ends_with("Distribution");
    if optuna {
        call.drop_label();
    }
    let low = scalar(&call.take(if optuna { "low" } else { "lower" })?)?;
    let high = scalar(&call.take(if optuna { "high" } else { "upper" })?)?;
    let q = match word {
        "quniform" | "qloguniform" | "suggest_discrete_uniform" => Some(call.take("q")?),
        _ if optuna => call.optional("step"),
        _ => None,
    };
    let q = q
        .as_ref()
        .map(scalar)
        .transpose()?
        .filter(|q| *q != Kind::Null);
    let asked = call.optional("log").map(|e| scalar(&e)).transpose()?;
    let log = tagged
        || asked == Some(Kind::Bool(true))
        || matches!(
            word,
            "loguniform" | "log_uniform" | "qloguniform" | "suggest_loguniform"
        );
    let ints = matches!((&low, &high), (Kind::Int(_), Kind::Int(_)));
    let is_whole = match word {
        "suggest_int" | "IntDistribution" => true,
        "interval" => ints,
        _ => false,
    };
    if log && number(&low).is_some_and(|x| x <= 0.0) {
        return why(
            "on a logarithmic scale the smallest value must be more than 0",
            "if these are exponents of e, write {min: -11, max: 0, distribution: log_uniform}; if values, make the \
             first one larger",
        );
    }
    // Optuna's whole numbers have the step 1 beside `log`.
    let q = q.filter(|q| !(log && is_whole && *q == Kind::Int(1)));
    if let (true, false, false, Some(step)) = (optuna, is_whole, log, q.as_ref().and_then(number))
        && let Some(low) = number(&low)
        && step > 0.0
        && ((low / step).round() * step - low).abs() > 1e-9 * step
    {
        return why(
            "Optuna's steps begin at the lowest value, and here all values are multiples of the step",
            "begin the range at a multiple of its step, or list the values: {values: [0.05, 0.15, 0.25]}",
        );
    }
    let distribution = match (is_whole, log, q.is_some()) {
        (true, false, _) => "int_uniform",
        (true, true, false) => "int_log_uniform",
        (true, true, true) => {
            return why("`step` does not go with `log`", "remove one of the two");
        }
        (false, false, false) => "uniform",
        (false, true, false) => "log_uniform_values",
        (false, false, true) => "q_uniform",
        (false, true, true) => "q_log_uniform_values",
    };
    let mut entries = vec![("min", low), ("max", high)];
    entries.extend(q.map(|q| ("q", q)));
    entries.push(("distribution", text(distribution)));
    Ok(entries)
}

/// Hydra's `range(start, stop, step)`: as Python's, `stop` is not in it.
fn hydra_range(
    start: &Expression,
    stop: &Expression,
    step: Option<&Expression>,
) -> Result<Entries, Why> {
    let step = step.map(scalar).transpose()?.unwrap_or(Kind::Int(1));
    match (scalar(start)?, scalar(stop)?, step) {
        (Kind::Int(start), Kind::Int(stop), Kind::Int(step)) if step > 0 && stop > start => {
            // The longest range there can be is longer than its own type.
            let [first, end, by] = [start, stop, step].map(i128::from);
            let last = first + (end - 1 - first) / by * by;
            Ok(vec![
                ("min", Kind::Int(start)),
                ("max", Kind::Int(i64::try_from(last).unwrap_or(stop))),
                ("q", Kind::Int(step)),
                ("distribution", text("int_uniform")),
            ])
        }
        (a, b, Kind::Float(q))
            if number(&a).zip(number(&b)).is_some_and(|(a, b)| a < b) && q > 0.0 =>
        {
            let (a, b) = (number(&a).unwrap_or(0.0), number(&b).unwrap_or(0.0));
            let count = ((b - a) / q - 1e-9).ceil();
            if !(1.0..=1e6).contains(&count) {
                return why(
                    "that range is too long",
                    "write {min: 0.0, max: 0.5, q: 0.1}",
                );
            }
            let values = (0..count as u32)
                .map(|i| a + f64::from(i) * q)
                .map(Kind::Float);
            Ok(vec![("values", Kind::List(values.map(node).collect()))])
        }
        _ => why(
            "`range` wants a start below its stop and a step above 0",
            "write range(1, 10), which ends with 9, or range(0.0, 0.5, 0.1)",
        ),
    }
}

fn tag(arguments: &[(Option<String>, Expression)], log: bool) -> Result<Entries, Why> {
    let Some(((_, range), tags)) = arguments.split_last() else {
        return why(
            "`tag` has nothing in it",
            "write tag(log, interval(1e-5, 1e-1))",
        );
    };
    let mut log = log;
    for (_, tag) in tags {
        match tag {
            Expression::Scalar(Kind::Text(word)) if word == "log" => log = true,
            _ => {
                return why(
                    "of the tags only `log` is known",
                    "write tag(log, interval(1e-5, 1e-1))",
                );
            }
        }
    }
    translate(range, log)
}

/// Makes an interval one of whole numbers.
fn whole(entries: &mut Entries) -> Result<(), Why> {
    for (key, value) in entries.iter_mut() {
        match (*key, &value) {
            ("min" | "max", Kind::Float(x)) if x.fract() == 0.0 && x.abs() < 9e15 => {
                *value = Kind::Int(*x as i64);
            }
            ("min" | "max", Kind::Float(_)) => {
                return why("`int` wants whole bounds", "write int(interval(1, 10))");
            }
            ("distribution", Kind::Text(word)) if word == "uniform" => *value = text("int_uniform"),
            ("distribution", Kind::Text(word)) if word == "log_uniform_values" => {
                *value = text("int_log_uniform");
            }
            _ => {}
        }
    }
    Ok(())
}

fn choices(mut items: Vec<Expression>, word: &str) -> Result<Entries, Why> {
    if let [Expression::List(_)] = items.as_slice()
        && let Some(Expression::List(inner)) = items.pop()
    {
        items = inner;
    }
    if items.is_empty() {
        return why(
            format!("`{word}` has nothing to choose from"),
            "write choice(a, b, c)",
        );
    }
    let values = items.iter().map(value).collect::<Result<Vec<_>, _>>()?;
    Ok(vec![(
        "values",
        Kind::List(values.into_iter().map(node).collect()),
    )])
}

/// A value to choose: a scalar, or a list of them.
fn value(expression: &Expression) -> Result<Kind, Why> {
    match expression {
        Expression::List(items) => {
            let items = items.iter().map(value).collect::<Result<Vec<_>, _>>()?;
            Ok(Kind::List(items.into_iter().map(node).collect()))
        }
        other => scalar(other),
    }
}

fn scalar(expression: &Expression) -> Result<Kind, Why> {
    match expression {
        Expression::Scalar(kind) => Ok(kind.clone()),
        Expression::Call { name, .. } => why(
            format!("`{name}(…)` cannot stand here"),
            "write numbers: interval(1e-5, 1e-1)",
        ),
        Expression::List(_) => why("a list cannot stand here", "write choice(a, b, c)"),
    }
}

fn number(kind: &Kind) -> Option<f64> {
    node(kind.clone()).number()
}

fn text(word: &str) -> Kind {
    Kind::Text(word.to_owned())
}

fn node(kind: Kind) -> Node {
    Node {
        kind,
        span: Span::default(),
    }
}

/// The entries as the map of a parameter, everything at the place of the text.
fn map(entries: Entries, span: Span) -> Node {
    fn placed(kind: Kind, span: Span) -> Node {
        let kind = match kind {
            Kind::List(items) => Kind::List(
                items
                    .into_iter()
                    .map(|item| placed(item.kind, span))
                    .collect(),
            ),
            other => other,
        };
        Node { kind, span }
    }
    let entries = entries.into_iter().map(|(name, kind)| {
        let key = Key {
            name: name.to_owned(),
            span,
        };
        (key, placed(kind, span))
    });
    Node {
        kind: Kind::Map(entries.collect()),
        span,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::space::Domain;
    use crate::study_file::{Source, read as read_study};

    fn study(range: &str) -> Result<Domain, String> {
        let text = format!(
            "program: train.py\nmethod: random\nrun_cap: 1\nmetric: {{name: loss}}\nparameters:\n  x: {}\n",
            serde_json::Value::from(range)
        );
        let source = Source {
            file: "s.yaml".into(),
            directory: "/".into(),
        };
        let checked = read_study(&text, &source);
        match checked.spec {
            Some(spec) => Ok(spec.space.parameters[0].branches[0].domain.clone()),
            None => Err(checked
                .problems
                .iter()
                .map(|p| p.render("s", &text))
                .collect()),
        }
    }

    fn same(range: &str, map: &str) {
        let text = format!(
            "program: train.py\nmethod: random\nrun_cap: 1\nmetric: {{name: loss}}\nparameters:\n  x: {map}\n"
        );
        let source = Source {
            file: "s.yaml".into(),
            directory: "/".into(),
        };
        let spec = read_study(&text, &source).spec.unwrap();
        let wanted = spec.space.parameters[0].branches[0].domain.clone();
        assert_eq!(study(range), Ok(wanted), "{range}");
    }

    #[test]
    fn ranges_of_other_programs_are_understood() {
        let log = "{min: 1e-5, max: 0.1, distribution: log_uniform_values}";
        for range in [
            "tag(log, interval(1e-5, 1e-1))",
            "loguniform(1e-5, 1e-1)",
            "tune.loguniform(1e-5, 1e-1)",
            "suggest_float(1e-5, 1e-1, log=True)",
            "trial.suggest_float('lr', 1e-5, 1e-1, log=True)",
            "FloatDistribution(high=0.1, log=True, low=1e-05, step=None)",
            "suggest_loguniform(1e-5, 0.1)",
        ] {
            same(range, log);
        }
        same(
            "interval(0.5, 1)",
            "{min: 0.5, max: 1.0, distribution: uniform}",
        );
        same("uniform(0, 1)", "{min: 0, max: 1, distribution: uniform}");
        same("interval(1, 8)", "{min: 1, max: 8}");
        same(
            "tag(log, int(interval(1, 8)))",
            "{min: 1, max: 8, distribution: int_log_uniform}",
        );
        same(
            "int(tag(log, interval(1.0, 8)))",
            "{min: 1, max: 8, distribution: int_log_uniform}",
        );
        same("range(1, 10)", "{min: 1, max: 9}");
        same("range(0, 10, 3)", "{min: 0, max: 9, q: 3}");
        same("range(0.0, 0.3, 0.1)", "{values: [0.0, 0.1, 0.2]}");
        same("choice(a, b, 'c d')", "{values: [a, b, c d]}");
        same("choice([16, 32])", "{values: [16, 32]}");
        same("choice([64], [128, 64])", "{values: [[64], [128, 64]]}");
        same("choice(true, null)", "{values: [true, null]}");
        same("tune.randint(1, 10)", "{min: 1, max: 9}");
        same(
            "FloatDistribution(low=0.1, high=0.5, step=0.1)",
            "{min: 0.1, max: 0.5, q: 0.1, distribution: q_uniform}",
        );
        same(
            "tune.quniform(0, 1, 0.25)",
            "{min: 0, max: 1, q: 0.25, distribution: q_uniform}",
        );
        same("suggest_int(2, 16, step=2)", "{min: 2, max: 16, q: 2}");
        same(
            "suggest_int(1, 16, log=True)",
            "{min: 1, max: 16, distribution: int_log_uniform}",
        );
        same(
            "IntDistribution(high=16, log=False, low=2, step=2)",
            "{min: 2, max: 16, q: 2}",
        );
        same(
            "CategoricalDistribution(choices=('a', 'b'))",
            "{values: [a, b]}",
        );
        same(
            "suggest_categorical(\"opt\", [\"a\", \"b\"])",
            "{values: [a, b]}",
        );
        same(
            "tune.randn(0, 2)",
            "{mu: 0, sigma: 2, distribution: normal}",
        );
    }

    #[test]
    fn other_texts_are_texts() {
        for text in [
            "adamw",
            "resize(224)",
            "interval",
            "a(b",
            "(x)",
            "choice(a",
            "uniform noise (2)",
        ] {
            assert_eq!(study(text), Ok(Domain::Constant(text.into())), "{text}");
        }
    }

    #[test]
    fn what_is_ambiguous_says_how_to_write_it() {
        for (range, words) in [
            ("randint(1, 10)", "tune.randint(1, 10)"),
            ("loguniform(-11, 0)", "log_uniform"),
            ("interval(1)", "too few"),
            ("interval(1, 2, 3)", "too many"),
            ("range(1, 9, 2, 5)", "too many"),
            (
                "range(-9223372036854775808, 9223372036854775807, 4)",
                "too large",
            ),
            ("tag(cosine, interval(1, 2))", "only `log`"),
            ("range(5, 1)", "below its stop"),
            ("choice()", "nothing to choose"),
            ("interval(a, 2)", "must be a number"),
            ("interval(3, 2)", "more than"),
            ("suggest_float(0.05, 0.4, step=0.1)", "begin at the lowest"),
            ("suggest_discrete_uniform(0.05, 0.4, 0.1)", "multiples"),
        ] {
            let error = study(range).unwrap_err();
            assert!(error.contains(words), "{range}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(tag|choice|range|interval|uniform|int|suggest_int)?[(\\[]?[-a-z0-9.,=()'\\[\\] ]{0,30}\\)?") {
            let _ = study(&text);
        }
    }
}
