//! Keys of how configurations are chosen: the methods, population-based training, the best once more.

use std::ops::Bound;

use crate::study_file::shape::{POSITIVE, Shape, Table, Word, key, refused, word};

pub(super) const METHODS: &[Word] = &[
    word("grid", "every combination, in order"),
    word("random", "independent draws"),
    word(
        "sobol",
        "a scrambled Sobol sequence: random, but evenly spread",
    ),
    word(
        "tpe",
        "learns: where good trials are dense (tree-structured Parzen estimator)",
    ),
    word(
        "gp",
        "learns: a Gaussian process of the loss over the space",
    ),
    word(
        "nsga2",
        "learns: an evolving population, made for several objectives (NSGA-II)",
    ),
    word("motpe", "another name for `tpe` with several objectives"),
    word(
        "bayes",
        "learns: the best of these for most studies, early and late",
    ),
    word(
        "cmaes",
        "learns: CMA-ES with margin, a normal distribution that moves to the best trials",
    ),
    word(
        "pbt",
        "population-based training: the worst copy the best and change their rates while they train",
    ),
    word("bohb", "learns: a density model for each rung of Hyperband"),
    word(
        "dehb",
        "learns: differential evolution for each rung of Hyperband",
    ),
    refused(
        "custom",
        "is not a method: `hpo` chooses the configurations",
    ),
    refused("hyperband", "proposes nothing: it is for `early_terminate`"),
    refused("asha", "proposes nothing: it is for `early_terminate`"),
    refused("sha", "proposes nothing: it is for `early_terminate`"),
    refused("median", "proposes nothing: it is for `early_terminate`"),
];

/// `pbt`
pub(crate) static POPULATION: Table = Table {
    title: "`pbt`",
    keys: &[
        key(
            "population",
            Shape::Whole(2, 10_000),
            "how many members; 8 if absent",
        ),
        key(
            "interval",
            Shape::Whole(1, 1_000_000_000),
            "after so many steps the worst copy the best; a tenth of the training if absent",
        ),
        key(
            "max_iter",
            Shape::Whole(1, 1_000_000_000),
            "the last step of a whole training; the trainer's epochs if absent",
        ),
        key(
            "quantile",
            Shape::Number(Bound::Excluded(0.0), Bound::Included(0.5)),
            "which share copies which share; .25 if absent",
        ),
        key(
            "resample",
            Shape::Number(Bound::Included(0.0), Bound::Included(1.0)),
            "how likely a parameter of a copy is drawn anew; .25 if absent",
        ),
        key(
            "factors",
            Shape::List(&POSITIVE, 1),
            "by one of these it is multiplied otherwise; [0.8, 1.2] if absent",
        ),
        key(
            "mutate",
            Shape::List(&Shape::Text, 1),
            "the parameters that change; all numbers if absent",
        ),
    ],
    foreign: &[
        ("size", "did you mean `population`?"),
        ("population_size", "did you mean `population`?"),
        ("num_samples", "did you mean `population`?"),
        ("perturbation_interval", "did you mean `interval`?"),
        ("quantile_fraction", "did you mean `quantile`?"),
        ("resample_probability", "did you mean `resample`?"),
        ("perturbation_factors", "did you mean `factors`?"),
        (
            "hyperparam_mutations",
            "did you mean `mutate`? The ranges are those of `parameters`",
        ),
    ],
    hint: Some("write `pbt: {population: 8, interval: 5}`"),
};

/// `confirm`
pub(crate) static CONFIRM: Table = Table {
    title: "`confirm`",
    keys: &[
        key(
            "top",
            Shape::Whole(1, 1000),
            "how many of the best configurations; 3 if absent",
        ),
        key(
            "seeds",
            Shape::Whole(1, 1000),
            "how many fresh runs of each, the original not counted; 3 if absent",
        ),
    ],
    foreign: &[
        ("k", "did you mean `top`?"),
        ("runs", "did you mean `seeds`?"),
        ("repeats", "did you mean `seeds`?"),
    ],
    hint: Some("write `confirm: {top: 3, seeds: 3}`"),
};
