//! `hpo gpus`

use hpo_report::table::Table;
use hpo_run::gpu::{self, Device, Machine};
use hpo_study::memory::bytes;
use hpo_study::{GpuSample, GpuSpec, History, TrialId, TrialShare};
use serde::Serialize;

use crate::cli::{GpusArguments, PlaceArguments, StudyArguments, TextFormat};
use crate::failure::{Exit, Failure};
use crate::output::words;
use crate::study_dir::Found;
use crate::{output, study_dir, study_file};

/// What is printed with `-f json`. Fields are added in later versions of the program, never changed.
#[derive(Debug, Serialize)]
struct Page {
    /// Version of this contract.
    version: u32,
    driver: Option<String>,
    /// Why there is no GPU to be seen.
    trouble: Option<String>,
    /// The study whose limits and trials are shown.
    study: Option<String>,
    gpus: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    device: Device,
    /// Bytes that are neither used nor the driver's.
    free: Option<u64>,
    /// Whether the study may use it; null without a study.
    in_study: Option<bool>,
    /// The most bytes that the study allows to be used on it.
    limit: Option<u64>,
    /// Bytes that are set aside for the study's trials.
    reserved: u64,
    /// The study's trials on it.
    trials: Vec<TrialShare>,
}

/// The study that is looked at: what its file says, and what its trials hold.
struct Study {
    name: String,
    gpu: Option<GpuSpec>,
    held: Vec<GpuSample>,
}

pub(super) fn perform(arguments: &GpusArguments) -> Result<Exit, Failure> {
    let study = study(arguments)?;
    let page = page(gpu::look(), study);
    match arguments.print.format {
        TextFormat::Json => output::json(&page)?,
        TextFormat::Text => show(&page)?,
    }
    Ok(Exit::Done)
}

/// The study that was named, which may not have been run yet; otherwise the one that runs, if one does.
fn study(arguments: &GpusArguments) -> Result<Option<Study>, Failure> {
    let named = &arguments.study;
    let Some(path) = named.positional.as_ref().or(named.named.as_ref()) else {
        let latest = study_dir::open_quietly(named).ok();
        let runs = latest.filter(|found| found.coordinator.is_some());
        return Ok(runs.as_ref().map(running));
    };
    if !path.is_file() {
        return Ok(Some(running(&study_dir::open(named)?)));
    }
    let spec = study_file::load(path)?.spec;
    let begun = StudyArguments {
        positional: Some(named.place.dir.join(&spec.name)),
        named: None,
        place: PlaceArguments {
            dir: named.place.dir.clone(),
        },
    };
    let held = study_dir::open_quietly(&begun).map_or(Vec::new(), |found| running(&found).held);
    Ok(Some(Study {
        name: spec.name,
        gpu: spec.gpu,
        held,
    }))
}

fn running(found: &Found) -> Study {
    let history: &History = &found.history;
    let held = if found.coordinator.is_some() {
        hpo_store::gpu_samples(&found.directory, true).unwrap_or_default()
    } else {
        Vec::new()
    };
    Study {
        name: history.spec().name.clone(),
        gpu: history.spec().gpu.clone(),
        held,
    }
}

fn page(machine: Machine, study: Option<Study>) -> Page {
    let line = |device: Device| {
        let spec = study.as_ref().and_then(|study| study.gpu.as_ref());
        let may = |spec: &GpuSpec| spec.devices.have(device.index, &device.uuid);
        let held = study.iter().flat_map(|study| &study.held);
        let mut held = held.filter(|sample| sample.gpu == device.uuid);
        let trials = held
            .next()
            .map_or(Vec::new(), |sample| sample.trials.clone());
        let memory = device.memory;
        Line {
            free: memory.map(|m| {
                let taken = m.used.saturating_add(m.reserved.unwrap_or(0));
                m.total.saturating_sub(taken)
            }),
            in_study: study.as_ref().map(|_| spec.is_some_and(may)),
            limit: spec
                .filter(|spec| may(spec))
                .and_then(|spec| spec.memory_limit),
            reserved: trials.iter().map(|t| t.reserved).sum(),
            trials,
            device,
        }
    };
    Page {
        version: 1,
        driver: machine.driver,
        trouble: machine.trouble,
        gpus: machine.gpus.into_iter().map(line).collect(),
        study: study.as_ref().map(|study| study.name.clone()),
    }
}

fn show(page: &Page) -> Result<(), Failure> {
    if let Some(trouble) = &page.trouble {
        words!("{trouble}");
    } else if page.gpus.is_empty() {
        words!("the NVIDIA driver is there, and no GPU");
    }
    if page.gpus.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&[
        ">gpu", "name", ">memory", ">limit", ">used", ">free", ">busy", ">temp", ">power",
        "used by",
    ]);
    for line in &page.gpus {
        let device = &line.device;
        let amount = |amount: Option<u64>| amount.map_or_else(dash, bytes);
        let number =
            |number: Option<u32>, unit: &str| number.map_or_else(dash, |n| format!("{n} {unit}"));
        table.row([
            device.index.to_string(),
            device.name.clone(),
            amount(device.memory.map(|m| m.total)),
            match (line.in_study, line.limit) {
                (Some(false), _) => "not used".to_owned(),
                (_, limit) => limit.map_or_else(dash, bytes),
            },
            amount(device.memory.map(|m| m.used)),
            amount(line.free),
            number(device.utilization, "%"),
            number(device.temperature, "°C"),
            number(device.power, "W"),
            who(line),
        ]);
    }
    let mut text = table.render(output::width());
    for line in &page.gpus {
        text += &format!("{}: {}\n", line.device.index, line.device.uuid);
    }
    if let Some(driver) = &page.driver {
        text += &format!("driver {driver}\n");
    }
    output::page(&text)
}

/// Why a GPU cannot be used, or else who uses it.
fn who(line: &Line) -> String {
    let device = &line.device;
    if let Some(why) = &device.lost {
        return format!("cannot be used: {why}");
    }
    let mut parts = Vec::new();
    if device.unified {
        parts.push("the machine's own memory".to_owned());
    }
    if !line.trials.is_empty() {
        let trials: Vec<String> = line
            .trials
            .iter()
            .map(|t| TrialId::to_string(&t.trial))
            .collect();
        let word = if trials.len() == 1 { "trial" } else { "trials" };
        parts.push(format!(
            "{word} {} ({})",
            trials.join(", "),
            bytes(line.reserved)
        ));
    }
    match device.processes.as_ref().map(Vec::len) {
        Some(0) => {}
        Some(1) => parts.push("1 process".to_owned()),
        Some(n) => parts.push(format!("{n} processes")),
        None => parts.push("processes unknown".to_owned()),
    }
    if let Some(errors) = device.ecc_errors.filter(|errors| *errors > 0) {
        parts.push(format!("{errors} memory errors"));
    }
    if parts.is_empty() {
        dash()
    } else {
        parts.join(", ")
    }
}

fn dash() -> String {
    "–".to_owned()
}
