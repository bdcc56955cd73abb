//! What a trial on a GPU finds in its environment: which GPU, how much of it, and for frameworks that can be
//! told from outside a cap on what they allocate. What the user has set is added to and never overwritten.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use hpo_study::GpuShare;

use super::Device;
use super::torch::{self, Version};

/// Which GPUs CUDA shows to a program.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";
/// How much of its GPU a trial is to use, in MiB.
pub(crate) const MEMORY: &str = "HPO_GPU_MEMORY_MIB";
/// Set aside within a trial's part for the CUDA context and libraries, which no framework's allocator counts.
const CONTEXT: u64 = 512 << 20;
const MIB: u64 = 1 << 20;
/// The first PyTorch whose allocator takes `per_process_memory_fraction` from the environment (pull request
/// 161035 of September 2025, after the branch of 2.9). An older one refuses to start when it reads it.
const KNOWS_FRACTION: Version = (2, 10);
const FRACTION: &str = "per_process_memory_fraction";

/// What the caps depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// What was set aside for the trial.
    pub(crate) share: &'a GpuShare,
    /// All of the GPU's memory in bytes; `None`: unknown.
    pub(crate) total: Option<u64>,
    /// The trial's program and arguments.
    pub(crate) argv: &'a [OsString],
    /// Where it runs.
    pub(crate) directory: &'a Path,
}

/// What a trial has of a variable by the user's word: what the study file says (`study`; a variable without a value is removed),
/// else what `hpo`'s own environment has.
pub(crate) fn set_by_user(study: &[(String, Option<OsString>)], name: &str) -> Option<OsString> {
    let said = study.iter().find(|(known, _)| known == name);
    said.map_or_else(|| std::env::var_os(name), |(_, value)| value.clone())
}

/// The variables of a trial on a GPU. `user` gives what the trial has of one anyway.
pub(crate) fn variables(
    place: &Place<'_>,
    user: impl Fn(&str) -> Option<OsString>,
) -> Vec<(&'static str, Option<OsString>)> {
    let text = |text: &str| Some(OsString::from(text));
    let mib = (place.share.memory / MIB).max(1);
    let mut variables = vec![
        (VISIBLE, text(&place.share.uuid)),
        ("CUDA_DEVICE_ORDER", text("PCI_BUS_ID")),
        (MEMORY, text(&mib.to_string())),
    ];
    let mut unless_set = |name: &'static str, value: &str| {
        if user(name).is_none() {
            variables.push((name, text(value)));
        }
    };
    unless_set("XLA_PYTHON_CLIENT_PREALLOCATE", "false");
    unless_set("TF_FORCE_GPU_ALLOW_GROWTH", "true");
    let fraction = place
        .total
        .and_then(|total| fraction(place.share.memory, total));
    if let Some(fraction) = &fraction {
        // The newer name beside the older one is an error to XLA, and older versions know only the older.
        if user("XLA_CLIENT_MEM_FRACTION").is_none() {
            unless_set("XLA_PYTHON_CLIENT_MEM_FRACTION", fraction);
        }
    }
    if has_mps(&user) {
        // The one device that is visible is number 0.
        unless_set("CUDA_MPS_PINNED_DEVICE_MEM_LIMIT", &format!("0={mib}M"));
    }
    if let Some(fraction) = &fraction
        && let Some(variable) = for_torch(place, fraction, &user)
    {
        variables.push(variable);
    }
    variables
}

/// The part of a GPU that a framework's allocator may give out, rounded down.
fn fraction(memory: u64, total: u64) -> Option<String> {
    let body = memory.saturating_sub(CONTEXT).max(memory / 2);
    let fraction = body as f64 / total.max(1) as f64;
    let fraction = (fraction * 1e4).floor() / 1e4;
    (fraction > 0.0 && fraction < 1.0).then(|| format!("{fraction:.4}"))
}

