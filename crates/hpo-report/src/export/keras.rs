//! A Keras program: optimizer, schedule, callbacks, and the call of `fit`.

use hpo_recipe::code::wrapped;
use hpo_study::{History, Trial};

use super::ExportError;
use super::lineage::{Library, comment, following};
use super::python::{block, comments, demonstration_rows, docstring, grows, imports, settings};
use super::recipe::Recipe;

pub(super) fn write(history: &History, trial: &Trial) -> Result<String, ExportError> {
    let following = following(history, trial, &Library::Keras)?;
    let first = following.as_ref().and_then(|f| history.trial(f.first));
    let mut recipe = Recipe::read(history, first.unwrap_or(trial))?;
    if let Some(following) = &following {
        recipe.epochs = following.epochs;
    }
    let optimizer = recipe.optimizer.keras();
    let schedule = recipe.schedule.keras();
    let rows = demonstration_rows(&recipe);
    let mut text = docstring(history, trial) + "\n";
    text += &imports(
        &[&optimizer.imports, &schedule.code.imports],
        &["import math", "import keras", "import numpy as np"],
    );
    text += &format!(
        "\n# Yours: model, data, loss.\n\
         model = keras.Sequential([keras.layers.Dense(16, activation=\"relu\"), keras.layers.Dense(3)])\n\
         inputs, targets = np.random.normal(size=({rows}, 8)), np.random.randint(0, 3, {rows})\n\
         val_inputs, val_targets = np.random.normal(size=(64, 8)), np.random.randint(0, 3, 64)\n\
         loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)\n"
    );
    text += "\n# Found by hpo.\n";
    text += &comments(&recipe.notes);
    text += &settings(&recipe, rows);
    text += "\nsteps_per_epoch = math.ceil(len(inputs) / batch_size)\n\
             total_steps = epochs * steps_per_epoch\n\n";
    text += &comments(&schedule.code.notes);
    text += &block(&schedule.code.setup, "");
    text += &format!("learning_rate = {}\n", schedule.code.expression);
    let mut callbacks = schedule.callbacks.clone();
    if let Some(following) = &following {
        text += &comment(&following.others);
        text += &following.table;
        text += FOLLOW;
        callbacks.push("Follow()".to_owned());
    }
    text += &format!("callbacks = [{}]\n\n", callbacks.join(", "));
    text += &comments(&optimizer.notes);
    text += &block(&optimizer.setup, "");
    text += &optimizer_line(&optimizer.expression, recipe.clip_norm.is_some());
    text += "model.compile(optimizer=optimizer, loss=loss)\n";
    text += if grows(&recipe) { GROWING_FIT } else { FIT };
    Ok(text)
}

/// The optimizer, with clipping by the global norm (`clipnorm` would clip each tensor by its own).
fn optimizer_line(expression: &str, clips: bool) -> String {
    let assignment = match expression.strip_suffix(')') {
        Some(call) if clips => format!("optimizer = {call}, global_clipnorm=clip_norm)"),
        _ if clips => format!("optimizer = {expression}\noptimizer.global_clipnorm = clip_norm"),
        _ => format!("optimizer = {expression}"),
    };
    wrapped(&assignment) + "\n"
}

const FOLLOW: &str = r#"

class Follow(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        values = changes.get(epoch, {})
        for name, value in values.items():
            setattr(self.model.optimizer, name, value)
        if values.keys() - {"learning_rate"}:
            # A compiled training step holds all else as constants.
            self.model.make_train_function(force=True)


"#;

const FIT: &str = "model.fit(
    inputs,
    targets,
    batch_size=batch_size,
    epochs=epochs,
    callbacks=callbacks,
    validation_data=(val_inputs, val_targets),
    verbose=2,
)
";

const GROWING_FIT: &str = r#"

def batches():
    """Rows in random order, cut into batches that grow with the update's number."""
    rows = []
    for step in range(total_steps):
        size = round(batch_size * batch_multiplier(step))
        while len(rows) < size:
            rows += np.random.permutation(len(inputs)).tolist()
        yield inputs[rows[:size]], targets[rows[:size]]
        rows = rows[size:]


model.fit(
    batches(),
    steps_per_epoch=steps_per_epoch,
    epochs=epochs,
    callbacks=callbacks,
    validation_data=(val_inputs, val_targets),
    verbose=2,
)
"#;
