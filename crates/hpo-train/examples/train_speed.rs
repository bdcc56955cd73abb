//! Times the built-in trainer on the digits and prints milliseconds per update, seconds per run
//! and the best validation accuracy:
//! `RAYON_NUM_THREADS=1 cargo run --release -p hpo-train --example train_speed`.

use std::time::Instant;

use hpo_recipe::Config;
use hpo_study::TrainerSpec;
use hpo_study::spec::{Activation, Dataset, Model};
use hpo_train::run::{self, TrainJob, run};

const EPOCHS: u64 = 30;

fn spec(model: Model) -> TrainerSpec {
    let dataset = Dataset::Digits;
    TrainerSpec {
        model,
        dataset,
        epochs: EPOCHS,
        batch_size: 64,
        validation: 0.2,
        split_seed: 0,
    }
}

fn main() -> Result<(), hpo_train::TrainError> {
    let mlp = || {
        spec(Model::Mlp {
            hidden: vec![128, 64],
            activation: Activation::Relu,
        })
    };
    let cnn = || {
        spec(Model::Cnn {
            channels: vec![16, 32],
        })
    };
    let cases = [
        ("mlp sgd", mlp(), "sgd", 0.2),
        ("mlp nesterov", mlp(), "nesterov", 0.1),
        ("mlp adamw", mlp(), "adamw", 3e-3),
        ("cnn adamw", cnn(), "adamw", 5e-3),
    ];
    for (name, spec, optimizer, lr) in cases {
        let mut config = Config::from_iter([("optimizer", optimizer), ("schedule", "cosine")]);
        config.set("lr", lr);
        config.set("dropout", 0.1);
        let (mut best, mut seconds) = (0.0_f64, 0.0);
        let directory =
            std::env::temp_dir().join(format!("hpo-train-speed-{}", std::process::id()));
        let job = TrainJob {
            spec,
            config,
            seed: 1,
            budget: EPOCHS,
            horizon: EPOCHS,
            checkpoint_directory: Some(directory.clone()),
            checkpoint_interval: run::CHECKPOINT_INTERVAL,
            resume_from: None,
            resume_epoch: None,
            inherits: false,
            keep_checkpoints: 0,
            control_file: None,
        };
        let started = Instant::now();
        run(&job, &mut |report| {
            best = best.max(report.metric("val_accuracy").unwrap_or(0.0));
            seconds += report.metric("epoch_seconds").unwrap_or(0.0);
            Ok(())
        })?;
        let whole = started.elapsed().as_secs_f64();
        let per_step = seconds * 1e3 / (EPOCHS * 23) as f64;
        println!(
            "{name:<14} {per_step:.3} ms/update  {whole:.2} s with checkpoints  best {:.2} %",
            best * 100.0
        );
        let _ = std::fs::remove_dir_all(directory);
    }
    Ok(())
}
