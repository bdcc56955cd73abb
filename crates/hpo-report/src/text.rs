//! Text from outside (scripts' last words, names), made safe to show.

/// A text of several lines, each [`printable`].
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| match line.strip_suffix('\n') {
            Some(line) => printable(line) + "\n",
            None => printable(line),
        })
        .collect()
}

/// At most so many characters of a text; the middle of a longer one is left out, since beginnings and ends tell
/// names and paths apart.
#[must_use]
pub fn shortened(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let end = most / 3;
    let begin = most.saturating_sub(end + 1);
    let mut short: String = text.chars().take(begin).collect();
    short.push('…');
    short.extend(text.chars().skip(length - end));
    short
}

/// The text without anything that a terminal would act upon: ANSI sequences go, other control
/// characters become blanks, and marks that turn the direction of writing (so that a text reads as another than it is)
/// become `U+FFFD`.
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
            shown.push(match c {
                c if c.is_control() => ' ',
                c if turns(c) => char::REPLACEMENT_CHARACTER,
                c => c,
            });
        }
    }
    shown
}

/// Marks of the direction of writing (Unicode Standard Annex 9), and the separators of lines that no editor shows.
fn turns(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_lines_and_marks_of_direction_are_seen() {
        assert_eq!(
            printable_lines("a\u{1b}[2J\n\u{202e}b\n\nc"),
            "a\n\u{fffd}b\n\nc"
        );
        assert_eq!(
            printable("א ב"),
            "א ב",
            "a script of that direction is none"
        );
    }

    #[test]
    fn a_long_text_keeps_its_ends() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcdefghij", 7), "abcd…ij");
        assert_eq!(shortened("éééé", 3), "é…é");
    }

    #[test]
    fn colours_and_control_characters_are_gone() {
        assert_eq!(printable("\u{1b}[1;31mError\u{1b}[0m: bad"), "Error: bad");
        assert_eq!(printable("a\tb\u{7}\u{1b}]0;title"), "a b ]0;title");
        assert_eq!(printable("\u{1b}["), "");
        assert_eq!(printable("1 − μ"), "1 − μ");
    }
}
