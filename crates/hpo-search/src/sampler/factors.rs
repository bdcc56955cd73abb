//! What the logarithms of a mixture's kernels are made of at some points, so that they are quick to add up for many
//! trials and some dozens of points: what does not differ from point to point is computed once, and the rest are plain
//! loops along memory, which the compiler turns into vector instructions.

use super::columns::Column;
use super::encoding::{Cell, Kind, Point};
use super::normal;
use super::parzen::{Mixture, ROUND};

/// With more values a whole number is taken for a continuous one.
const FEW_CELLS: usize = 32;
/// Points of the table of a kernel's height by its center, an even number, and the trials from which on it is cheaper.
const TABLE: usize = 128;
const FEW_ROWS: usize = 32;

/// What the logarithms of the kernels are made of.
pub(super) struct Factors<'a> {
    /// The numbers that all trials and all points have, and the trials' places. Their kernels are of one width.
    numbers: Vec<(usize, &'a [f32])>,
    /// One over twice the square of that width.
    scale: f32,
    /// For each trial the sum of the heights of these numbers' kernels.
    heights: Vec<f32>,
    /// For each parameter its other factors.
    others: Vec<Vec<Factor<'a>>>,
}

/// What a parameter adds at points that have a certain cell, or a number in a certain branch.
enum Factor<'a> {
    /// A cell of which there are few: the logarithms for all trials.
    Value { cell: Cell, logs: Vec<f32> },
    /// `height - scale · distance²`; both are zero for trials that have no number in the branch.
    Number {
        branch: u16,
        places: &'a [f32],
        scales: Vec<f32>,
        heights: Vec<f32>,
    },
}

impl<'a> Factors<'a> {
    pub(super) fn new(mixture: &'a Mixture<'_>, points: &[&Point]) -> Self {
        let mut factors = Self {
            numbers: Vec::new(),
            scale: 0.0,
            heights: vec![0.0; mixture.columns.len()],
            others: Vec::new(),
        };
        let mut table = None;
        let mut here: Vec<Cell> = Vec::with_capacity(points.len());
        for parameter in 0..mixture.encoding.len() {
            let column = mixture.columns.of(parameter);
            let mut others = Vec::new();
            for (branch, kind) in mixture.encoding.branches(parameter).iter().enumerate() {
                let is_here = |cell: &Cell| usize::from(cell.branch) == branch;
                here.clear();
                here.extend(points.iter().filter_map(|p| p[parameter].filter(is_here)));
                let width = mixture.width(parameter, branch);
                let all_have = here.len() == points.len() && column.all_have(branch);
                if all_have && is_continuous(kind) {
                    let table = table.get_or_insert_with(|| Heights::new(width));
                    factors.add_number(parameter, column, width, table);
                } else {
                    add_others(&mut others, kind, column, width, &here);
                }
            }
            factors.others.push(others);
        }
        factors
    }

    /// Adds a number that all have.
    fn add_number(&mut self, parameter: usize, column: &'a Column, width: f64, table: &Heights) {
        for (height, place) in self.heights.iter_mut().zip(column.places()) {
            *height += table.at(*place);
        }
        self.scale = scale(width);
        self.numbers.push((parameter, column.places()));
    }

    /// Writes the logarithms of all kernels at a point.
    pub(super) fn write(&self, point: &Point, logs: &mut [f32]) {
        logs.fill(0.0);
        let place = |parameter: usize| point[parameter].map_or(0.5, |cell| cell.place as f32);
        let (fours, rest) = self.numbers.as_chunks::<4>();
        for four in fours {
            add_squares(logs, four.map(|(number, centers)| (place(number), centers)));
        }
        for (number, centers) in rest {
            add_squares(logs, [(place(*number), *centers)]);
        }
        for (log, height) in logs.iter_mut().zip(&self.heights) {
            *log = height - self.scale * *log;
        }
        for (cell, factors) in point.iter().zip(&self.others) {
            if let Some(cell) = cell
                && let Some(factor) = factors.iter().find(|factor| factor.is_of(cell))
            {
                factor.add_to(cell.place as f32, logs);
            }
        }
    }
}

impl<'a> Factor<'a> {
    fn number(branch: u16, column: &'a Column, width: f64) -> Self {
        let index = usize::from(branch);
        let heights = if column.count(index) < FEW_ROWS {
            column.map(index, |place| height(f64::from(place), width) as f32)
        } else {
            let table = Heights::new(width);
            column.map(index, |place| table.at(place))
        };
        Self::Number {
            branch,
            places: column.places(),
            scales: column.map(index, |_| scale(width)),
            heights,
        }
    }

    fn is_of(&self, of: &Cell) -> bool {
        match self {
            Self::Value { cell, .. } => cell == of,
            Self::Number { branch, .. } => *branch == of.branch,
        }
    }

    fn add_to(&self, place: f32, logs: &mut [f32]) {
        match self {
            Self::Value { logs: own, .. } => {
                for (log, own) in logs.iter_mut().zip(own) {
                    *log += own;
                }
            }
            Self::Number {
                places,
                scales,
                heights,
                ..
            } => {
                let factors = scales.iter().zip(heights);
                for ((log, center), (scale, height)) in logs.iter_mut().zip(*places).zip(factors) {
                    let distance = place - center;
                    *log += height - scale * distance * distance;
                }
            }
        }
    }
}

