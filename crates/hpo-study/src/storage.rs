//! What a study leaves on the disk: which checkpoints stay, and how much room they may take.

use serde::{Deserialize, Serialize};

/// Which checkpoints of finished trials stay. Those of the best trial always do, and nothing is ever
/// taken from a trial that is not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepCheckpoints {
    /// All of them.
    #[default]
    All,
    /// None of them.
    None,
    /// Those of this many best completed trials. At least 1.
    Best(u32),
    /// Of every finished trial the newest so many. At least 1.
    Last(u32),
}

impl KeepCheckpoints {
    /// What a word or a number in the study file means: `all`, `none`, `last`, `best`, `best_3`, `2`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "all" => Some(Self::All),
            "none" => Some(Self::None),
            "last" => Some(Self::Last(1)),
            "best" => Some(Self::Best(1)),
            _ => match text.strip_prefix("best_") {
                Some(count) => count.parse().ok().filter(|n| *n > 0).map(Self::Best),
                None => text.parse().ok().filter(|n| *n > 0).map(Self::Last),
            },
        }
    }
}

impl std::fmt::Display for KeepCheckpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::None => f.write_str("none"),
            Self::Best(count) => write!(f, "best_{count}"),
            Self::Last(1) => f.write_str("last"),
            Self::Last(count) => write!(f, "{count}"),
        }
    }
}

/// The rules about a study's checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Storage {
    /// Which stay.
    pub keep_checkpoints: KeepCheckpoints,
    /// How many bytes all of them may take; `None`: what there is.
    pub disk_budget: Option<u64>,
}

/// Reads a size: `20GiB`, `500 MB`, `1.5T`, or a number of bytes. KB, MB, … are thousands, KiB, MiB, … are
/// 1024s, and K, M, … alone, too.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let number: f64 = number.trim().parse().ok()?;
    let unit = unit.trim().to_lowercase();
    let (letter, base) = match unit.strip_suffix("ib").or(match unit.len() {
        1 => Some(unit.as_str()),
        _ => None,
    }) {
        Some(letter) => (letter, 1024.0_f64),
        None => (unit.strip_suffix('b').unwrap_or(&unit), 1000.0),
    };
    let power = match letter {
        "" | "b" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let bytes = number * base.powi(power);
    (1.0..9e15).contains(&bytes).then_some(bytes as u64)
}

/// A size for people, with one decimal: `1.5 GiB`.
#[must_use]
pub fn size_words(bytes: u64) -> String {
    let mut x = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if x < 1024.0 {
            return if unit == "B" {
                format!("{bytes} B")
            } else {
                format!("{x:.1} {unit}")
            };
        }
        x /= 1024.0;
    }
    format!("{x:.1} PiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_are_rules() {
        for (text, rule) in [
            ("all", KeepCheckpoints::All),
            ("none", KeepCheckpoints::None),
            ("last", KeepCheckpoints::Last(1)),
            ("2", KeepCheckpoints::Last(2)),
            ("best_3", KeepCheckpoints::Best(3)),
        ] {
            assert_eq!(KeepCheckpoints::parse(text), Some(rule));
            assert_eq!(rule.to_string(), text);
        }
        for text in ["", "best_0", "best_x", "0", "-1", "some"] {
            assert_eq!(KeepCheckpoints::parse(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("20GiB", 20 << 30),
            ("20 gib", 20 << 30),
            ("20G", 20 << 30),
            ("500MB", 500_000_000),
            ("1.5KiB", 1536),
            ("12", 12),
            ("12B", 12),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "GiB", "-1GB", "0", "1 XB", "1e99", "ü", "NaN", "1GiBB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
        assert_eq!(size_words(20 << 30), "20.0 GiB");
        assert_eq!(size_words(1023), "1023 B");
        assert_eq!(size_words(u64::MAX), "16384.0 PiB");
    }
}
