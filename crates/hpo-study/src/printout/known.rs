//! Ready-made patterns: what well-known programs print of themselves.
//!
//! That of Keras was compared with the real program's output; the others follow the formats as those
//! programs document them. `docs/study-file.md` has the list.

use serde::{Deserialize, Serialize};

use super::Stream;

/// A well-known way of printing metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// Keras's `fit`, with its progress bar or a line per epoch.
    Keras,
    /// Lightning's progress bar.
    Lightning,
    /// The Hugging Face Trainer's dictionaries.
    Huggingface,
    /// XGBoost's lines per round.
    Xgboost,
    /// LightGBM's lines per round.
    Lightgbm,
    /// CatBoost's lines per round.
    Catboost,
    /// The summary at the end of a W&B run.
    Wandb,
    /// A JSON object per line.
    Json,
    /// `name: number` and `name=number`, wherever they stand.
    Pairs,
}

/// How a [`Known`] printout is read.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) stream: Stream,
    /// Lines that do not match have no metrics.
    pub(super) line: Option<&'static str>,
    /// The groups `name` and `value`, found again and again in a line.
    pub(super) pairs: &'static str,
    /// The group `step` or `step0`, found in any line.
    pub(super) step: Option<&'static str>,
    /// A metric whose value is the step, if the line names none.
    pub(super) step_names: &'static [&'static str],
    /// Names that are no metrics.
    pub(super) never: &'static [&'static str],
    /// Metrics count only once after a line with a step: what comes later belongs to something else.
    pub(super) once_per_step: bool,
}

const NUMBER: &str =
    r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|(?i:nan|inf(?:inity)?))";
/// A regex in which `NUMBER` stands for a number.
pub(super) fn written_out(regex: &str) -> String {
    regex.replace("NUMBER", NUMBER)
}

const PLAIN: Facts = Facts {
    stream: Stream::Stdout,
    line: None,
    pairs: "",
    step: None,
    step_names: &[],
    never: &[],
    once_per_step: false,
};

const KERAS: Facts = Facts {
    // `Epoch 1/9`, then `8/8 … 12ms/step - accuracy: 0.46 - loss: 0.81 - val_loss: 0.82`. What `evaluate` prints
    // later looks the same, and is about other data.
    line: Some(r"^\s*\d+/(?:\d+|Unknown)\b.* - "),
    pairs: r" - (?P<name>[A-Za-z_]\w*): (?P<value>NUMBER)\b",
    step: Some(r"^Epoch (?P<step>\d+)/\d+\s*$"),
    never: &["ETA"],
    once_per_step: true,
    ..PLAIN
};
const LIGHTNING: Facts = Facts {
    stream: Stream::Both,
    // `Epoch 0: 100%|███| 10/10 [00:00<00:00, 99.00it/s, v_num=0, train_loss=0.5, val_loss=0.4]`
    line: Some(r"^Epoch \d+[:/]"),
    pairs: r"[\s,\[](?P<name>[A-Za-z_][\w/.@-]*)[=:] ?(?P<value>NUMBER)\b",
    step: Some(r"^Epoch (?P<step0>\d+)[:/]"),
    never: &["v_num"],
    ..PLAIN
};
const HUGGINGFACE: Facts = Facts {
    // `{'eval_loss': 0.4, 'eval_runtime': 1.2, 'epoch': 1.0}`; newer versions put the numbers in quotes.
    line: Some(r"^\s*\{'.*\}\s*$"),
    pairs: r"'(?P<name>[\w/.@-]+)': '?(?P<value>NUMBER)\b",
    step_names: &["epoch"],
    ..PLAIN
};
const XGBOOST: Facts = Facts {
    stream: Stream::Both,
    // `[17:01:59] [0]	train-logloss:0.48	test-logloss:0.49`
    line: Some(r"^(?:\[[\d:]+\] )?\[\d+\]\s"),
    pairs: r"\s(?P<name>[A-Za-z_][\w@./-]*):(?P<value>NUMBER)",
    step: Some(r"^(?:\[[\d:]+\] )?\[(?P<step0>\d+)\]\s"),
    ..PLAIN
};
const LIGHTGBM: Facts = Facts {
    stream: Stream::Both,
    // `[LightGBM] [Info] Iteration:10, valid_1 auc : 0.78`, or from Python `[10]	valid_0's l2: 0.24	valid_0's auc: 0.9`
    line: Some(r"^(?:\[LightGBM\] \[Info\] Iteration:\d+,|\[\d+\]\t)"),
    pairs: r"[,\t]\s*(?P<name>[A-Za-z_][\w']*(?: [\w@]+)?) ?: (?P<value>NUMBER)",
    step: Some(r"^(?:\[LightGBM\] \[Info\] Iteration:(?P<step>\d+),|\[(?P<step_>\d+)\]\t)"),
    ..PLAIN
};
const CATBOOST: Facts = Facts {
    // `10:	learn: 0.5	test: 0.48	best: 0.48 (10)	total: 12ms	remaining: 1s`
    line: Some(r"^\d+:\tlearn: "),
    pairs: r"\t(?P<name>learn|test\d*|best): (?P<value>NUMBER)\b",
    step: Some(r"^(?P<step0>\d+):\tlearn: "),
    ..PLAIN
};
const WANDB: Facts = Facts {
    stream: Stream::Stderr,
    // `wandb:   val_loss 0.41`
    line: Some(r"^wandb:\s+\S+\s+NUMBER\s*$"),
    pairs: r"^wandb:\s+(?P<name>[^\s:]+)\s+(?P<value>NUMBER)\s*$",
    ..PLAIN
};
const PAIRS: Facts = Facts {
    pairs: r"(?P<name>(?:(?i:train|training|val|valid|validation|test|eval|dev|best|avg|average|mean) )?[A-Za-z_][\w./@-]*)\s*[:=]\s*(?P<value>NUMBER)(?:\b|%|$)",
    step: Some(r"(?i)(?:^|[^\w])(?:epoch|step|iter(?:ation)?|round)s?\s*[:=#\[(]*\s*(?P<step>\d+)"),
    never: &[
        "epoch",
        "step",
        "iter",
        "iteration",
        "round",
        "epochs",
        "steps",
        "iterations",
        "ETA",
    ],
    ..PLAIN
};

impl Known {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Keras,
        Self::Lightning,
        Self::Huggingface,
        Self::Xgboost,
        Self::Lightgbm,
        Self::Catboost,
        Self::Wandb,
        Self::Json,
        Self::Pairs,
    ];

    /// Its name in study files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Keras => "keras",
            Self::Lightning => "lightning",
            Self::Huggingface => "huggingface",
            Self::Xgboost => "xgboost",
            Self::Lightgbm => "lightgbm",
            Self::Catboost => "catboost",
            Self::Wandb => "wandb",
            Self::Json => "json",
            Self::Pairs => "pairs",
        }
    }

    /// The one of a name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Where it is looked for, if the study file does not say.
    #[must_use]
    pub fn stream(self) -> Stream {
        self.facts().map_or(Stream::Stdout, |facts| facts.stream)
    }

    /// How it is read; `None`: as JSON.
    pub(super) fn facts(self) -> Option<&'static Facts> {
        Some(match self {
            Self::Keras => &KERAS,
            Self::Lightning => &LIGHTNING,
            Self::Huggingface => &HUGGINGFACE,
            Self::Xgboost => &XGBOOST,
            Self::Lightgbm => &LIGHTGBM,
            Self::Catboost => &CATBOOST,
            Self::Wandb => &WANDB,
            Self::Pairs => &PAIRS,
            Self::Json => return None,
        })
    }
}
