//! The proposed study file's text.

use hpo_recipe::Scale;

use super::{ProgramOption, Role, catalogue_range, options, role};
use crate::printout::{Known, MetricPattern, PatternForm, read_log};
use crate::study_file::write::{float, text};

/// The method of a file to start from, with the others that there are.
pub const METHOD: &str = "\
method: bayes                     # learns from the trials before: the choice for most studies
# Others: random, sobol, grid; tpe, gp, cmaes (hundreds of cheap trials), bohb, dehb, nsga2 (several objectives);
# pbt trains a population that changes its rates on the way (with `pbt: {population: 8}` for run_cap; needs checkpoints).";

/// What a proposal is made from.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The program, as the study file is to name it.
    pub program: &'a str,
    /// What it answers to `--help`.
    pub help: &'a str,
    /// What it printed when it was run once, if that is known.
    pub log: Option<&'a [u8]>,
    /// Its text, if it is a script.
    pub source: Option<&'a str>,
    /// What ran the script, where that is another Python than the study would take by itself.
    pub python: Option<&'a str>,
}

/// A proposed study file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The file's text; it can be run as it is, once the program reports the objective.
    pub text: String,
    /// The options that are searched or set, by their spelling.
    pub understood: Vec<String>,
    /// Options of which nothing is known; they stay at their defaults.
    pub left: Vec<String>,
    /// What people have to look at.
    pub notes: Vec<String>,
}

/// Proposes a study file; `None` when the help names no options.
#[must_use]
pub fn propose(wish: &Wish<'_>) -> Option<Proposal> {
    let all = options(wish.help);
    if all.is_empty() {
        return None;
    }
    let mut lines = Vec::new();
    let (mut understood, mut left) = (Vec::new(), Vec::new());
    let mut notes = Vec::new();
    let mut fixed = Vec::new();
    let mut epochs = None;
    let mut searched = false;
    for option in &all {
        let line = match role(option).filter(|_| option.takes_value) {
            Some(Role::Seed) => {
                fixed.push(argument(option, "${seed}"));
                None
            }
            Some(Role::Epochs) => {
                epochs = Some(whole_default(option).filter(|n| *n > 0).unwrap_or(10));
                epochs.map(|n| {
                    format!(
                        "{}: {n}    # the length of a whole trial",
                        text(option.name())
                    )
                })
            }
            Some(other) => match range(option, other) {
                Some(range) => {
                    searched = true;
                    let default = option
                        .default
                        .as_ref()
                        .map_or(String::new(), |d| format!("    # default: {d}"));
                    Some(format!(
                        "{}: {range}{}",
                        text(option.name()),
                        one_line(&default)
                    ))
                }
                None => {
                    left.push(option.flag.clone());
                    continue;
                }
            },
            None => {
                left.push(option.flag.clone());
                continue;
            }
        };
        understood.push(option.flag.clone());
        lines.extend(line);
    }
    if !searched {
        notes.push("no option looks like a hyperparameter: write `parameters` yourself".to_owned());
        lines.push(
            "an_option: {min: 1e-4, max: 1.0, distribution: log_uniform_values}    # CHANGE ME"
                .to_owned(),
        );
    }
    let heard = listen(wish, &mut notes);
    let style = style(&all);
    let mut file = format!(
        "# Proposed from what `{} --help` says. Look it over, then: hpo check FILE, hpo run FILE\n",
        one_line(wish.program)
    );
    file += &format!("program: {}\n", serde_json::Value::from(wish.program));
    let python = wish.program.ends_with(".py");
    let start = match (
        python,
        crate::command::default_command(wish.program).first(),
    ) {
        (true, _) => "${env}, ${interpreter}, ${program}".to_owned(),
        (false, Some(first)) => serde_json::Value::from(first.as_str()).to_string(),
        (false, None) => "${program}".to_owned(),
    };
    let start: Vec<String> = match python {
        true => start.split(", ").map(|w| format!("\"{w}\"")).collect(),
        false => vec![start],
    };
    let command = start
        .into_iter()
        .chain(fixed.into_iter().flatten())
        .chain([format!("\"{style}\"")]);
    file += &format!("command: [{}]\n", command.collect::<Vec<_>>().join(", "));
    if let Some(interpreter) = wish.python.filter(|_| python) {
        file += &format!("python: {}\n", serde_json::Value::from(interpreter));
    }
    file += &format!(
        "\nmetric: {{name: {}, goal: {}}}{}\n",
        text(&heard.objective),
        heard.goal,
        if heard.sure {
            ""
        } else {
            "    # CHANGE ME to what the program reports"
        }
    );
    file += &heard.metrics;
    file += "\n";
    file += METHOD;
    file += "\nseed: 1\nrun_cap: 40                       # trials; time_cap: 8h limits the time\n\nparameters:\n";
    for line in &lines {
        file += &format!("  {line}\n");
    }
    if let Some(epochs) = epochs.filter(|n| *n >= 3) {
        file += &format!(
            "\n# Trials far behind those that became good are stopped. It needs a report per epoch.\n\
             early_terminate: {{type: auto, max_iter: {epochs}}}\n"
        );
    }
    if !left.is_empty() {
        file += "\n# Left at their defaults, since their names say nothing of what to try:\n";
        for names in left.chunks(8) {
            file += &format!("#   {}\n", one_line(&names.join(" ")));
        }
    }
    Some(Proposal {
        text: file,
        understood,
        left,
        notes,
    })
}

