//! `gpu`: which GPUs trials are placed on, and how much of them.

use super::problem::Problems;
use super::shape;
use super::yaml::{Kind, Node};
use crate::memory::{Device, Devices, Fallback, GpuSpec, HEADROOM, LimitFor, SETTLE_AFTER};
use crate::space::Space;
use crate::spec::Job;

/// Reads it. `None` when something is wrong, which has been reported then; `Some(None)`: there is none.
/// Only of a space that is sound it can be said whether it has a parameter.
pub(super) fn gpu(
    root: &Node,
    space: &Space,
    space_is_sound: bool,
    job: Option<&Job>,
    problems: &mut Problems,
) -> Option<Option<GpuSpec>> {
    let Some(node) = root.get("gpu") else {
        return Some(None);
    };
    let amount = |key: &str| node.get(key).and_then(|node| shape::amount(node).ok());
    let limit_for = match node.get("limit_for").map(Node::text) {
        None | Some(Some("card")) => LimitFor::Card,
        Some(Some("study")) => LimitFor::Study,
        Some(_) => return None,
    };
    let fallback = match node.get("fallback").map(Node::text) {
        None | Some(Some("none")) => Fallback::None,
        Some(Some("cpu")) => Fallback::Cpu,
        Some(_) => return None,
    };
    let settle_after = node.get("settle_after");
    let spec = GpuSpec {
        devices: devices(node, problems)?,
        memory_limit: amount("memory_limit"),
        limit_for,
        per_trial: amount("per_trial"),
        headroom: amount("headroom").unwrap_or(HEADROOM),
        max_per_gpu: node
            .get("max_per_gpu")
            .and_then(Node::whole)
            .and_then(|n| u32::try_from(n).ok()),
        size_parameters: node
            .get("size_parameters")
            .map_or(&[][..], Node::items)
            .iter()
            .filter_map(|item| item.text().map(str::to_owned))
            .collect(),
        settle_after: settle_after
            .and_then(|node| shape::duration(node).ok())
            .unwrap_or(SETTLE_AFTER),
        fallback,
    };
    if space_is_sound {
        check_size_parameters(node, space, problems);
    }
    check_amounts(node, &spec, problems);
    if matches!(job, Some(Job::Trainer(_))) {
        problems.warning(
            root.key_span("gpu"),
            "the built-in trainer computes on the CPU: a place on a GPU is of no use to it",
            "remove `gpu`, or bring a `program` of your own",
        );
    }
    Some(Some(spec))
}

fn devices(node: &Node, problems: &mut Problems) -> Option<Devices> {
    let Some(node) = node.get("devices") else {
        return Some(Devices::All);
    };
    if node.text().is_some() {
        return Some(Devices::All);
    }
    let mut devices = Vec::new();
    for item in node.items() {
        let device = match &item.kind {
            Kind::Int(_) => Device::Index(item.whole().and_then(|i| u32::try_from(i).ok())?),
            _ => Device::Uuid(item.text()?.trim().to_owned()),
        };
        if let Device::Uuid(uuid) = &device
            && !uuid.starts_with("GPU-")
            && !uuid.starts_with("MIG-")
        {
            problems.error_with_hint(
                item.span,
                format!("`{uuid}` is no UUID of a GPU"),
                "write a number such as `0`, or a UUID such as `GPU-5c2f…`: `hpo gpus` shows both",
            );
        }
        if devices.contains(&device) {
            problems.error(item.span, "this GPU is named twice");
        }
        devices.push(device);
    }
    (!devices.is_empty()).then_some(Devices::Only(devices))
}

fn check_size_parameters(node: &Node, space: &Space, problems: &mut Problems) {
    let names: Vec<&str> = space.parameters.iter().map(|p| p.name.as_str()).collect();
    for item in node.get("size_parameters").map_or(&[][..], Node::items) {
        let Some(name) = item.text() else { continue };
        if !names.contains(&name) {
            problems.error_with_hint(
                item.span,
                format!("there is no parameter `{name}`"),
                shape::did_you_mean(name, &names),
            );
        }
    }
}

