//! A piece of Python that rebuilds a recipe in PyTorch or Keras.

/// A piece of Python that builds one object (an optimizer, a scheduler, a learning rate).
///
/// It may use these variables of the program around it. PyTorch: `model`, `optimizer` (schedules
/// only), `epochs`, `steps_per_epoch`, `total_steps`. Keras: `epochs`, `steps_per_epoch`,
/// `total_steps`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Code {
    /// Import lines, each complete (`import torch`).
    pub imports: Vec<String>,
    /// Lines before the expression; they may define helper functions and classes.
    pub setup: Vec<String>,
    /// The expression that builds the object.
    pub expression: String,
    /// What the reader should know; to be printed as comments.
    pub notes: Vec<String>,
}

/// A schedule in Python: the object and what the training loop does with it.
///
/// PyTorch: `code.expression` builds the object called `scheduler`; the loop runs `after_update`
/// after every `optimizer.step()` and `after_epoch` after every epoch, when `val_loss` holds the
/// epoch's validation loss. Keras: `code.expression` is what `learning_rate=` takes, and
/// `callbacks` are expressions for the list `model.fit(callbacks=[…])` takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScheduleCode {
    /// The object.
    pub code: Code,
    /// PyTorch: statements after every optimizer update.
    pub after_update: Vec<String>,
    /// PyTorch: statements after every epoch.
    pub after_epoch: Vec<String>,
    /// Keras: callback expressions.
    pub callbacks: Vec<String>,
}

/// A number as Python reads it, exactly.
#[must_use]
pub fn python_number(x: f64) -> String {
    if x.is_nan() {
        "float(\"nan\")".to_owned()
    } else if x.is_infinite() {
        format!("float(\"{}inf\")", if x > 0.0 { "" } else { "-" })
    } else {
        format!("{x:?}")
    }
}

/// A computed number as Python reads it, in at most 15 digits: `0.1 * 3` is written `0.3`.
#[must_use]
pub fn python_rounded(x: f64) -> String {
    python_number(format!("{x:.14e}").parse().unwrap_or(x))
}

/// True or false as Python writes it.
#[must_use]
pub fn python_flag(flag: bool) -> &'static str {
    if flag { "True" } else { "False" }
}

/// Lines of a Python text, ready for [`Code::setup`].
pub(crate) fn lines(text: &str) -> Vec<String> {
    text.trim_matches('\n').lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_python_literals() {
        assert_eq!(python_number(1e-5), "1e-5");
        assert_eq!(python_number(0.1), "0.1");
        assert_eq!(python_number(3.0), "3.0");
        assert_eq!(python_rounded(0.1 * 3.0), "0.3");
        assert_eq!(python_number(f64::NEG_INFINITY), "float(\"-inf\")");
    }
}