/// Nothing of a program's words may begin a new line of the file.
fn one_line(words: &str) -> String {
    words
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// An option with a value that is not searched, as items of the command.
fn argument(option: &ProgramOption, value: &str) -> Vec<String> {
    let quoted = |word: String| serde_json::Value::from(word).to_string();
    match option.flag.as_str() {
        flag if flag.starts_with("--") || !flag.starts_with('-') => {
            vec![quoted(format!("{flag}={value}"))]
        }
        flag => vec![quoted(flag.to_owned()), quoted(value.to_owned())],
    }
}

/// The macro that writes arguments as this program reads them.
fn style(all: &[ProgramOption]) -> &'static str {
    let hyphens = |n: usize| {
        let counted = all
            .iter()
            .filter(move |o| o.flag.len() - o.name().len() == n);
        counted.count()
    };
    if hyphens(0) > hyphens(1) + hyphens(2) {
        "${args_no_hyphens}"
    } else if hyphens(2) == 0 {
        "${args_single_hyphen}"
    } else {
        "${args}"
    }
}

fn number_default(option: &ProgramOption) -> Option<f64> {
    option
        .default
        .as_ref()?
        .parse()
        .ok()
        .filter(|x: &f64| x.is_finite())
}

fn whole_default(option: &ProgramOption) -> Option<u64> {
    number_default(option)
        .filter(|x| x.fract() == 0.0 && (0.0..1e6).contains(x))
        .map(|x| x as u64)
}

/// What to try for an option, as a parameter's map; `None`: nothing is known.
fn range(option: &ProgramOption, role: Role) -> Option<String> {
    let default = number_default(option);
    let choices = || {
        let names: Vec<String> = option.choices.iter().take(50).map(|c| text(c)).collect();
        (names.len() > 1).then(|| format!("{{values: [{}]}}", names.join(", ")))
    };
    match role {
        Role::Optimizer | Role::Schedule => choices(),
        Role::LearningRate => {
            // One and a half decades to either side, or the usual span.
            let around = default.filter(|lr| *lr > 0.0 && (1e-9..1e3).contains(lr));
            let (low, high) =
                around.map_or((1e-5, 1e-1), |lr| (rounded(lr / 30.0), rounded(lr * 30.0)));
            Some(log_range(low, high))
        }
        Role::Dropout => {
            let high = default.map_or(0.5, |d| d.max(0.5)).min(0.9);
            Some(format!("{{min: 0.0, max: {}}}", float(high)))
        }
        Role::BatchSize => {
            let middle = whole_default(option).filter(|n| *n > 0).unwrap_or(64);
            let values: Vec<String> = [(middle / 2).max(1), middle, middle * 2, middle * 4]
                .iter()
                .map(u64::to_string)
                .collect();
            let mut values = values;
            values.dedup();
            Some(format!("{{values: [{}]}}", values.join(", ")))
        }
        Role::Knob(name) => {
            let (low, high, scale) = catalogue_range(name)?;
            let inside = |x: f64| match scale {
                Scale::Linear => true,
                Scale::Log => x > 0.0,
                Scale::OneMinusLog => x < 1.0,
            };
            let default = default.filter(|x| inside(*x));
            let (low, high) = (
                default.map_or(low, |x| x.min(low)),
                default.map_or(high, |x| x.max(high)),
            );
            Some(match scale {
                Scale::Log => log_range(low, high),
                Scale::Linear => format!("{{min: {}, max: {}}}", float(low), float(high)),
                Scale::OneMinusLog => format!(
                    "{{min: {}, max: {}, distribution: one_minus_log}}",
                    float(low),
                    float(high)
                ),
            })
        }
        Role::Epochs | Role::Seed => None,
    }
}

