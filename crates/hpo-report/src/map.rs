//! Where runs come to nothing: a map of each optimizer's learning rates, and the edge between those
//! that work and those that are too large.

use std::fmt::Write as _;

use hpo_study::{History, StopReason, Trial, TrialState, Verdict};
use serde::Serialize;

use crate::number::short;
use crate::text::printable;

/// The names under which a learning rate goes, the first that a trial has counts.
const RATES: [&str; 2] = ["lr", "learning_rate"];
/// Most columns of the picture.
const WIDEST: usize = 60;

/// The map. Fields are added in later versions, never changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Map {
    /// Version of this contract.
    pub version: u32,
    /// How many cells there are to a decade.
    pub cells_per_decade: u32,
    /// A row per optimizer, by name; a single one where the study has no parameter `optimizer`.
    pub rows: Vec<Row>,
}

/// One optimizer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name; null where the study has no parameter `optimizer`.
    pub optimizer: Option<String>,
    /// How many trials went well, or were stopped for other reasons than their own.
    pub fine: usize,
    /// How many diverged or got stuck.
    pub lost: usize,
    /// How many made no progress: their rates are too small, if anything.
    pub idle: usize,
    /// The rate that best tells the lost from the fine: lost ones are above it. Null while there are
    /// none of the one or the other, or lost ones are not the larger ones.
    pub edge: Option<f64>,
    /// How many trials are on the wrong side of the edge.
    pub beyond: usize,
    /// The cells that were tried, smallest rates first.
    pub cells: Vec<Cell>,
}

/// A stretch of learning rates.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// Its number: rates from `10^(number / cells_per_decade)` on are in it.
    pub number: i32,
    /// How many trials of each fate.
    pub fine: usize,
    /// Diverged or stuck.
    pub lost: usize,
    /// Without progress.
    pub idle: usize,
}

/// What became of a trial, as far as its learning rate may be to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    Lost,
    Idle,
}

/// The map of a study; `None` when no trial that has told something has a learning rate, or the rates
/// are absurdly far apart.
#[must_use]
pub fn map(history: &History) -> Option<Map> {
    let mut tried: Vec<(Option<String>, f64, Fate)> = history
        .trials()
        .iter()
        .filter_map(|trial| Some((optimizer(trial), tried_rate(trial)?, fate(trial)?)))
        .collect();
    tried.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let rates = || tried.iter().map(|(_, rate, _)| *rate);
    let decades = (rates().reduce(f64::max)? / rates().reduce(f64::min)?).log10();
    let cells_per_decade = [4, 2, 1]
        .into_iter()
        .find(|cells| f64::from(*cells) * (decades + 1.0) <= WIDEST as f64)?;
    let rows = tried.chunk_by(|a, b| a.0 == b.0);
    let rows = rows.map(|of_one| row(of_one, cells_per_decade)).collect();
    Some(Map {
        version: 1,
        cells_per_decade,
        rows,
    })
}

fn optimizer(trial: &Trial) -> Option<String> {
    trial.config.get("optimizer").map(ToString::to_string)
}

/// The name under which this study's learning rate goes.
pub(crate) fn rate_name(history: &History) -> Option<&'static str> {
    let has = |name: &&&str| {
        history
            .trials()
            .iter()
            .any(|t| t.config.number(name).is_some())
    };
    RATES.iter().find(has).copied()
}

/// The learning rate that a trial was proposed with.
pub(crate) fn tried_rate(trial: &Trial) -> Option<f64> {
    let first = trial.rescues.first().map(|rescue| rescue.from);
    let rate = first.or_else(|| RATES.iter().find_map(|name| trial.config.number(name)))?;
    (rate > 0.0 && rate.is_finite()).then_some(rate)
}

fn fate(trial: &Trial) -> Option<Fate> {
    // It diverged at the rate it was proposed with.
    if !trial.rescues.is_empty() {
        return Some(Fate::Lost);
    }
    let of = |verdict: Verdict| match verdict {
        Verdict::NoProgress => Fate::Idle,
        _ => Fate::Lost,
    };
    match &trial.state {
        TrialState::Stopped(StopReason::Diverged { .. } | StopReason::Stuck { .. }) => {
            Some(Fate::Lost)
        }
        TrialState::Stopped(StopReason::NoProgress { .. }) => Some(Fate::Idle),
        // Where the study only warns, the finding tells.
        TrialState::Completed
        | TrialState::Paused
        | TrialState::Stopped(StopReason::Pruned { .. }) => {
            Some(trial.hopeless().map_or(Fate::Fine, |f| of(f.verdict)))
        }
        _ => None,
    }
}

