use proptest::prelude::*;

use super::*;
use crate::printout::{Known, PatternForm};

fn known(known: Known) -> MetricPattern {
    MetricPattern {
        stream: Stream::Both,
        form: PatternForm::Format(known),
    }
}

fn regex(regex: &str, metric: Option<&str>) -> MetricPattern {
    MetricPattern {
        stream: Stream::Stdout,
        form: PatternForm::Regex {
            regex: regex.to_owned(),
            metric: metric.map(str::to_owned),
        },
    }
}

/// The reports of a text, as `step name=value name=value`.
fn read(patterns: &[MetricPattern], text: &str) -> Vec<String> {
    let mut scraper = Scraper::new(patterns, Stream::Stdout).unwrap();
    let mut reports = Vec::new();
    for line in text.split_inclusive('\n') {
        let whole = line.ends_with('\n');
        let parts: Vec<&str> = line.trim_end_matches('\n').split('\r').collect();
        for (i, part) in parts.iter().enumerate() {
            reports.extend(scraper.line(part.as_bytes(), whole && i + 1 == parts.len()));
        }
    }
    reports.extend(scraper.flush());
    reports
        .iter()
        .map(|r| {
            let metrics = r.metrics.iter().map(|(name, x)| format!(" {name}={x}"));
            format!("{}{}", r.step.unwrap(), metrics.collect::<String>())
        })
        .collect()
}

#[test]
fn several_metrics_with_the_step_from_a_line_of_its_own() {
    let patterns = [
        regex(r"epoch (\d+)", Some("step")),
        regex(r"val_loss: (\S+)", Some("val_loss")),
        regex(r"acc (?P<acc>[\d.]+)%", None),
    ];
    let log = "epoch 1\nval_loss: 0.5, acc 80.5%\nepoch 2\nval_loss: nan\nacc 90%\n";
    assert_eq!(
        read(&patterns, log),
        ["1 acc=80.5 val_loss=0.5", "2 val_loss=NaN", "2 acc=90"]
    );
}

#[test]
fn steps_are_counted_where_no_line_has_any() {
    let patterns = [
        regex(r"train (\S+)", Some("train")),
        regex(r"val (\S+)", Some("val")),
    ];
    let log = "train 3\nval 4\ntrain 2\nval 3\ntrain 1\n";
    assert_eq!(
        read(&patterns, log),
        ["1 train=3", "1 val=4", "2 train=2", "2 val=3", "3 train=1"]
    );
}

#[test]
fn a_step_counted_from_zero_is_one_more() {
    let patterns = [regex(r"^(?P<step0>\d+) loss (?P<loss>\S+)", None)];
    assert_eq!(
        read(&patterns, "0 loss 1e-3\n1 loss .5\n"),
        ["1 loss=0.001", "2 loss=0.5"]
    );
}

#[test]
fn the_line_can_name_its_metrics() {
    let patterns = [regex(r"(?P<name>\w+)=(?P<value>\S+)", None)];
    assert_eq!(read(&patterns, "a=1 b=2; c=x\n"), ["1 a=1 b=2"]);
}

#[test]
fn a_progress_bar_counts_as_it_was_last() {
    let patterns = [
        regex(r"loss=(\S+)", Some("loss")),
        regex(r"E(\d+)", Some("step")),
    ];
    let log =
        "E1 10% loss=9\rE1 50% loss=5\rE1 100% loss=1\nE2 10% loss=4\rE2 99% loss=3\rE3 1% loss=2";
    assert_eq!(read(&patterns, log), ["1 loss=1", "2 loss=3", "3 loss=2"]);
}

#[test]
fn keras_with_its_bar_and_without() {
    let bar = "Epoch 1/2\n\r\u{1b}[1m1/8\u{1b}[0m \u{1b}[32m━\u{1b}[0m \u{1b}[1m0s\u{1b}[0m 30ms/step - accuracy: 0.5 - loss: 0.7\u{8}\u{8}\u{8}\r\
               \u{1b}[1m8/8\u{1b}[0m ━━ \u{1b}[1m0s\u{1b}[0m 12ms/step - accuracy: 0.4648 - loss: 8.0e-01 - val_accuracy: 0.42 - val_loss: nan\n\
               \r10/10 ━━ 0s 8ms/step - accuracy: 0.45 - loss: 0.79\n";
    let expected = "1 accuracy=0.4648 loss=0.8 val_accuracy=0.42 val_loss=NaN";
    assert_eq!(read(&[known(Known::Keras)], bar), [expected]);
    let lines = "Epoch 1/2\n8/8 - 0s - 13ms/step - loss: 0.7214 - val_loss: 0.7321\n\
                 Epoch 2/2\n8/8 - 0s - 10ms/step - loss: 0.7 - val_loss: 0.6\n10/10 - 0s - loss: 0.5\n";
    assert_eq!(
        read(&[known(Known::Keras)], lines),
        ["1 loss=0.7214 val_loss=0.7321", "2 loss=0.7 val_loss=0.6"]
    );
    let old = "Epoch 1/1\n60000/60000 [====] - 3s 50us/sample - loss: 0.2 - val_acc: 0.9\n";
    assert_eq!(
        read(&[known(Known::Keras)], old),
        ["1 loss=0.2 val_acc=0.9"]
    );
}

