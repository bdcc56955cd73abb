//! GPU memory over time: what was in use, what of it was the study's, and what was set aside.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::Source;
use super::super::data::{self, Json};
use super::super::trials::since_opening;
use hpo_study::GpuSample;

/// At most so many points are drawn of one GPU.
const MOST: usize = 3000;
const GIB: f64 = (1_u64 << 30) as f64;

pub(super) fn data(source: &Source<'_>) -> Option<Json> {
    let mut by_gpu: BTreeMap<(u32, &str), Vec<&GpuSample>> = BTreeMap::new();
    for sample in source.gpus {
        by_gpu
            .entry((sample.index, &sample.gpu))
            .or_default()
            .push(sample);
    }
    let gpus: Vec<Json> = by_gpu
        .values()
        .map(|samples| gpu(source, samples))
        .collect();
    (!gpus.is_empty()).then(|| json!({ "gpus": gpus }))
}

fn gpu(source: &Source<'_>, samples: &[&GpuSample]) -> Json {
    let kept = thinned(samples);
    let gib = |bytes: Option<u64>| data::maybe(bytes.map(|bytes| bytes as f64 / GIB));
    let column = |of: fn(&GpuSample) -> Option<u64>| -> Vec<Json> {
        kept.iter().map(|sample| gib(of(sample))).collect()
    };
    let peak = samples.iter().filter_map(|s| s.used).max();
    let aside = samples.iter().map(|s| s.reserved()).max();
    let last = samples.last();
    let over = samples
        .iter()
        .filter(|s| s.limit.is_some_and(|limit| s.reserved() > limit))
        .count();
    json!({
        "index": last.map(|s| s.index),
        "gpu": last.map(|s| data::short_text(&s.gpu)),
        "name": last.map(|s| data::short_text(&s.name)),
        "at_s": kept.iter().map(|s| data::number(since_opening(source.history, s.at))).collect::<Vec<_>>(),
        "used_gib": column(|s| s.used),
        "ours_gib": column(GpuSample::ours),
        "reserved_gib": column(|s| Some(s.reserved())),
        "limit_gib": column(|s| s.limit),
        "peak_gib": gib(peak),
        "most_reserved_gib": gib(aside),
        "samples": samples.len(),
        "samples_reserved_over_limit": over,
    })
}

/// Of each stretch the first sample, and the one in which most was in use.
fn thinned<'s>(samples: &[&'s GpuSample]) -> Vec<&'s GpuSample> {
    if samples.len() <= MOST {
        return samples.to_vec();
    }
    let stretch = samples.len().div_ceil(MOST / 2);
    let of = |stretch: &[&'s GpuSample]| -> Vec<&'s GpuSample> {
        let first = stretch.first().copied();
        let highest = stretch.iter().copied().max_by_key(|s| s.used);
        let highest = highest.filter(|highest| first.is_none_or(|first| first.at < highest.at));
        first.into_iter().chain(highest).collect()
    };
    samples.chunks(stretch).flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use hpo_study::Timestamp;

    #[test]
    fn a_long_timeline_keeps_its_peaks() {
        let history = sample::study();
        let opened = history.opened().0;
        let gpus: Vec<GpuSample> = (0..20_000_u64)
            .map(|i| GpuSample {
                at: Timestamp(opened + i * 1000),
                gpu: "GPU-1".to_owned(),
                index: 0,
                name: "a card".to_owned(),
                lost: None,
                total: Some(8 << 30),
                limit: Some(8 << 30),
                used: Some(if i == 7777 { 7 << 30 } else { i % 1000 }),
                trials: Vec::new(),
            })
            .collect();
        let source = Source {
            gpus: &gpus,
            ..Source::of(&history)
        };
        let data = data(&source).unwrap();
        let gpu = &data["gpus"][0];
        let used = gpu["used_gib"].as_array().unwrap();
        assert!(used.len() <= MOST, "{}", used.len());
        assert!(used.iter().any(|x| x == 7));
        assert_eq!(gpu["samples"], 20_000);
        assert_eq!(super::data(&Source::of(&history)), None);
    }
}