/// One optimizer's row, from its trials by rising rate; there is at least one.
fn row(tried: &[(Option<String>, f64, Fate)], cells_per_decade: u32) -> Row {
    let count = |fate: Fate| tried.iter().filter(|t| t.2 == fate).count();
    let mut cells: Vec<Cell> = Vec::new();
    for (_, rate, fate) in tried {
        // A power of ten is the first rate of its cell, whatever the logarithm's last digit.
        let number = (rate.log10() * f64::from(cells_per_decade) + 1e-9).floor() as i32;
        if cells.last().is_none_or(|cell| cell.number != number) {
            cells.push(Cell {
                number,
                fine: 0,
                lost: 0,
                idle: 0,
            });
        }
        if let Some(cell) = cells.last_mut() {
            match fate {
                Fate::Fine => cell.fine += 1,
                Fate::Lost => cell.lost += 1,
                Fate::Idle => cell.idle += 1,
            }
        }
    }
    let (edge, beyond) = edge(tried).map_or((None, 0), |(edge, beyond)| (Some(edge), beyond));
    Row {
        optimizer: tried.first().and_then(|t| t.0.clone()),
        fine: count(Fate::Fine),
        lost: count(Fate::Lost),
        idle: count(Fate::Idle),
        edge,
        beyond,
        cells,
    }
}

/// The rate above which trials are lost: halfway (in the logarithm) between two neighbours, so that
/// the fewest fine ones are above and the fewest lost ones below; of several the one with the widest
/// gap. And how many are on the wrong side.
fn edge(tried: &[(Option<String>, f64, Fate)]) -> Option<(f64, usize)> {
    let told: Vec<(f64, bool)> = tried
        .iter()
        .filter(|t| t.2 != Fate::Idle)
        .map(|t| (t.1, t.2 == Fate::Lost))
        .collect();
    let lost = told.iter().filter(|(_, lost)| *lost).count();
    let fine = told.len() - lost;
    let mut best: Option<(f64, usize, f64)> = None;
    let (mut lost_below, mut fine_below) = (0, 0);
    for pair in told.windows(2) {
        let &[(low, was_lost), (high, _)] = pair else {
            continue;
        };
        if was_lost {
            lost_below += 1;
        } else {
            fine_below += 1;
        }
        let (wrong, gap) = (lost_below + fine - fine_below, high / low);
        if gap > 1.0 && best.is_none_or(|(_, w, g)| wrong < w || (wrong == w && gap > g)) {
            best = Some(((low * high).sqrt(), wrong, gap));
        }
    }
    // No better than to say nothing: the lost ones are not the larger ones.
    best.filter(|(_, wrong, _)| *wrong < lost.min(fine))
        .map(|(edge, wrong, _)| (edge, wrong))
}

impl Map {
    /// Whether any trial came to nothing.
    #[must_use]
    pub fn has_lost(&self) -> bool {
        self.rows.iter().any(|row| row.lost > 0)
    }

    /// The picture: a line per optimizer, a character per cell.
    #[must_use]
    pub fn text(&self) -> String {
        let numbers = || self.rows.iter().flat_map(|r| &r.cells).map(|c| c.number);
        let per_decade = self.cells_per_decade as i32;
        let (Some(first), Some(last)) = (numbers().min(), numbers().max()) else {
            return String::new();
        };
        let first = first.div_euclid(per_decade) * per_decade;
        let name = |row: &Row| printable(row.optimizer.as_deref().unwrap_or("all"));
        let widest = self.rows.iter().map(|r| name(r).chars().count()).max();
        let widest = widest.unwrap_or(0).max("log10 lr".len());
        let mut text = String::from(
            "learning rates: o fine, x diverged or stuck, ~ both, - no progress, · not tried\n",
        );
        let columns = (last - first + 1).max(0) as usize;
        let mut ruler = String::new();
        for number in (first..=last).step_by(self.cells_per_decade as usize) {
            let label = (number / per_decade).to_string();
            // Where there is no room for every decade's, some go without.
            let column = (number - first) as usize;
            if ruler.is_empty() || ruler.chars().count() < column {
                let _ = write!(
                    ruler,
                    "{}{label}",
                    " ".repeat(column - ruler.chars().count())
                );
            }
        }
        let _ = writeln!(text, "  {:widest$}  {ruler}", "log10 lr");
        for row in &self.rows {
            let cells: String = (first..=last)
                .map(|number| row.cells.iter().find(|c| c.number == number))
                .map(|cell| cell.map_or('·', Cell::mark))
                .collect();
            let _ = writeln!(
                text,
                "  {:widest$}  {cells:columns$}  {}",
                name(row),
                row.words()
            );
        }
        text
    }
}

