use super::*;
use crate::hyperparameter::{Allowed, Scale, Search};

fn setting(pairs: &[(&str, Value)]) -> Result<OptimizerSetting, RecipeError> {
    let config: Config = pairs
        .iter()
        .map(|(name, value)| (*name, value.clone()))
        .collect();
    OptimizerSetting::from_config(&config)
}

fn defaults(kind: OptimizerKind) -> OptimizerSetting {
    setting(&[("optimizer", kind.name().into())]).unwrap()
}

#[test]
fn every_row_is_in_its_place() {
    for &kind in OptimizerKind::ALL {
        let facts = kind.facts();
        assert_eq!(facts.kind, kind);
        assert_eq!(facts.name.parse::<OptimizerKind>(), Ok(kind));
        assert_eq!(facts.hyperparameters[0].name, "lr");
        assert_eq!(facts.full_batch, kind == OptimizerKind::Gd);
        if let Some(name) = facts.momentum_name {
            assert!(facts.hyperparameter(name).is_some(), "{kind} has no {name}");
        }
    }
    let names: std::collections::BTreeSet<_> =
        OptimizerKind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.len(), OptimizerKind::ALL.len());
}

/// Defaults, ends of ranges and choices satisfy what the knob itself allows, and a range is one on
/// its scale.
#[test]
fn every_knob_agrees_with_itself() {
    for knob in OptimizerKind::ALL
        .iter()
        .flat_map(|kind| kind.facts().hyperparameters)
    {
        assert!(knob.check(&knob.default.value()).is_ok(), "{knob:?}");
        assert!(
            !knob.meaning.is_empty() && !knob.source.is_empty(),
            "{knob:?}"
        );
        match knob.search {
            Some(Search::Range { low, high, scale }) => {
                assert!(low < high, "{knob:?}");
                assert!(knob.check(&low.into()).is_ok() && knob.check(&high.into()).is_ok());
                assert!(scale != Scale::Log || low > 0.0, "{knob:?}");
                assert!(scale != Scale::OneMinusLog || high < 1.0, "{knob:?}");
            }
            Some(Search::Choices(choices)) => {
                assert!(
                    choices
                        .iter()
                        .all(|choice| knob.check(&choice.value()).is_ok())
                );
                assert!(choices.contains(&knob.default), "{knob:?}");
            }
            None => {}
        }
    }
}

#[test]
fn absent_knobs_get_defaults_and_foreign_keys_are_ignored() {
    let adam = setting(&[
        ("optimizer", "adam".into()),
        ("beta2", 0.95.into()),
        ("momentum", Value::Text("not adam's".into())),
        ("batch_size", 64.into()),
    ])
    .unwrap();
    assert_eq!(adam.kind(), OptimizerKind::Adam);
    assert_eq!(
        adam.values().to_string(),
        "beta1=0.9 beta2=0.95 eps=1e-8 lr=0.001 weight_decay=0.0"
    );
}

#[test]
fn whole_numbers_are_numbers() {
    let adadelta = setting(&[("optimizer", "adadelta".into()), ("lr", 2.into())]).unwrap();
    assert_eq!(adadelta.number("lr"), 2.0);
    assert!(adadelta.pytorch().expression.contains("lr=2.0"));
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let refusal = |pairs: &[(&str, Value)]| setting(pairs).unwrap_err().to_string();
    assert_eq!(refusal(&[("lr", 0.1.into())]), "`optimizer` is missing");
    assert_eq!(
        refusal(&[("optimizer", "adamm".into())]),
        "there is no optimizer `adamm`; did you mean `adam`?"
    );
    assert!(refusal(&[("optimizer", "AdamW".into())]).ends_with("did you mean `adamw`?"));
    assert_eq!(
        refusal(&[("optimizer", 3.into())]),
        "there is no optimizer `3`"
    );
    let adam = ("optimizer", Value::from("adam"));
    for (name, value) in [
        ("lr", Value::Float(0.0)),
        ("lr", Value::Float(f64::NAN)),
        ("lr", Value::Float(f64::INFINITY)),
        ("beta1", Value::Float(1.0)),
        ("beta2", Value::Float(-0.1)),
        ("eps", Value::Float(-1e-8)),
        ("weight_decay", Value::Float(-1.0)),
        ("lr", Value::Text("fast".into())),
        ("lr", Value::Null),
    ] {
        assert!(refusal(&[adam.clone(), (name, value)]).starts_with(&format!("`{name}`")));
    }
    let rmsprop = ("optimizer", Value::from("rmsprop"));
    assert!(setting(&[rmsprop, ("centered", 1.into())]).is_err());
}

#[test]
fn state_depends_on_the_setting() {
    let copies: Vec<u32> = OptimizerKind::ALL
        .iter()
        .map(|&kind| defaults(kind).state_copies())
        .collect();
    assert_eq!(copies, [0, 0, 1, 1, 2, 2, 1, 1, 2]);
    let rmsprop = |momentum: f64, centered: bool| {
        let name = ("optimizer", Value::from("rmsprop"));
        setting(&[
            name,
            ("momentum", momentum.into()),
            ("centered", centered.into()),
        ])
        .unwrap()
        .state_copies()
    };
    assert_eq!(
        [rmsprop(0.9, false), rmsprop(0.0, true), rmsprop(0.9, true)],
        [2, 2, 3]
    );
}

#[test]
fn python_is_spelled_out() {
    let adamw = setting(&[("optimizer", "adamw".into()), ("lr", 3e-4.into())]).unwrap();
    assert_eq!(
        adamw.pytorch().expression,
        "torch.optim.AdamW(model.parameters(), lr=0.0003, betas=(0.9, 0.999), eps=1e-8, \
         weight_decay=0.01)"
    );
    assert_eq!(
        adamw.keras().expression,
        "keras.optimizers.AdamW(learning_rate=learning_rate, beta_1=0.9, beta_2=0.999, \
         epsilon=1e-8, weight_decay=0.01)"
    );
    let decayed = [
        ("optimizer", Value::from("nesterov")),
        ("weight_decay", 1e-4.into()),
    ];
    let code = setting(&decayed).unwrap().keras();
    assert_eq!(
        code.expression,
        "L2SGD(learning_rate=learning_rate, momentum=0.9, nesterov=True, l2=0.0001)"
    );
    assert!(
        code.setup
            .contains(&"class L2SGD(keras.optimizers.SGD):".to_owned())
    );
}

#[test]
fn every_learning_rate_is_searched_and_positive() {
    for &kind in OptimizerKind::ALL {
        let lr = &kind.facts().hyperparameters[0];
        assert!(
            matches!(
                lr.search,
                Some(Search::Range {
                    scale: Scale::Log,
                    ..
                })
            ),
            "{kind}"
        );
        assert_eq!((lr.allowed, lr.tune_from), (Allowed::POSITIVE, 0), "{kind}");
    }
}
