//! Calls as Python writes them: a text to its expression.

use crate::study_file::yaml::Kind;

/// An expression: `name(argument, key=argument)`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Call {
        name: String,
        arguments: Vec<(Option<String>, Expression)>,
    },
    List(Vec<Expression>),
    /// A number, a word, a text; what it is YAML would know.
    Scalar(Kind),
}

/// Reads an expression; `None` when the text is none as a whole.
pub(super) fn parse(text: &str) -> Option<Expression> {
    let mut parser = Parser {
        rest: text.trim(),
        depth: 0,
    };
    let expression = parser.expression()?;
    parser.rest.trim().is_empty().then_some(expression)
}

struct Parser<'a> {
    rest: &'a str,
    depth: u32,
}

impl Parser<'_> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, c: char) -> bool {
        self.skip();
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expression(&mut self) -> Option<Expression> {
        const DEEPEST: u32 = 16;
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        self.skip();
        let expression = match self.rest.chars().next()? {
            quote @ ('"' | '\'') => {
                let (inside, rest) = self.rest.get(1..)?.split_once(quote)?;
                self.rest = rest;
                Expression::Scalar(Kind::Text(inside.to_owned()))
            }
            '[' => {
                self.eat('[');
                Expression::List(self.items(']')?)
            }
            '(' => {
                self.eat('(');
                Expression::List(self.items(')')?)
            }
            _ => self.word()?,
        };
        self.depth -= 1;
        Some(expression)
    }

    fn word(&mut self) -> Option<Expression> {
        let end = self
            .rest
            .find(|c: char| !(c.is_alphanumeric() || "_.+-/@%:".contains(c)))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            return None;
        }
        self.rest = rest;
        if word.starts_with(|c: char| c.is_alphabetic()) && self.rest.starts_with('(') {
            self.eat('(');
            return Some(Expression::Call {
                name: word.to_owned(),
                arguments: self.arguments()?,
            });
        }
        Some(Expression::Scalar(scalar_of(word)))
    }

    fn items(&mut self, close: char) -> Option<Vec<Expression>> {
        let mut items = Vec::new();
        while !self.eat(close) {
            items.push(self.expression()?);
            if !self.eat(',') {
                return self.eat(close).then_some(items);
            }
        }
        Some(items)
    }

    fn arguments(&mut self) -> Option<Vec<(Option<String>, Expression)>> {
        let mut arguments = Vec::new();
        while !self.eat(')') {
            self.skip();
            let before = self.rest;
            let mut key = None;
            if let Some(Expression::Scalar(Kind::Text(word))) = self.expression()
                && self.eat('=')
            {
                key = Some(word);
            } else {
                self.rest = before;
            }
            arguments.push((key, self.expression()?));
            if !self.eat(',') {
                return self.eat(')').then_some(arguments);
            }
        }
        Some(arguments)
    }
}

fn scalar_of(word: &str) -> Kind {
    match word {
        "true" | "True" => return Kind::Bool(true),
        "false" | "False" => return Kind::Bool(false),
        "null" | "None" => return Kind::Null,
        _ => {}
    }
    let looks_like_number = word
        .trim_start_matches(['+', '-'])
        .starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if let Ok(i) = word.parse() {
        return Kind::Int(i);
    }
    match word.parse::<f64>() {
        Ok(x) if looks_like_number && x.is_finite() => Kind::Float(x),
        _ => Kind::Text(word.to_owned()),
    }
}