fn log_range(low: f64, high: f64) -> String {
    format!(
        "{{min: {}, max: {}, distribution: log_uniform_values}}",
        float(low),
        float(high)
    )
}

/// To one digit.
fn rounded(x: f64) -> f64 {
    format!("{x:.0e}").parse().unwrap_or(x)
}

/// How the objective is heard.
struct Heard {
    objective: String,
    goal: &'static str,
    /// The line `metrics: …`, or a remark.
    metrics: String,
    sure: bool,
}

fn listen(wish: &Wish<'_>, notes: &mut Vec<String>) -> Heard {
    if let Some(log) = wish.log {
        // The fewest patterns that find most, from none (the program reports by itself) to any pair.
        let mut best: Option<(Option<Known>, Vec<String>)> = None;
        // `Epoch 1/9 loss=0.3` is a line of many a program, and of Lightning, whose epochs are from 0, only with a bar.
        let has = |word: &[u8]| log.windows(word.len()).any(|part| part == word);
        let has_bar = has(b"it/s") || has(b"s/it") || has(b"v_num");
        let formats = Known::ALL.into_iter();
        let formats = formats.filter(|known| *known != Known::Lightning || has_bar);
        for format in std::iter::once(None).chain(formats.map(Some)) {
            let patterns: Vec<MetricPattern> = format
                .map(|known| MetricPattern {
                    stream: known.stream(),
                    form: PatternForm::Format(known),
                })
                .into_iter()
                .collect();
            let Ok(reading) = read_log(log, &patterns) else {
                continue;
            };
            let names: Vec<String> = reading.series().keys().map(|n| (*n).to_owned()).collect();
            if best.is_none() && objective(&names).is_some() {
                best = Some((format, names));
            }
        }
        if let Some((format, names)) = best
            && let Some((name, goal)) = objective(&names)
        {
            let metrics = format.map_or_else(
                || "# The program reports its metrics by itself.\n".to_owned(),
                |known| format!("metrics: {}\n", known.name()),
            );
            return Heard {
                objective: name,
                goal,
                metrics: format!("{metrics}# In the log: {}\n", one_line(&names.join(", "))),
                sure: true,
            };
        }
        notes.push("no metric was found in the log: write a regex under `metrics`".to_owned());
    }
    let uses = |word: &str| wish.source.is_some_and(|source| source.contains(word));
    let (format, name, goal) = if uses("[hpo]") {
        (None, "val_loss", "minimize")
    } else if uses("lightning") {
        (Some(Known::Lightning), "val_loss", "minimize")
    } else if uses("transformers") {
        (Some(Known::Huggingface), "eval_loss", "minimize")
    } else if uses("keras") {
        (Some(Known::Keras), "val_loss", "minimize")
    } else {
        (Some(Known::Pairs), "val_loss", "minimize")
    };
    notes.push(
        "what it prints is a guess: run it once with its output in a file, then `hpo init … --sample FILE --force`, or \
         `hpo check STUDY --sample FILE`"
            .to_owned(),
    );
    let metrics = format.map_or_else(String::new, |known| {
        format!(
            "metrics: {}    # a guess; see `hpo check --sample LOGFILE`\n",
            known.name()
        )
    });
    Heard {
        objective: name.to_owned(),
        goal,
        metrics,
        sure: false,
    }
}