impl Row {
    /// `23 fine, 7 lost: above about 0.14 (2 are on the other side)`.
    pub(crate) fn words(&self) -> String {
        let mut text = format!("{} fine, {} lost", self.fine, self.lost);
        if self.idle > 0 {
            let _ = write!(text, ", {} without progress", self.idle);
        }
        if let Some(edge) = self.edge {
            // Two digits: more would be more than is known.
            let edge = format!("{edge:.1e}").parse().unwrap_or(edge);
            let _ = write!(text, "; the edge is at about {}", short(edge));
            match self.beyond {
                0 => {}
                1 => text.push_str(" (1 is on the wrong side)"),
                n => {
                    let _ = write!(text, " ({n} are on the wrong side)");
                }
            }
        }
        text
    }
}

impl Cell {
    fn mark(&self) -> char {
        match (self.fine > 0, self.lost > 0) {
            (true, true) => '~',
            (true, false) => 'o',
            (false, true) => 'x',
            (false, false) => '-',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn row_of(rates: &[(f64, Fate)]) -> Row {
        let tried: Vec<_> = rates
            .iter()
            .map(|(rate, fate)| (Some("adam".to_owned()), *rate, *fate))
            .collect();
        row(&tried, 4)
    }

    #[test]
    fn the_edge_is_between_the_fine_and_the_lost() {
        use Fate::{Fine, Idle, Lost};
        let clean = row_of(&[
            (1e-5, Idle),
            (1e-3, Fine),
            (0.01, Fine),
            (0.04, Lost),
            (0.4, Lost),
        ]);
        assert!(clean.edge.is_some_and(|edge| (edge - 0.02).abs() < 1e-12));
        assert_eq!(
            (clean.fine, clean.lost, clean.idle, clean.beyond),
            (2, 2, 1, 0)
        );
        let mixed = row_of(&[
            (1e-3, Fine),
            (0.01, Fine),
            (0.02, Lost),
            (0.03, Fine),
            (0.1, Lost),
            (0.2, Lost),
        ]);
        assert!(mixed.edge.is_some_and(|edge| (0.01..0.1).contains(&edge)));
        assert_eq!(mixed.beyond, 1);
        assert_eq!(row_of(&[(1e-3, Fine), (0.1, Fine)]).edge, None);
        assert_eq!(row_of(&[(1e-3, Lost)]).edge, None);
        let upside_down = row_of(&[(1e-3, Lost), (0.1, Fine)]);
        assert_eq!(upside_down.edge, None);
        assert_eq!(row_of(&[(0.1, Lost), (0.1, Fine)]).edge, None);
    }

    #[test]
    fn a_power_of_ten_begins_its_cell() {
        for (rate, number) in [(1e-3, -12), (0.01, -8), (1.0, 0), (0.99, -1), (10.0, 4)] {
            let row = row_of(&[(rate, Fate::Fine)]);
            assert_eq!(row.cells[0].number, number, "{rate}");
        }
    }

    #[test]
    fn the_picture() {
        use Fate::{Fine, Idle, Lost};
        let adam = row_of(&[
            (2e-5, Idle),
            (1e-3, Fine),
            (0.02, Fine),
            (0.021, Lost),
            (0.4, Lost),
        ]);
        let mut sgd = row_of(&[(0.01, Fine), (0.1, Fine)]);
        sgd.optimizer = Some("sgd".into());
        let map = Map {
            version: 1,
            cells_per_decade: 4,
            rows: vec![adam, sgd],
        };
        insta::assert_snapshot!(map.text());
    }

    #[test]
    fn the_map_of_a_study() {
        let map = map(&sample::study()).unwrap();
        assert!(map.has_lost());
        insta::assert_snapshot!(map.text());
        assert!(super::map(&sample::empty()).is_none());
    }
}
