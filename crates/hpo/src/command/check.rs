//! `hpo check`

use hpo_run::gpu::{self, Device};
use hpo_study::memory::bytes;
use hpo_study::need::{Forecast, forecast};
use hpo_study::plan::{Plan, plan};
use hpo_study::study_file::Severity;
use hpo_study::{Fallback, GpuSpec};
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
    #[serde(skip_serializing_if = "Option::is_none")]
    gpus: Option<Here>,
    warnings: Vec<Warning<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<Sample>,
}

/// What a study for GPUs finds on this machine.
#[derive(Serialize)]
struct Here {
    /// Why it finds none.
    missing: Option<String>,
    /// The UUIDs of those that it may use.
    usable: Vec<String>,
    /// What the largest of them has for programs, in bytes; null: unknown.
    #[serde(skip)]
    card: Option<u64>,
    #[serde(skip)]
    words: String,
}

impl Here {
    fn look(spec: &GpuSpec) -> Self {
        let machine = gpu::look();
        let usable: Vec<&Device> = gpu::usable(&machine, spec).collect();
        let of = |gpu: &Device| {
            let memory = gpu.memory?;
            Some(memory.total.saturating_sub(memory.reserved.unwrap_or(0)))
        };
        let name = |gpu: &&Device| {
            let memory = of(gpu).map_or_else(String::new, |all| format!(", {}", bytes(all)));
            format!("{} ({}{memory})", gpu.index, gpu.name)
        };
        let names: Vec<String> = usable.iter().map(name).collect();
        let missing = gpu::missing(&machine, spec).or_else(|| machine.trouble.clone());
        Self {
            words: format!("GPUs of this machine for it: {}\n", names.join(", ")),
            card: usable.iter().filter_map(|gpu| of(gpu)).max(),
            usable: usable.iter().map(|gpu| gpu.uuid.clone()).collect(),
            missing,
        }
    }
}

/// Says what becomes of the study on a machine without GPUs for it.
fn warn_of_missing(here: &Here, spec: &GpuSpec) {
    let Some(why) = &here.missing else { return };
    let then = match spec.fallback {
        Fallback::Cpu => "trials would run on the CPU (`gpu.fallback`)",
        Fallback::None => {
            "it cannot be run here; `gpu: {fallback: cpu}` would let trials run on the CPU"
        }
    };
    words!(
        "{}: the study is for GPUs, and this machine has none for it: {why}\n  {then}",
        output::yellow("warning")
    );
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
    super::import::look(&study.spec, &study.directory)?;
    let sample = arguments
        .sample
        .as_deref()
        .map(|log| Sample::read(log, &study.spec))
        .transpose()?;
    let found = sample.as_ref().is_none_or(Sample::has_objective);
    let plan = plan(&study.spec);
    let here = study.spec.gpu.as_ref().map(Here::look);
    let memory = forecast(&study.spec, here.as_ref().and_then(|here| here.card));
    let expanded = arguments
        .expand
        .then(|| hpo_study::study_file::write::parameters(&study.spec.space));
    match arguments.print.format {
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
                memory,
                gpus: here,
                warnings: warnings.collect(),
                parameters: expanded,
                sample,
            })?;
        }
        TextFormat::Text => {
            output::page(&hpo_report::plan::text(&study.spec, &plan, output::width()))?;
            output::page(&hpo_report::forecast::text(&memory, output::width()))?;
            if let (Some(here), Some(gpu)) = (&here, &study.spec.gpu) {
                if here.missing.is_none() {
                    output::page(&here.words)?;
                }
                warn_of_missing(here, gpu);
            }
            if let Some(parameters) = expanded {
                output::data(&format!("\n{parameters}"))?;
            }
            if let Some(sample) = sample {
                output::page(&format!("\n{}", sample.text(output::width())))?;
            }
            if !found {
                return Ok(Exit::Usage);
            }
            let refused = here.as_ref().is_some_and(|here| here.missing.is_some())
                && matches!(&study.spec.gpu, Some(gpu) if gpu.fallback == Fallback::None);
            let file = arguments.file.display();
            words!(
                "\n{}",
                if refused {
                    format!("{file} is sound, and can be run where there is a GPU for it")
                } else {
                    output::green(format!("{file} can be run")).to_string()
                }
            );
        }
    }
    Ok(if found { Exit::Done } else { Exit::Usage })
}