/// Whether the kernels are normal distributions.
fn is_continuous(kind: &Kind) -> bool {
    matches!(kind, Kind::Number { cells } if cells.is_none_or(|cells| cells > FEW_CELLS))
}

/// One over twice the square of a kernel's width.
fn scale(width: f64) -> f32 {
    (0.5 / (width * width)) as f32
}

/// Adds what a parameter of a kind adds at points that have these cells, all in one branch.
fn add_others<'a>(
    factors: &mut Vec<Factor<'a>>,
    kind: &Kind,
    column: &'a Column,
    width: f64,
    here: &[Cell],
) {
    let Some(branch) = here.first().map(|cell| cell.branch) else {
        return;
    };
    match kind {
        Kind::Fixed => {}
        _ if is_continuous(kind) => factors.push(Factor::number(branch, column, width)),
        Kind::Choice { shares } => add_values(factors, here, |cell| {
            let (same, other) = choice_logs(cell.place as usize, shares, width);
            let choice = cell.place as f32;
            let log = |place| if place == choice { same } else { other };
            column.map(usize::from(branch), log)
        }),
        Kind::Number { cells } => add_values(factors, here, |cell| {
            let table = cell_table(cell.place, cells.unwrap_or(1), width);
            let (count, last) = (table.len() as f32, table.len() - 1);
            let log = |place: f32| table[usize::from((place * count) as u8).min(last)];
            column.map(usize::from(branch), log)
        }),
    }
}

/// Adds a factor for each value. Of few values points share most, so that each is looked up for all trials once.
fn add_values(factors: &mut Vec<Factor<'_>>, here: &[Cell], logs: impl Fn(&Cell) -> Vec<f32>) {
    for cell in here {
        if !factors.iter().any(|factor| factor.is_of(cell)) {
            let (cell, logs) = (*cell, logs(cell));
            factors.push(Factor::Value { cell, logs });
        }
    }
}

/// Adds the squares of the distances between a place and the trials' places, of `N` numbers at once: each sum is read
/// and written once.
fn add_squares<const N: usize>(sums: &mut [f32], numbers: [(f32, &[f32]); N]) {
    let count = sums.len();
    let numbers = numbers.map(|(place, centers)| (place, &centers[..count]));
    for (i, sum) in sums.iter_mut().enumerate() {
        for (place, centers) in &numbers {
            *sum += (place - centers[i]) * (place - centers[i]);
        }
    }
}

/// The log densities of a choice under its own kernel and under those of the other choices.
fn choice_logs(choice: usize, shares: &[f64], stay: f64) -> (f32, f32) {
    let leave = (1.0 - stay) / (shares.len() as f64 - 1.0);
    let prior = shares.get(choice).copied().unwrap_or(0.0).max(1e-9);
    ((stay / prior).ln() as f32, (leave / prior).ln() as f32)
}

/// The log densities of a number of few values under the kernels of every value: their masses in its cell.
pub(super) fn cell_table(place: f64, cells: usize, bandwidth: f64) -> Vec<f32> {
    let width = 1.0 / cells as f64;
    let low = (place / width).floor() * width;
    let density = |center: usize| {
        let center = (center as f64 + 0.5) * width;
        let inside = normal::between(-center / bandwidth, (1.0 - center) / bandwidth);
        let here = normal::between(
            (low - center) / bandwidth,
            (low + width - center) / bandwidth,
        );
        (here / inside / width).max(1e-30)
    };
    (0..cells)
        .map(|center| density(center).ln() as f32)
        .collect()
}

/// What a normal kernel with this bandwidth has at its center, as a logarithm: more than without the cut, the
/// nearer the center is to an end of the interval.
fn height(center: f64, bandwidth: f64) -> f64 {
    let inside = normal::between(-center / bandwidth, (1.0 - center) / bandwidth);
    -(bandwidth * inside).ln() - 0.5 * (2.0 * std::f64::consts::PI).ln()
}

/// Heights over the interval for one bandwidth: straight lines between `TABLE + 1` even places, each as its value at 0
/// and its slope; the first one twice. There is room for so many that a byte is an index.
struct Heights([(f32, f32); 256]);

impl Heights {
    fn new(bandwidth: f64) -> Self {
        let place = |i: usize| i as f64 / TABLE as f64;
        let mut heights = [0.0; TABLE + 1];
        for i in 0..=TABLE / 2 {
            // Either half is the other's mirror image, and each place costs two error functions.
            heights[i] = height(place(i), bandwidth);
            heights[TABLE - i] = heights[i];
        }
        let mut lines = [(0.0, 0.0); 256];
        for (i, ends) in heights.windows(2).enumerate() {
            let slope = (ends[1] - ends[0]) * TABLE as f64;
            lines[i + 1] = ((ends[0] - slope * place(i)) as f32, slope as f32);
        }
        lines[0] = lines[1];
        Self(lines)
    }

    fn at(&self, center: f32) -> f32 {
        // Rounded half a place further it is one more than the last place below; at a place either line will do.
        let line = (center * TABLE as f32 + 0.5 + ROUND).to_bits() as u8;
        let (start, slope) = self.0[usize::from(line)];
        start + slope * center
    }
}
