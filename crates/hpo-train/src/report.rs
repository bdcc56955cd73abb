//! What the trainer says after each epoch: one line of JSON.

use std::fmt::Write as _;

/// The results of one epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochReport {
    /// Which epoch, counted from 1.
    pub step: u64,
    /// Name and value, in the order in which they are written.
    pub metrics: Vec<(&'static str, f64)>,
}

impl EpochReport {
    /// A metric by its name.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics
            .iter()
            .find(|(own, _)| *own == name)
            .map(|(_, x)| *x)
    }

    /// The line for the metrics file, newline included. Numbers read back exactly; those that are
    /// not finite are written bare (`NaN`, `Infinity`), as Python writes them.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = format!("{{\"step\":{}", self.step);
        for (name, x) in &self.metrics {
            // Writing to a String cannot fail.
            let _ = if x.is_nan() {
                write!(line, ",\"{name}\":NaN")
            } else if x.is_infinite() {
                write!(
                    line,
                    ",\"{name}\":{}Infinity",
                    if *x < 0.0 { "-" } else { "" }
                )
            } else {
                write!(line, ",\"{name}\":{x:?}")
            };
        }
        line.push_str("}\n");
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hpo_study::protocol::parse_report;

    #[test]
    fn lines_read_back_as_the_protocol_reads_them() {
        let metrics = vec![
            ("val_loss", 0.1 + 0.2),
            ("lr", 1e-7),
            ("train_loss", f64::NAN),
            ("grad_norm", f64::INFINITY),
            ("low", f64::NEG_INFINITY),
        ];
        let report = EpochReport { step: 3, metrics };
        let line = report.line();
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1);
        let read = parse_report(line.trim_end()).unwrap();
        assert_eq!(read.step, Some(3));
        assert_eq!(read.metrics["val_loss"], 0.1 + 0.2);
        assert_eq!(read.metrics["lr"], 1e-7);
        assert!(read.metrics["train_loss"].is_nan());
        assert_eq!(read.metrics["grad_norm"], f64::INFINITY);
        assert_eq!(read.metrics["low"], f64::NEG_INFINITY);
    }
}