fn check_amounts(node: &Node, spec: &GpuSpec, problems: &mut Problems) {
    let Some(limit) = spec.memory_limit else {
        return;
    };
    let bytes = crate::memory::bytes;
    if let Some(headroom) = node.get("headroom").filter(|_| spec.headroom >= limit) {
        problems.error_with_hint(
            headroom.span,
            format!(
                "`headroom` ({}) leaves nothing of the limit ({})",
                bytes(spec.headroom),
                bytes(limit)
            ),
            "make it smaller",
        );
    } else if spec.headroom >= limit {
        problems.error_with_hint(
            node.key_span("memory_limit"),
            format!(
                "of the limit ({}) nothing is left: {} are kept free",
                bytes(limit),
                bytes(spec.headroom)
            ),
            "raise it, or write a smaller `headroom`",
        );
    } else if let (Some(each), Some(node)) = (spec.per_trial, node.get("per_trial"))
        && each > limit - spec.headroom
    {
        problems.error_with_hint(
            node.span,
            format!(
                "no trial fits: `per_trial` ({}) is more than the limit ({}) less the headroom ({})",
                bytes(each),
                bytes(limit),
                bytes(spec.headroom)
            ),
            "raise `memory_limit`, or make `headroom` smaller",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::GIB;
    use crate::study_file::{Checked, Source, read};

    fn check(more: &str) -> Checked {
        let text = format!(
            "program: t.py\nmethod: random\nmetric: {{name: loss}}\nrun_cap: 3\n\
             parameters: {{lr: {{min: 0.1, max: 1.0}}, hidden: {{values: [64, 128]}}}}\n{more}\n"
        );
        let source = Source {
            file: "s.yaml".into(),
            directory: "/".into(),
        };
        read(&text, &source)
    }

    fn spec(more: &str) -> GpuSpec {
        let checked = check(more);
        let Some(gpu) = checked.spec.and_then(|spec| spec.gpu) else {
            panic!("{:?}", checked.problems);
        };
        gpu
    }

    fn complaint(more: &str) -> String {
        let problems = check(more).problems;
        let words = problems.iter().map(|p| {
            format!(
                "{}:{} {} {}",
                p.line(),
                p.column(),
                p.message,
                p.hint.as_deref().unwrap_or("")
            )
        });
        words.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_key_is_read() {
        assert!(check("").spec.is_some_and(|spec| spec.gpu.is_none()));
        assert_eq!(spec("gpu: {}"), GpuSpec::default());
        let read = spec(
            "gpu: {devices: [0, GPU-ab], memory_limit: 8GiB, limit_for: study, per_trial: 3GiB, \
             headroom: 1GiB, max_per_gpu: 4, size_parameters: [hidden], settle_after: 5s, fallback: cpu}",
        );
        let expected = GpuSpec {
            devices: Devices::Only(vec![Device::Index(0), Device::Uuid("GPU-ab".into())]),
            memory_limit: Some(8 * GIB),
            limit_for: LimitFor::Study,
            per_trial: Some(3 * GIB),
            headroom: GIB,
            max_per_gpu: Some(4),
            size_parameters: vec!["hidden".into()],
            settle_after: std::time::Duration::from_secs(5),
            fallback: Fallback::Cpu,
        };
        assert_eq!(read, expected);
        assert_eq!(spec("gpu: {devices: all, per_trial: auto}").per_trial, None);
    }

    #[test]
    fn what_is_wrong_is_said_at_its_place() {
        for (text, words) in [
            (
                "gpu: {memory_limit: 8}",
                "6:21 `memory_limit`: 8 has no unit",
            ),
            ("gpu: {memory_limit: 8G}", "write `8GiB`"),
            ("gpu: {per_trial: sometimes}", "is no amount of memory"),
            ("gpu: {devices: []}", "must not be an empty list"),
            ("gpu: {devices: [0, 0]}", "named twice"),
            ("gpu: {devices: [cuda]}", "is no UUID of a GPU"),
            ("gpu: {devices: [-1]}", "a whole number from 0"),
            ("gpu: {size_parameters: [hiden]}", "did you mean `hidden`?"),
            ("gpu: {limit: 8GiB}", "did you mean `memory_limit`?"),
            (
                "gpu: {memory_limit: 1GiB, headroom: 2GiB}",
                "leaves nothing of the limit",
            ),
            ("gpu: {memory_limit: 100MiB}", "nothing is left"),
            (
                "gpu: {memory_limit: 2GiB, per_trial: 1.9GiB}",
                "no trial fits",
            ),
            ("gpu: {fallback: gpu}", "`fallback` cannot be `gpu`"),
            ("gpu: {cpu_fallback: true}", "did you mean `fallback: cpu`?"),
            ("failure: {oom: ignore}", "`oom` cannot be `ignore`"),
            ("cpu: {memory_limit: lots}", "is no amount of memory"),
        ] {
            let said = complaint(text);
            assert!(said.contains(words), "{text}\n{said}");
        }
    }
}
