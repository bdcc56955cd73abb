//! Text from outside (scripts' last words, names), made safe to show.

/// The text without anything that a terminal would act upon: ANSI sequences go, other control
/// characters become blanks.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        if c == '\u{1b}' && characters.peek() == Some(&'[') {
            characters.next();
            // Parameters up to the letter that ends the sequence (ECMA-48, section 5.4).
            while characters
                .next_if(|c| ('\u{20}'..='\u{3f}').contains(c))
                .is_some()
            {}
            characters.next_if(|c| ('\u{40}'..='\u{7e}').contains(c));
        } else if c != '\u{1b}' {
            shown.push(if c.is_control() { ' ' } else { c });
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_control_characters_are_gone() {
        assert_eq!(printable("\u{1b}[1;31mError\u{1b}[0m: bad"), "Error: bad");
        assert_eq!(printable("a\tb\u{7}\u{1b}]0;title"), "a b ]0;title");
        assert_eq!(printable("\u{1b}["), "");
        assert_eq!(printable("1 − μ"), "1 − μ");
    }
}
