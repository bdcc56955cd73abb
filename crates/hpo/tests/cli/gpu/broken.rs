//! Drivers that answer wrongly, late or not at all: the program goes on, and says what is wrong.

use std::time::Instant;

use fake_nvml::{Device, Process, State};
use serde_json::Value as Json;

use super::{GIB, MIB, Machine};

/// Something that can be wrong, and what `hpo gpus` must make of it.
pub(super) struct Case {
    pub(super) what: String,
    pub(super) spoil: Box<dyn Fn(&mut State) + Send + Sync>,
    pub(super) without: Vec<&'static str>,
    holds: fn(&Json) -> bool,
}

fn case(
    what: &str,
    spoil: impl Fn(&mut State) + Send + Sync + 'static,
    holds: fn(&Json) -> bool,
) -> Case {
    Case {
        what: what.to_owned(),
        spoil: Box::new(spoil),
        without: Vec::new(),
        holds,
    }
}

fn lacking(functions: &[&'static str], holds: fn(&Json) -> bool) -> Case {
    Case {
        what: format!("no {functions:?}"),
        spoil: Box::new(|_| ()),
        without: functions.to_vec(),
        holds,
    }
}

pub(super) fn machine() -> State {
    let mut first = Device::new(0, 8192);
    first.processes.push(Process {
        pid: 4_000_000,
        bytes: 700 * MIB,
        ghost: true,
        ..Process::default()
    });
    State::of(vec![first, Device::new(1, 24_576)])
}

/// The first GPU of the page.
fn gpu(page: &Json) -> &Json {
    &page["gpus"][0]
}

fn trouble(page: &Json, words: &str) -> bool {
    page["trouble"].as_str().is_some_and(|t| t.contains(words))
}

fn both(page: &Json) -> bool {
    page["trouble"].is_null() && page["gpus"].as_array().is_some_and(|gpus| gpus.len() == 2)
}

fn usable(page: &Json) -> bool {
    both(page) && gpu(page)["lost"].is_null()
}

fn lost(page: &Json) -> bool {
    both(page) && gpu(page)["lost"].is_string() && page["gpus"][1]["lost"].is_null()
}

/// Neither interface offers a reading of the first GPU's memory.
fn has_no_memory(state: &mut State) {
    for function in ["nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetMemoryInfo"] {
        let not_supported = (function.to_owned(), 3);
        state.gpus[0].fail.extend([not_supported]);
    }
}

/// The codes by which a driver says that a GPU is out of reach, and those that say no more than "not this".
const GONE: [i32; 3] = [15, 16, 17];
const REFUSALS: [i32; 7] = [2, 3, 4, 6, 21, 25, 999];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case(
            "nothing",
            |_| (),
            |page| {
                let memory = &gpu(page)["memory"];
                usable(page)
                    && memory["total"] == 8192 * MIB
                    && memory["reserved"] == 256 * MIB
                    && memory["used"] == 700 * MIB
                    && gpu(page)["free"] == (8192 - 256 - 700) * MIB
                    && gpu(page)["processes"][0]["memory"] == 700 * MIB
                    && gpu(page)["temperature"] == 40
                    && gpu(page)["power"] == 60
            },
        ),
        case(
            "no GPU",
            |s| s.gpus.clear(),
            |page| page["trouble"].is_null() && page["gpus"] == serde_json::json!([]),
        ),
        case(
            "a hundred GPUs",
            |s| s.gpus = (0..100).map(|i| Device::new(i, 8192)).collect(),
            |page| {
                page["gpus"]
                    .as_array()
                    .is_some_and(|gpus| gpus.len() == 100)
            },
        ),
        case(
            "an absurd count",
            |s| s.count = Some(u32::MAX),
            |page| trouble(page, "makes no sense"),
        ),
        case(
            "a count beyond the truth",
            |s| s.count = Some(4),
            |page| {
                page["gpus"].as_array().is_some_and(|gpus| gpus.len() == 4)
                    && page["gpus"][3]["lost"].is_string()
                    && gpu(page)["lost"].is_null()
            },
        ),
        case(
            "a name that is no text",
            |s| s.gpus[0].name_bytes = Some(vec![0xff, 0xfe, 65]),
            |page| usable(page) && gpu(page)["name"] == "unknown GPU",
        ),
        case(
            "a name too long",
            |s| s.gpus[0].name = "x".repeat(500),
            usable,
        ),
        case(
            "a UUID too long",
            |s| s.gpus[0].uuid = "x".repeat(500),
            lost,
        ),
        case("an empty UUID", |s| s.gpus[0].uuid = String::new(), lost),
        case(
            "all memory used and more",
            |s| s.gpus[0].used = Some(u64::MAX),
            |page| usable(page) && gpu(page)["memory"].is_null(),
        ),
        case(
            "absurd total",
            |s| s.gpus[0].total = u64::MAX,
            |page| usable(page) && gpu(page)["memory"].is_null(),
        ),
        case(
            "no memory at all",
            |s| s.gpus[0].total = 0,
            |page| usable(page) && gpu(page)["memory"].is_null(),
        ),
        case(
            "more reserved than there is",
            |s| s.gpus[0].reserved = u64::MAX,
            |page| usable(page) && gpu(page)["memory"]["reserved"].is_null(),
        ),
        case(
            "unknown memory of a process",
            |s| s.gpus[0].processes[0].said = Some(u64::MAX),
            |page| usable(page) && gpu(page)["processes"][0]["memory"].is_null(),
        ),
        case(
            "an absurd memory of a process",
            |s| s.gpus[0].processes[0].said = Some(1 << 60),
            |page| usable(page) && gpu(page)["processes"][0]["memory"].is_null(),
        ),
        case(
            "an absurd number of processes",
            |s| s.gpus[0].process_count = Some(u32::MAX),
            |page| usable(page) && gpu(page)["processes"].is_null(),
        ),
        case(
            "many processes",
            |s| {
                let ghost = |pid| Process {
                    pid,
                    bytes: MIB,
                    ghost: true,
                    ..Process::default()
                };
                s.gpus[0].processes = (1..=3000).map(ghost).collect();
            },
            |page| {
                gpu(page)["processes"]
                    .as_array()
                    .is_some_and(|all| all.len() == 3000)
            },
        ),
        case(
            "process number 0",
            |s| s.gpus[0].processes[0].pid = 0,
            |page| usable(page) && gpu(page)["processes"] == serde_json::json!([]),
        ),
        case(
            "utilization of 4000 %",
            |s| s.gpus[0].utilization = 4000,
            |page| usable(page) && gpu(page)["utilization"].is_null(),
        ),
        case(
            "hot as the sun",
            |s| s.gpus[0].temperature = 5505,
            |page| usable(page) && gpu(page)["temperature"].is_null(),
        ),
        case(
            "drawing gigawatts",
            |s| s.gpus[0].power = u32::MAX,
            |page| usable(page) && gpu(page)["power"].is_null(),
        ),
        case(
            "countless ECC errors",
            |s| s.gpus[0].ecc_errors = u64::MAX,
            |page| usable(page) && gpu(page)["ecc_errors"].is_null(),
        ),
        case(
            "fallen off the bus",
            |s| s.gpus[0].lost = true,
            |page| lost(page) && gpu(page)["lost"] == "it has fallen off the bus",
        ),
        case(
            "two of one name",
            |s| s.gpus[1].uuid = s.gpus[0].uuid.clone(),
            |page| page["gpus"].as_array().is_some_and(|gpus| gpus.len() == 1),
        ),
        case(
            "another order",
            |s| s.gpus.reverse(),
            |page| both(page) && gpu(page)["memory"]["total"] == 24_576 * MIB,
        ),
        case(
            "divided into instances",
            |s| {
                let instance = |uuid: &str| Device {
                    uuid: uuid.to_owned(),
                    ..Device::new(0, 4096)
                };
                s.gpus[0].instances = vec![instance("MIG-a"), instance("MIG-b")];
            },
            |page| {
                page["gpus"].as_array().is_some_and(|gpus| gpus.len() == 3)
                    && gpu(page)["uuid"] == "MIG-a"
                    && gpu(page)["mig"] == true
                    && gpu(page)["memory"]["total"] == 4096 * MIB
            },
        ),
        case(
            "without memory of its own",
            |s| {
                s.gpus[0].name = "NVIDIA GB10".to_owned();
                has_no_memory(s);
            },
            |page| {
                let memory = &gpu(page)["memory"];
                usable(page)
                    && gpu(page)["unified"] == true
                    && memory["used"] == 700 * MIB
                    && memory["total"].as_u64() > Some(GIB)
            },
        ),
        case(
            "a card that does not say what memory it has",
            has_no_memory,
            |page| usable(page) && gpu(page)["unified"] == false && gpu(page)["memory"].is_null(),
        ),
        // Init that fails.
        case(
            "driver not loaded",
            |s| s.init = 9,
            |page| trouble(page, "not loaded"),
        ),
        case(
            "driver exchanged",
            |s| s.init = 18,
            |page| trouble(page, "different versions"),
        ),
        case(
            "no permission",
            |s| s.init = 4,
            |page| trouble(page, "permission"),
        ),
        case(
            "a cgroup's rules",
            |s| s.init = 17,
            |page| trouble(page, "container"),
        ),
        case(
            "an unknown code",
            |s| s.init = 12_345,
            |page| trouble(page, "12345"),
        ),
        // Functions that are not there.
        lacking(&["nvmlInit_v2"], |page| trouble(page, "too old or damaged")),
        lacking(&["nvmlShutdown"], usable),
        lacking(&["nvmlSystemGetDriverVersion"], |page| {
            usable(page) && page["driver"].is_null()
        }),
        lacking(&["nvmlDeviceGetCount_v2"], |page| {
            trouble(page, "too old or damaged")
        }),
        lacking(&["nvmlDeviceGetHandleByIndex_v2"], |page| {
            gpu(page)["lost"].is_string()
        }),
        lacking(&["nvmlDeviceGetUUID"], |page| gpu(page)["lost"].is_string()),
        lacking(&["nvmlDeviceGetName"], usable),
        lacking(&["nvmlDeviceGetMemoryInfo_v2"], |page| {
            // The old interface counts the driver's part as used.
            usable(page)
                && gpu(page)["memory"]["reserved"].is_null()
                && gpu(page)["memory"]["used"] == 956 * MIB
        }),
        lacking(
            &["nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetMemoryInfo"],
            |page| usable(page) && gpu(page)["memory"].is_null(),
        ),
        lacking(&["nvmlDeviceGetComputeRunningProcesses_v3"], |page| {
            usable(page) && gpu(page)["processes"][0]["memory"] == 700 * MIB
        }),
        lacking(
            &[
                "nvmlDeviceGetComputeRunningProcesses_v3",
                "nvmlDeviceGetComputeRunningProcesses_v2",
            ],
            |page| usable(page) && gpu(page)["processes"].is_null(),
        ),
        lacking(&["nvmlDeviceGetGraphicsRunningProcesses_v3"], usable),
        lacking(
            &["nvmlDeviceGetMigMode", "nvmlDeviceGetMaxMigDeviceCount"],
            usable,
        ),
        lacking(&["nvmlDeviceGetUtilizationRates"], |page| {
            usable(page) && gpu(page)["utilization"].is_null()
        }),
        lacking(
            &["nvmlDeviceGetTemperature", "nvmlDeviceGetPowerUsage"],
            |page| {
                usable(page) && gpu(page)["temperature"].is_null() && gpu(page)["power"].is_null()
            },
        ),
        lacking(&["nvmlDeviceGetTotalEccErrors"], |page| {
            gpu(page)["ecc_errors"].is_null()
        }),
        lacking(&["nvmlEventSetCreate"], usable),
        lacking(&["nvmlEventSetFree"], usable),
        lacking(&["nvmlDeviceRegisterEvents", "nvmlEventSetWait_v2"], usable),
    ];
    for code in GONE {
        for function in [
            "nvmlDeviceGetHandleByIndex_v2",
            "nvmlDeviceGetMemoryInfo_v2",
            "nvmlDeviceGetUUID",
        ] {
            let spoil = move |s: &mut State| s.gpus[0].fail.extend([(function.to_owned(), code)]);
            cases.push(case(&format!("{function}: {code}"), spoil, lost));
        }
    }
    for code in REFUSALS {
        for function in [
            "nvmlDeviceGetMemoryInfo_v2",
            "nvmlDeviceGetComputeRunningProcesses_v3",
        ] {
            let spoil = move |s: &mut State| s.gpus[0].fail.extend([(function.to_owned(), code)]);
            cases.push(case(&format!("{function}: {code}"), spoil, usable));
        }
    }
    for function in ["nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2"] {
        let spoil = move |s: &mut State| s.fail.extend([(function.to_owned(), 1)]);
        cases.push(case(
            &format!("{function}: not initialized"),
            spoil,
            |page| trouble(page, "not first initialized"),
        ));
    }
    cases
}