/// PyTorch's allocator: its older variable goes before the newer one, so the option is added to whichever the
/// user has set.
fn for_torch(
    place: &Place<'_>,
    fraction: &str,
    user: &impl Fn(&str) -> Option<OsString>,
) -> Option<(&'static str, Option<OsString>)> {
    let version = torch::version(place.argv, user("PATH").as_deref(), place.directory)?;
    if version < KNOWS_FRACTION {
        return None;
    }
    let (older, newer) = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF");
    let (name, before) = match (user(older), user(newer)) {
        (Some(before), _) => (older, before),
        (None, Some(before)) => (newer, before),
        (None, None) => (newer, OsString::new()),
    };
    // It has its own cap, or an allocator that knows none.
    let text = before.to_string_lossy();
    if text.contains(FRACTION) || text.contains("cudaMallocAsync") {
        return None;
    }
    let mut value = before.clone();
    if !text.trim().is_empty() {
        value.push(",");
    }
    value.push(format!("{FRACTION}:{fraction}"));
    Some((name, Some(value)))
}

/// Whether trials will share the GPU by NVIDIA's multi-process service.
fn has_mps(user: &impl Fn(&str) -> Option<OsString>) -> bool {
    let pipes = user("CUDA_MPS_PIPE_DIRECTORY").unwrap_or_else(|| "/tmp/nvidia-mps".into());
    Path::new(&pipes).join("control").exists()
}

/// Whether `hpo` itself may use a GPU: who started it may have named some (a cluster's scheduler does).
pub(super) fn visible_to_us(gpu: &Device) -> bool {
    match std::env::var_os(VISIBLE) {
        Some(visible) => is_visible(gpu, &visible),
        None => true,
    }
}

