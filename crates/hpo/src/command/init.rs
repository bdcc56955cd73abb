//! `hpo init`

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use hpo_study::proposal::METHOD;

use super::inspect;
use crate::cli::InitArguments;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::output::words;

pub(super) fn perform(arguments: &InitArguments) -> Result<Exit, Failure> {
    let (text, proposal) = match &arguments.inspect {
        Some(program) => {
            let proposal = inspect::propose(program, arguments)?;
            (proposal.text.clone(), Some(proposal))
        }
        None => (starter(arguments.program.as_deref()), None),
    };
    if arguments.output == Path::new("-") {
        output::data(&text)?;
    } else {
        write(arguments, &text)?;
    }
    if let Some(proposal) = &proposal {
        inspect::explain(proposal);
    }
    if arguments.output != Path::new("-") {
        let path = arguments.output.display();
        words!("{path} is written; look it over, then: hpo check {path}, hpo run {path}");
    }
    Ok(Exit::Done)
}

fn write(arguments: &InitArguments, text: &str) -> Result<(), Failure> {
    let path = arguments.output.display();
    let trouble = |e: std::io::Error| match e.kind() {
        ErrorKind::AlreadyExists => Failure::usage(format!("{path} exists already"))
            .hint("give another name with -o, or --force to write over it; it was not touched"),
        _ => Failure::trouble(format!("{path} cannot be written: {e}")),
    };
    let file = if arguments.force {
        File::create(&arguments.output)
    } else {
        File::create_new(&arguments.output)
    };
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(trouble)
}

/// A study file to start from: for a script, or for the built-in trainer.
fn starter(program: Option<&str>) -> String {
    let job = match program {
        Some(program) => format!(
            "# Your training script, started once per trial as: python train.py --lr=0.01 --optimizer=adamw …\n\
             # It reports after every epoch:  print('[hpo] ' + json.dumps({{'step': epoch, 'val_loss': loss}}), flush=True)\n\
             program: {}\n\
             metric: {{name: val_loss, goal: minimize}}",
            // JSON's texts are YAML's.
            serde_json::Value::from(program)
        ),
        None => "# The trainer that comes with hpo, on handwritten digits.\n\
                 trainer: {model: mlp, hidden: [64], dataset: digits, epochs: 9}\n\
                 metric: {name: val_accuracy, goal: maximize}"
            .to_owned(),
    };
    format!(
        "name: starter\n\
         {job}\n\
         \n\
         {METHOD}\n\
         seed: 1\n\
         run_cap: 40                       # trials; time_cap: 8h limits the time\n\
         \n\
         # Optimizers and schedules with their knobs and ranges; `hpo check --expand` writes them out.\n\
         recipe:\n  \
           optimizers: [sgd, momentum, adam, adamw]\n  \
           schedules: [constant, cosine, one_cycle]\n\
         \n\
         # Whatever else is to be searched.\n\
         parameters:\n  \
           batch_size: {{values: [32, 64, 128]}}\n\
         \n\
         # Trials far behind those that became good are stopped; the study learns where the line is.\n\
         early_terminate: auto\n"
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use hpo_study::study_file::{Source, read};

    #[test]
    fn starters_can_be_run_as_they_are() {
        let source = Source {
            file: "study.yaml".into(),
            directory: PathBuf::from("/"),
        };
        for program in [None, Some("train.py"), Some("my \"odd\" script: #1.py")] {
            let text = super::starter(program);
            let checked = read(&text, &source);
            assert!(checked.spec.is_some(), "{:?}\n{text}", checked.problems);
            assert!(
                checked.problems.is_empty(),
                "{:?}\n{text}",
                checked.problems
            );
        }
    }

    #[test]
    fn starters_name_every_method() {
        let source = Source {
            file: "study.yaml".into(),
            directory: PathBuf::from("/"),
        };
        let text = super::starter(None).replace("method: bayes", "method: xxxxxxxx");
        let problems = read(&text, &source).problems;
        let said = format!("{} {:?}", problems[0].message, problems[0].hint);
        let names: Vec<&str> = said.split('`').skip(1).step_by(2).collect();
        assert!(names.contains(&"cmaes") && names.len() > 10, "{said}");
        // `motpe` is another name for `tpe`.
        for name in names
            .into_iter()
            .filter(|name| !["motpe", "method", "xxxxxxxx"].contains(name))
        {
            assert!(super::METHOD.contains(name), "{name}");
        }
    }
}
