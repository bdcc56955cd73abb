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

/// How long a line of Python may be before it is broken up (the formatter black's width).
const LINE_WIDTH: usize = 88;

/// A call, or an assignment of one, with one argument to the line where it is too long for one
/// line; arguments that are too long themselves are broken up in turn. Other text stays.
#[must_use]
pub fn wrapped(call: &str) -> String {
    wrapped_at(call, 0)
}

fn wrapped_at(call: &str, indent: usize) -> String {
    let whole = || call.to_owned();
    if indent + call.len() <= LINE_WIDTH {
        return whole();
    }
    let Some((head, inner)) = call.strip_suffix(')').and_then(|call| call.split_once('(')) else {
        return whole();
    };
    // Parentheses around a sum are no call: a comma would make a tuple of it.
    let is_call = head.ends_with(|last: char| last.is_alphanumeric() || last == '_');
    let Some(arguments) = arguments(inner).filter(|_| is_call) else {
        return whole();
    };
    let (outside, inside) = (" ".repeat(indent), " ".repeat(indent + 4));
    let lines: Vec<String> = arguments
        .iter()
        .map(|argument| format!("{inside}{},\n", wrapped_at(argument, indent + 4)))
        .collect();
    format!("{head}(\n{}{outside})", lines.concat())
}

/// The arguments between a call's parentheses; none if these do not belong together.
fn arguments(inner: &str) -> Option<Vec<&str>> {
    let (mut depth, mut start, mut found) = (0_usize, 0, Vec::new());
    for (at, letter) in inner.char_indices() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => {
                found.push(inner.get(start..at)?.trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(inner.get(start..)?.trim());
    Some(found)
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
    #[test]
    fn long_calls_get_a_line_for_every_argument() {
        assert_eq!(wrapped("f(a, b)"), "f(a, b)");
        let list = ["10"; 12].join(", ");
        assert_eq!(
            wrapped(&format!(
                "x = m.f(first, g([{list}], y=(2, 3)), last=max(1, 2))"
            )),
            format!("x = m.f(\n    first,\n    g([{list}], y=(2, 3)),\n    last=max(1, 2),\n)")
        );
        let power = format!("x = {} ** (1 / steps)", "9".repeat(100));
        assert_eq!(wrapped(&power), power);
        let two = format!("{}(1) + f(2)", "f".repeat(100));
        assert_eq!(wrapped(&two), two);
    }
}
