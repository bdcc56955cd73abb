//! A line as a terminal would show it, and the numbers in it.

/// How much of a line is looked at, in bytes: what lies beyond is no metric of anybody's.
const LOOKED_AT: usize = 64 << 10;

/// A line without what only a terminal needs: colours and other escape sequences go, and of text that
/// was gone back over (`\r`, backspaces) only what was written last stays. Bytes that are not UTF-8 become `U+FFFD`.
#[must_use]
pub fn plain(line: &[u8]) -> String {
    let line = line.get(..LOOKED_AT).unwrap_or(line);
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\r', '\n', '\u{8}']);
    let shown = text.rsplit(['\r', '\u{8}']).next().unwrap_or(text);
    if shown.contains(['\u{1b}', '\u{9b}']) {
        without_escapes(shown)
    } else {
        shown.to_owned()
    }
}

/// Takes out escape sequences (ECMA-48): `ESC [ … letter`, `ESC ] … BEL`, and `ESC` with one character.
fn without_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{9b}' => skip_control(&mut chars),
            '\u{1b}' => match chars.next() {
                Some('[') => skip_control(&mut chars),
                Some(']') => skip_command(&mut chars),
                Some('(' | ')' | '#') => {
                    chars.next();
                }
                _ => {}
            },
            c => out.push(c),
        }
    }
    out
}

/// The rest of a control sequence: parameters, then one character from `@` to `~`.
fn skip_control(chars: &mut std::str::Chars<'_>) {
    chars.find(|c| ('\u{40}'..='\u{7e}').contains(c));
}

/// The rest of an operating system command: up to BEL, or `ESC \`.
fn skip_command(chars: &mut std::str::Chars<'_>) {
    let mut escaped = false;
    chars.find(|c| {
        let ends = *c == '\u{7}' || (escaped && *c == '\\');
        escaped = *c == '\u{1b}';
        ends
    });
}

/// The number that a piece of text is: as programs print them, with the punctuation around it, a per cent
/// sign (passed over: 97.5% is 97.5), `nan` and `inf` in any spelling.
#[must_use]
pub fn number(text: &str) -> Option<f64> {
    const AROUND: &[char] = &[
        ',', ';', ':', '(', ')', '[', ']', '{', '}', '<', '>', '"', '\'', '=', '|', '%', '*',
    ];
    let text = text.trim().trim_matches(AROUND).trim();
    let text = text.strip_suffix('.').unwrap_or(text);
    let unsigned = text.trim_start_matches(['+', '-']);
    let is_number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || ["nan", "inf", "infinity"]
            .iter()
            .any(|word| unsigned.eq_ignore_ascii_case(word));
    if is_number { text.parse().ok() } else { None }
}

/// The step that a piece of text is: a whole number from 0. Of a fraction (epoch 1.5) the step that is being
/// made: 2.
#[must_use]
pub fn step(text: &str) -> Option<u64> {
    const ROUNDING: f64 = 1e-6;
    let x = number(text)?;
    let x = (x - ROUNDING).ceil();
    (0.0..9e15).contains(&x).then_some(x as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_shows() {
        assert_eq!(plain(b"\x1b[1m8/8\x1b[0m loss\r\n"), "8/8 loss");
        assert_eq!(plain(b"10%\r 50%\r100% done\r"), "100% done");
        assert_eq!(plain("old\u{8}\u{8}\u{8}new".as_bytes()), "new");
        assert_eq!(plain(b"\x1b]0;a title\x07text\x1b(B"), "text");
        assert_eq!(plain(b"\x1b]8;;link\x1b\\text"), "text");
        assert_eq!(plain(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(plain(b"\x1b["), "");
    }

    #[test]
    fn numbers_as_programs_print_them() {
        for (text, value) in [
            ("0.5", 0.5),
            ("1e-05,", 1e-5),
            ("97.5%", 97.5),
            ("-inf", f64::NEG_INFINITY),
            ("Infinity", f64::INFINITY),
            ("(.25)", 0.25),
            ("3.", 3.0),
            ("+4E2", 400.0),
        ] {
            assert_eq!(number(text), Some(value), "{text}");
        }
        assert!(number("NaN").is_some_and(f64::is_nan));
        for text in ["", "-", "e5", "0x1f", "1.2.3", "abc", "12ms", "infinite"] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(
            ["3", "1.0", "1.5", "-2", "nan"].map(step),
            [Some(3), Some(1), Some(2), None, None]
        );
    }
}
