//! A checksum that tells whether code has changed: FNV-1a of 128 bits (Fowler, Noll, Vo). It is no guard
//! against malice.

const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// A checksum under construction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checksum(u128);

impl Checksum {
    pub(super) fn new() -> Self {
        Self(OFFSET)
    }

    /// Adds a named part; parts cannot run into each other.
    pub(super) fn add(&mut self, name: &str, content: &[u8]) {
        for part in [name.as_bytes(), content] {
            for byte in part.iter().chain(&(part.len() as u64).to_le_bytes()) {
                self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(PRIME);
            }
        }
    }

    /// As 32 hexadecimal digits.
    pub(super) fn text(self) -> String {
        format!("{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[(&str, &str)]) -> String {
        let mut sum = Checksum::new();
        for (name, content) in parts {
            sum.add(name, content.as_bytes());
        }
        sum.text()
    }

    #[test]
    fn any_difference_shows() {
        let one = of(&[("a", "bc"), ("d", "")]);
        assert_eq!(one, of(&[("a", "bc"), ("d", "")]));
        for other in [
            of(&[("ab", "c"), ("d", "")]),
            of(&[("a", "bcd"), ("", "")]),
            of(&[("a", "bc")]),
            of(&[("d", ""), ("a", "bc")]),
        ] {
            assert_ne!(one, other);
        }
        assert_eq!(of(&[]), format!("{OFFSET:032x}"));
    }
}
