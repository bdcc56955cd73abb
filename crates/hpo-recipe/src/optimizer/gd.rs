//! Gradient descent on the full batch: p ← p − η·g, g over all training data.

use super::{OptimizerFacts, OptimizerKind, knob, sgd};

/// Facts.
pub(super) static FACTS: OptimizerFacts = OptimizerFacts {
    kind: OptimizerKind::Gd,
    name: "gd",
    title: "Gradient descent (full batch)",
    paper: "Cauchy 1847",
    hyperparameters: &[knob::SGD_LR, knob::L2],
    full_batch: true,
    state_copies: |_| 0,
    momentum_name: None,
    pytorch: |setting| {
        let mut code = sgd::pytorch(setting);
        code.notes.push(
            "Full batch: one update per epoch, with the gradient over all training data \
             (batch_size=len(dataset), or accumulated)."
                .to_owned(),
        );
        code
    },
    keras: |setting| {
        let mut code = sgd::keras(setting);
        code.notes.push(
            "Full batch: fit(batch_size=number of training rows), one update per epoch.".to_owned(),
        );
        code
    },
};