/// CUDA's rules: numbers, or beginnings of UUIDs; what comes after the first that is neither is not visible.
fn is_visible(gpu: &Device, visible: &OsStr) -> bool {
    let visible = visible.to_string_lossy();
    let names = visible.split(',').map(str::trim);
    let mut names = names.take_while(|name| {
        name.starts_with("GPU-") || name.starts_with("MIG-") || name.parse::<u32>().is_ok()
    });
    names.any(|name| match name.parse::<u32>() {
        Ok(index) => index == gpu.index,
        Err(_) => gpu.uuid.starts_with(name),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;

    fn venv(version: &str) -> tempfile::TempDir {
        let venv = tempfile::tempdir().unwrap();
        let packages = venv.path().join("lib/python3.13/site-packages/torch");
        fs::create_dir_all(&packages).unwrap();
        fs::create_dir_all(venv.path().join("bin")).unwrap();
        fs::write(
            packages.join("version.py"),
            format!("__version__ = '{version}'"),
        )
        .unwrap();
        fs::write(venv.path().join("bin/python"), "").unwrap();
        venv
    }

    fn told(version: &str, user: &[(&str, &str)]) -> BTreeMap<&'static str, String> {
        let venv = venv(version);
        let share = GpuShare {
            uuid: "GPU-1".to_owned(),
            memory: 2560 * MIB,
        };
        let place = Place {
            share: &share,
            total: Some(8192 * MIB),
            argv: &["bin/python".into()],
            directory: venv.path(),
        };
        let user = |name: &str| {
            let found = user.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let variables = variables(&place, user).into_iter();
        variables
            .map(|(name, value)| (name, value.unwrap().into_string().unwrap()))
            .collect()
    }

    #[test]
    fn a_trial_is_told_its_gpu_and_its_part() {
        let told = told("2.15.0", &[]);
        assert_eq!(told["CUDA_VISIBLE_DEVICES"], "GPU-1");
        assert_eq!(told["HPO_GPU_MEMORY_MIB"], "2560");
        // A quarter of the card, when the context is taken off.
        assert_eq!(
            told["PYTORCH_ALLOC_CONF"],
            "per_process_memory_fraction:0.2500"
        );
        assert_eq!(told["XLA_PYTHON_CLIENT_MEM_FRACTION"], "0.2500");
        assert_eq!(told["XLA_PYTHON_CLIENT_PREALLOCATE"], "false");
        assert!(!told.contains_key("PYTORCH_CUDA_ALLOC_CONF"));
        assert!(!told.contains_key("CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"));
    }

    #[test]
    fn what_the_study_file_says_is_the_users_word() {
        let value = |text: &str| Some(OsString::from(text));
        let study = [
            ("XLA_PYTHON_CLIENT_MEM_FRACTION".to_owned(), value("0.9")),
            ("PATH".to_owned(), None),
        ];
        let said = |name| set_by_user(&study, name);
        assert_eq!(said("XLA_PYTHON_CLIENT_MEM_FRACTION"), value("0.9"));
        assert_eq!(said("PATH"), None, "hpo's own does not count");
        assert_eq!(said("HOME"), std::env::var_os("HOME"));
    }

    #[test]
    fn what_the_user_has_set_stays() {
        let segments = ("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True");
        let own = told("2.15.0", &[segments]);
        assert_eq!(
            own["PYTORCH_CUDA_ALLOC_CONF"],
            "expandable_segments:True,per_process_memory_fraction:0.2500"
        );
        assert!(!own.contains_key("PYTORCH_ALLOC_CONF"));
        let own = told(
            "2.15.0",
            &[("PYTORCH_ALLOC_CONF", "per_process_memory_fraction:0.1")],
        );
        assert!(!own.contains_key("PYTORCH_ALLOC_CONF"));
        let own = told("2.15.0", &[("XLA_CLIENT_MEM_FRACTION", "0.5")]);
        assert!(!own.contains_key("XLA_PYTHON_CLIENT_MEM_FRACTION"));
        let own = told("2.15.0", &[("TF_FORCE_GPU_ALLOW_GROWTH", "false")]);
        assert!(!own.contains_key("TF_FORCE_GPU_ALLOW_GROWTH"));
    }

    #[test]
    fn caps_of_every_framework_stay_as_the_user_has_set_them() {
        // The multi-process service runs: its pipe is there.
        let pipes = tempfile::tempdir().unwrap();
        fs::write(pipes.path().join("control"), "").unwrap();
        let pipes = ("CUDA_MPS_PIPE_DIRECTORY", pipes.path().to_str().unwrap());
        let limit = "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT";
        assert_eq!(told("2.15.0", &[pipes])[limit], "0=2560M");
        for own in [
            (limit, "0=1G"),
            ("XLA_PYTHON_CLIENT_PREALLOCATE", "true"),
            ("XLA_PYTHON_CLIENT_MEM_FRACTION", ".9"),
            ("TF_FORCE_GPU_ALLOW_GROWTH", "false"),
            ("PYTORCH_ALLOC_CONF", "backend:cudaMallocAsync"),
            (
                "PYTORCH_CUDA_ALLOC_CONF",
                "per_process_memory_fraction:0.5,max_split_size_mb:64",
            ),
        ] {
            let told = told("2.15.0", &[pipes, own]);
            assert!(
                !told.contains_key(own.0),
                "{own:?} is overwritten: {told:?}"
            );
        }
        // What can be added to is, beside all that the user wants of it.
        let newer = ("PYTORCH_ALLOC_CONF", "garbage_collection_threshold:0.8");
        let told = told("2.15.0", &[newer]);
        assert_eq!(
            told[newer.0],
            "garbage_collection_threshold:0.8,per_process_memory_fraction:0.2500"
        );
    }

    #[test]
    fn an_older_pytorch_is_not_told_what_it_would_choke_on() {
        assert!(!told("2.9.1", &[]).contains_key("PYTORCH_ALLOC_CONF"));
        assert!(told("2.10.0", &[]).contains_key("PYTORCH_ALLOC_CONF"));
    }

    #[test]
    fn a_part_is_never_nothing_nor_all() {
        assert_eq!(fraction(256 * MIB, 8192 * MIB).as_deref(), Some("0.0156"));
        assert_eq!(fraction(9000 * MIB, 8192 * MIB), None);
        assert_eq!(fraction(0, 8192 * MIB), None);
    }

    #[test]
    fn only_gpus_that_are_visible_to_us_count() {
        let gpu = Device {
            uuid: "GPU-ab12".to_owned(),
            index: 1,
            ..Device::default()
        };
        for (visible, expected) in [
            ("0,1", true),
            ("GPU-ab", true),
            ("", false),
            ("-1", false),
            ("0,x,1", false),
            ("0", false),
        ] {
            assert_eq!(is_visible(&gpu, OsStr::new(visible)), expected, "{visible}");
        }
    }
}
