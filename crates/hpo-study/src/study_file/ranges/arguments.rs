//! A call's arguments, by name or by place.

use super::expression::Expression;
use super::{Why, why};
use crate::study_file::yaml::Kind;

/// A call's arguments, taken out one by one.
pub(super) struct Arguments<'a> {
    pub(super) word: &'a str,
    pub(super) given: Vec<(Option<String>, Expression)>,
}

impl Arguments<'_> {
    /// Optuna's calls may begin with the parameter's name.
    pub(super) fn drop_label(&mut self) {
        if let Some((None, Expression::Scalar(Kind::Text(_)))) = self.given.first()
            && self.given.len() > 1
        {
            self.given.remove(0);
        }
    }

    pub(super) fn optional(&mut self, key: &str) -> Option<Expression> {
        if let Some(at) = self
            .given
            .iter()
            .position(|(k, _)| k.as_deref() == Some(key))
        {
            return Some(self.given.remove(at).1);
        }
        // By place: what came before it was taken out.
        let first = self.given.iter().position(|(k, _)| k.is_none());
        // `log` and `step` are keywords in Optuna.
        if matches!(key, "log" | "step") && self.word != "range" {
            return None;
        }
        first.map(|at| self.given.remove(at).1)
    }

    pub(super) fn take(&mut self, key: &str) -> Result<Expression, Why> {
        let word = self.word;
        match self.optional(key) {
            Some(argument) => Ok(argument),
            None => why(
                format!("`{word}(…)` has too few arguments"),
                "write interval(1e-5, 1e-1), range(1, 10), choice(a, b), or {min: …, max: …}",
            ),
        }
    }

    pub(super) fn only(&self) -> Result<&Expression, Why> {
        match self.given.as_slice() {
            [(None, only)] => Ok(only),
            _ => why(
                format!("`{}` wants one range", self.word),
                "write int(interval(1, 10))",
            ),
        }
    }

    pub(super) fn nothing_left(&self) -> Result<(), Why> {
        match self.given.first() {
            None => Ok(()),
            Some((Some(key), _)) => why(
                format!("`{}` has no argument `{key}` here", self.word),
                "remove it, or write the parameter as a map: {min: …, max: …}",
            ),
            Some((None, _)) => why(
                format!("`{}(…)` has too many arguments", self.word),
                "remove the last one",
            ),
        }
    }
}