/// The metric that is most likely the one to optimize: one of held-out data, else any loss or accuracy.
fn objective(names: &[String]) -> Option<(String, &'static str)> {
    const HELD_OUT: &[&str] = &["val", "eval", "valid", "dev", "test"];
    const LOSSES: &[&str] = &[
        "loss",
        "perplexity",
        "ppl",
        "rmse",
        "mse",
        "mae",
        "error",
        "err",
    ];
    const SCORES: &[&str] = &[
        "acc", "f1", "auc", "r2", "bleu", "mrr", "hits", "map", "score",
    ];
    let has = |name: &str, words: &[&str]| words.iter().any(|w| name.to_lowercase().contains(w));
    for held_out in [true, false] {
        for (words, goal) in [(LOSSES, "minimize"), (SCORES, "maximize")] {
            let found = names
                .iter()
                .find(|n| has(n, words) && (!held_out || has(n, HELD_OUT)));
            if let Some(name) = found {
                return Some((name.clone(), goal));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spec::Job;
    use crate::study_file::{Severity, Source, read};

    const HELP: &str = "usage: train.py\n\noptions:\n  --lr LR  rate (default: 0.01)\n  --momentum M  (default: 0.9)\n  \
                        --wd WD  (default: 0)\n  --optimizer {sgd,adam}\n  --batch-size N  (default: 64)\n  \
                        --epochs N  (default: 27)\n  --seed S  (default: 1)\n  --dropout P  (default: 0.2)\n  --data DIR\n  --fp16\n";

    fn check(proposal: &Proposal) -> crate::StudySpec {
        let source = Source {
            file: "study.yaml".into(),
            directory: "/".into(),
        };
        let checked = read(&proposal.text, &source);
        let wrong: Vec<_> = checked
            .problems
            .iter()
            .filter(|p| p.severity == Severity::Error)
            .collect();
        checked
            .spec
            .unwrap_or_else(|| panic!("{wrong:?}\n{}", proposal.text))
    }

    fn wish<'a>(program: &'a str, help: &'a str, log: Option<&'a [u8]>) -> Wish<'a> {
        Wish {
            program,
            help,
            log,
            source: None,
            python: None,
        }
    }

    #[test]
    fn the_python_that_answered_is_the_one_that_trains() {
        let mut wish = wish("train.py", HELP, None);
        let proposal = propose(&wish).unwrap();
        assert!(!proposal.text.contains("\npython:"), "{}", proposal.text);
        wish.python = Some("python3");
        let proposal = propose(&wish).unwrap();
        let Job::Command(job) = check(&proposal).job else {
            panic!("{}", proposal.text)
        };
        assert_eq!(job.python.as_deref(), Some("python3"));
        // A program of another kind was not run by it.
        wish.program = "./train.sh";
        let proposal = propose(&wish).unwrap();
        assert!(!proposal.text.contains("\npython:"), "{}", proposal.text);
    }

    #[test]
    fn the_usual_options_get_ranges_around_their_defaults() {
        let log = b"Epoch 1/2\n8/8 - 0s - loss: 1.0 - val_loss: 2.0\n";
        let proposal = propose(&wish("train.py", HELP, Some(log))).unwrap();
        insta::assert_snapshot!("proposal", proposal.text);
        let spec = check(&proposal);
        assert_eq!(spec.metric.name, "val_loss");
        assert_eq!(spec.max_steps(), Some(27));
        assert_eq!(proposal.left, ["--data", "--fp16"]);
        assert!(proposal.notes.is_empty(), "{:?}", proposal.notes);
    }

    #[test]
    fn programs_of_other_kinds() {
        let c = "-c cost : set the parameter C (default 1)\n-lr rate : rate (default 0.1)\n-seed n : (default 1)\n";
        let proposal = propose(&wish("trainer", c, None)).unwrap();
        check(&proposal);
        assert!(
            proposal.text.contains("${args_single_hyphen}"),
            "{}",
            proposal.text
        );
        assert!(
            proposal.text.contains("\"-seed\", \"${seed}\""),
            "{}",
            proposal.text
        );
        let hydra = "== Config ==\noptimizer:\n  lr: 0.1\nepochs: 2\n";
        let proposal = propose(&wish("a b.py", hydra, None)).unwrap();
        check(&proposal);
        assert!(
            proposal.text.contains("optimizer.lr: {min: 0.003"),
            "{}",
            proposal.text
        );
        assert!(proposal.text.contains("${args_no_hyphens}"));
        assert_eq!(propose(&wish("x", "no options here", None)), None);
    }

    proptest! {
        #[test]
        fn whatever_a_program_says_the_proposal_can_be_read(
            help in "((\\n  -{1,2}(lr|wd|momentum|beta1|beta2|batch-size|epochs|seed|dropout|optimizer|x y)[ =]?(N|FLOAT|\\{a,b\\}|\\[1\\|2\\])? {0,3}[(\\[]?default[: ]{0,2}'?[-0-9.e'#:{}\\[\\]]{0,6}[)\\]]?)|\\PC){0,12}",
            program in "[a-z #:'\"\\n]{1,9}(\\.py)?", log in "[ a-z_=:0-9.\\n]{0,60}") {
            let wish = wish(&program, &help, Some(log.as_bytes()));
            if !program.trim().is_empty() && let Some(proposal) = propose(&wish) {
                check(&proposal);
            }
        }
    }
}
