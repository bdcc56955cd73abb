//! `hpo check`

use hpo_study::need::{Forecast, forecast};
use hpo_study::plan::{Plan, plan};
use hpo_study::study_file::Severity;
use serde::Serialize;

use super::sample::Sample;
use crate::cli::{CheckArguments, TextFormat};
use crate::failure::{Exit, Failure};
use crate::output::words;
use crate::{output, study_file};

/// What `hpo check -f json` prints. Fields are added in later versions, never changed.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    study: &'a str,
    plan: Plan,
    memory: Vec<Forecast>,
    warnings: Vec<Warning<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<Sample>,
}

/// A warning and its place in the file.
#[derive(Serialize)]
struct Warning<'a> {
    message: &'a str,
    line: usize,
    column: usize,
    hint: Option<&'a str>,
}

pub(super) fn perform(arguments: &CheckArguments) -> Result<Exit, Failure> {
    let study = study_file::load(&arguments.file)?;
    study.check_files()?;
    let sample = arguments
        .sample
        .as_deref()
        .map(|log| Sample::read(log, &study.spec))
        .transpose()?;
    let found = sample.as_ref().is_none_or(Sample::has_objective);
    let plan = plan(&study.spec);
    let expanded = arguments
        .expand
        .then(|| hpo_report::expand::parameters(&study.spec.space));
    match arguments.format {
        TextFormat::Json => {
            let warnings = study
                .warnings
                .iter()
                .filter(|p| p.severity == Severity::Warning);
            let warnings = warnings.map(|problem| Warning {
                message: &problem.message,
                line: problem.line(),
                column: problem.column(),
                hint: problem.hint.as_deref(),
            });
            output::json(&Report {
                version: 1,
                study: &study.spec.name,
                plan,
                memory: forecast(&study.spec),
                warnings: warnings.collect(),
                parameters: expanded,
                sample,
            })?;
        }
        TextFormat::Text => {
            output::data(&hpo_report::plan::text(&study.spec, &plan, output::width()))?;
            let memory = forecast(&study.spec);
            output::data(&hpo_report::forecast::text(&memory, output::width()))?;
            if let Some(parameters) = expanded {
                output::data(&format!("\n{parameters}"))?;
            }
            if let Some(sample) = sample {
                output::data(&format!("\n{}", sample.text(&study.spec, output::width())))?;
            }
            if !found {
                return Ok(Exit::Usage);
            }
            words!(
                "\n{}",
                output::green(format!("{} can be run", arguments.file.display()))
            );
        }
    }
    Ok(if found { Exit::Done } else { Exit::Usage })
}