#[test]
fn every_broken_driver_is_told_of_and_none_is_believed() {
    let cases = cases();
    assert!(cases.len() >= 50, "{}", cases.len());
    for case in cases {
        let mut state = machine();
        (case.spoil)(&mut state);
        let mut machine = Machine::new(&state);
        if !case.without.is_empty() {
            machine.without(&case.without);
        }
        let output = machine.hpo(&["gpus", "-f", "json"]).output().unwrap();
        let what = &case.what;
        assert!(output.status.success(), "{what}: {output:?}");
        assert!(
            !String::from_utf8_lossy(&output.stderr).contains("panicked"),
            "{what}: {output:?}"
        );
        let page: Json = serde_json::from_slice(&output.stdout).unwrap();
        assert!((case.holds)(&page), "{what}: {page:#}");
    }
}

#[test]
fn without_a_driver_there_is_a_sentence_and_no_error() {
    let machine = Machine::new(&machine());
    let nowhere = machine.bench.path().join("nothing.so");
    let output = machine
        .hpo(&["gpus"])
        .env("HPO_NVML_LIBRARY", nowhere)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty());
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(
        words.contains("HPO_NVML_LIBRARY names no library"),
        "{words}"
    );
}

#[test]
fn the_table_is_for_people() {
    let mut state = machine();
    state.gpus[1].lost = true;
    let machine = Machine::new(&state);
    machine.bench.write(
        "study.yaml",
        "name: night\nmethod: random\nrun_cap: 3\nmetric: {name: loss, goal: minimize}\nprogram: train.py\n\
         parameters:\n  lr: {min: 0.1, max: 1.0}\ngpu: {memory_limit: 4GiB, devices: [0]}\n",
    );
    machine.bench.write("train.py", "");
    let output = machine.hpo(&["gpus", "study.yaml"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for words in [
        "NVIDIA Fake 8192",
        "8 GiB",
        "4 GiB",
        "700 MiB",
        "1 process",
        "not used",
        "fallen off the bus",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_driver_that_hangs_is_given_up() {
    let mut state = machine();
    state
        .delay
        .insert("nvmlDeviceGetMemoryInfo_v2".to_owned(), 60_000);
    let machine = Machine::new(&state);
    let begun = Instant::now();
    let output = machine.hpo(&["gpus"]).output().unwrap();
    assert!(output.status.success());
    assert!(begun.elapsed().as_secs() < 55, "it waited for the driver");
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("does not answer"), "{words}");
}