#[test]
fn other_well_known_printouts() {
    for (format, log, expected) in [
        (
            Known::Lightning,
            "Epoch 0:  50%|█ | 5/10 [00:00<00:00, 99.00it/s, v_num=3, train_loss=0.5]\r\
             Epoch 0: 100%|██| 10/10 [00:00<00:00, 99.00it/s, v_num=3, train_loss=0.4, val_loss=0.45]\r\
             Validation DataLoader 0: 100%|█| 2/2\r\
             Epoch 1: 100%|██| 10/10 [00:00<00:00, 1.2it/s, v_num=3, train_loss=0.3, val_loss=0.35]\n",
            vec![
                "1 train_loss=0.4 val_loss=0.45",
                "2 train_loss=0.3 val_loss=0.35",
            ],
        ),
        (
            Known::Huggingface,
            "{'loss': 0.5, 'grad_norm': 1.2, 'learning_rate': 4e-05, 'epoch': 0.5}\n\
             {'eval_loss': '0.4', 'eval_accuracy': 0.9, 'epoch': 1.0}\n{'loss': 0.3, 'epoch': 1.01}\n",
            vec![
                "1 grad_norm=1.2 learning_rate=0.00004 loss=0.5",
                "1 eval_accuracy=0.9 eval_loss=0.4",
                "2 loss=0.3",
            ],
        ),
        (
            Known::Xgboost,
            "[17:01:59] [0]\ttrain-logloss:0.48\ttest-logloss:0.49\n[1]\ttest-auc-mean:0.9+0.01\n",
            vec![
                "1 test-logloss=0.49 train-logloss=0.48",
                "2 test-auc-mean=0.9",
            ],
        ),
        (
            Known::Lightgbm,
            "[LightGBM] [Info] Iteration:10, valid_1 auc : 0.78\n[20]\tvalid_0's l2: 0.24\tvalid_0's auc: 0.9\n",
            vec![
                "10 valid_1_auc=0.78",
                "20 valid_0's_auc=0.9 valid_0's_l2=0.24",
            ],
        ),
        (
            Known::Catboost,
            "0:\tlearn: 0.6\ttest: 0.61\tbest: 0.61 (0)\ttotal: 1.2ms\tremaining: 1s\n",
            vec!["1 best=0.61 learn=0.6 test=0.61"],
        ),
        (
            Known::Wandb,
            "wandb: Run summary:\nwandb:      epoch 9\nwandb: val_loss 0.25\nwandb: You can sync it\n",
            vec!["1 epoch=9", "1 val_loss=0.25"],
        ),
        (
            Known::Json,
            "starting\n{\"epoch\": 1, \"loss\": NaN}\n{\"step\": 2, \"loss\": 0.5}\n{broken\n",
            vec!["1 epoch=1 loss=NaN", "2 loss=0.5"],
        ),
        (
            Known::Pairs,
            "Epoch [3/10], Train loss: 0.5, val_acc=91.2%, lr = 1e-3, time 3s\nTest accuracy: 0.9\n",
            vec![
                "3 Train_loss=0.5 lr=0.001 val_acc=91.2",
                "3 Test_accuracy=0.9",
            ],
        ),
    ] {
        assert_eq!(read(&[known(format)], log), expected, "{format:?}");
    }
}

#[test]
fn every_ready_made_pattern_compiles_and_has_its_name() {
    for format in Known::ALL {
        assert!(Scraper::new(&[known(format)], Stream::Stdout).is_ok());
        assert_eq!(Known::of(format.name()), Some(format));
        assert_eq!(
            serde_json::to_value(format).unwrap(),
            serde_json::Value::from(format.name())
        );
    }
}

#[test]
fn what_is_no_number_is_told() {
    let mut scraper = Scraper::new(&[regex(r"loss (\S+)", Some("loss"))], Stream::Stdout).unwrap();
    assert!(scraper.line(b"loss tensor", true).is_empty());
    assert_eq!(scraper.tallies()[0].unreadable.as_deref(), Some("tensor"));
    assert_eq!(scraper.tallies()[0].lines, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_output_makes_it_panic(lines in proptest::collection::vec(
        (proptest::collection::vec(any::<u8>(), 0..200), any::<bool>()), 0..60)) {
        let patterns: Vec<_> = Known::ALL.into_iter().map(known).collect();
        let mut scraper = Scraper::new(&patterns, Stream::Stdout).unwrap();
        for (line, whole) in lines {
            for report in scraper.line(&line, whole) {
                prop_assert!(report.step.is_some());
            }
        }
        scraper.flush();
    }

    #[test]
    fn nor_does_output_that_looks_like_metrics(
        lines in proptest::collection::vec("(Epoch |\\{'|wandb: |\\[)?[0-9]{0,20}(/[0-9]{1,3})?[]:]?( - | ?[a-z]{1,4}[=:] ?[-+0-9.eEnainf%]{0,12}){0,4}[}\\]]?", 0..12)) {
        let patterns: Vec<_> = Known::ALL.into_iter().map(known).collect();
        let mut scraper = Scraper::new(&patterns, Stream::Stdout).unwrap();
        for line in lines {
            scraper.line(line.as_bytes(), true);
        }
    }

    #[test]
    fn no_regex_makes_the_check_panic(text in "[\\PC(?P<>)\\[\\]{}|*+.\\\\]{0,40}") {
        if check_regex(&text, None).is_ok() {
            prop_assert!(Scraper::new(&[regex(&text, None)], Stream::Stdout).is_ok());
        }
        let _ = check_regex(&text, Some("loss"));
    }
}
use crate::printout::check_regex;
