//! The search space written out as a study file has it, recipes and short forms spelled out.

use std::fmt::Write as _;

use hpo_study::{Branch, Condition, Domain, Scale, Space, Value};

use crate::export::yaml::{scalar, string};

/// The space as the `parameters` of a study file. Read back, it is the same space.
#[must_use]
pub fn parameters(space: &Space) -> String {
    let mut text = "parameters:\n".to_owned();
    for parameter in &space.parameters {
        let name = string(&parameter.name);
        match parameter.branches.as_slice() {
            [only] => {
                let _ = writeln!(text, "  {name}: {}", branch(only));
            }
            several => {
                let _ = writeln!(text, "  {name}:");
                for one in several {
                    let _ = writeln!(text, "    - {}", branch(one));
                }
            }
        }
    }
    text
}

fn branch(branch: &Branch) -> String {
    let mut entries = domain(&branch.domain);
    if !branch.when.0.is_empty() {
        entries.push(format!("when: {}", condition(&branch.when)));
    }
    format!("{{{}}}", entries.join(", "))
}

fn condition(condition: &Condition) -> String {
    let clauses = condition.0.iter().map(|clause| {
        let values = match clause.any_of.as_slice() {
            [only] => scalar(only),
            several => list(several),
        };
        format!("{}: {values}", string(&clause.parameter))
    });
    format!("{{{}}}", clauses.collect::<Vec<_>>().join(", "))
}

fn list(values: &[Value]) -> String {
    scalar(&Value::List(values.to_vec()))
}

fn domain(domain: &Domain) -> Vec<String> {
    let bounds = |low: Value, high: Value, step: Option<Value>, distribution: &str| {
        let mut entries = vec![
            format!("min: {}", scalar(&low)),
            format!("max: {}", scalar(&high)),
        ];
        entries.extend(step.map(|q| format!("q: {}", scalar(&q))));
        entries.push(format!("distribution: {distribution}"));
        entries
    };
    match domain {
        Domain::Float {
            low,
            high,
            scale,
            step,
        } => {
            let distribution = match (scale, step) {
                (Scale::Linear, None) => "uniform",
                (Scale::Linear, Some(_)) => "q_uniform",
                (Scale::Log, None) => "log_uniform_values",
                (Scale::Log, Some(_)) => "q_log_uniform_values",
                // The dialect has no quantized form of it.
                (Scale::OneMinusLog, _) => "one_minus_log",
            };
            bounds(
                (*low).into(),
                (*high).into(),
                step.map(Value::Float),
                distribution,
            )
        }
        Domain::Int {
            low,
            high,
            log: true,
            ..
        } => bounds((*low).into(), (*high).into(), None, "int_log_uniform"),
        Domain::Int {
            low, high, step, ..
        } => {
            let step = (*step != 1).then_some(Value::Int(*step));
            bounds((*low).into(), (*high).into(), step, "int_uniform")
        }
        Domain::Law { law, step, whole } => {
            hpo_study::study_file::write::law_entries(*law, *step, *whole)
        }
        Domain::Categorical { choices, weights } => {
            let mut entries = vec![format!("values: {}", list(choices))];
            if let Some(weights) = weights {
                let weights: Vec<Value> = weights.iter().copied().map(Value::Float).collect();
                entries.push(format!("probabilities: {}", list(&weights)));
            }
            entries
        }
        Domain::Constant(value) => vec![format!("value: {}", scalar(value))],
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use hpo_study::study_file::{Source, read};

    use super::*;

    const REST: &str = "
name: t
program: train.py
method: random
run_cap: 100
metric: {name: loss}
";

    fn space(text: &str) -> Space {
        let source = Source {
            file: "t.yaml".into(),
            directory: PathBuf::from("/"),
        };
        let checked = read(text, &source);
        checked
            .spec
            .unwrap_or_else(|| panic!("{:?}\n{text}", checked.problems))
            .space
    }

    #[test]
    fn what_is_written_out_reads_back_as_the_same_space() {
        let text = format!(
            "{REST}
recipe: {{optimizers: all, schedules: all, warmup: true}}
parameters:
  batch_size: {{values: [16, 32, null, 'yes', '1e-3', [64, 32]]}}
  weighted: {{values: [a, b], probabilities: [0.25, 0.75]}}
  width: {{min: 16, max: 512, q: 16}}
  depth: {{min: 1, max: 64, distribution: int_log_uniform}}
  dropout: {{min: 0.0, max: 0.5, q: 0.1}}
  tiny: {{min: 1.0e-7, max: 1.0e-5, distribution: log_uniform_values}}
  fixed: 1.0e-8
"
        );
        let original = space(&text);
        assert!(original.parameters.len() > 20);
        let written = format!("{REST}{}", parameters(&original));
        assert_eq!(space(&written), original);
    }
}
