//! The points of trials by parameter: what is computed for all trials at once runs along memory.

use super::encoding::{Cell, Point};

/// A branch number that no branch has.
const INACTIVE: u16 = u16::MAX;

/// The points of some trials, in columns.
pub(super) struct Columns {
    columns: Vec<Column>,
    len: usize,
}

/// The cells of one parameter.
#[derive(Clone, Default)]
pub(super) struct Column {
    /// For each trial its branch. Empty while all have the first one: most parameters have no conditions.
    branches: Vec<u16>,
    places: Vec<f32>,
}

impl Columns {
    /// No trials yet, with so many parameters.
    pub(super) fn new(parameters: usize) -> Self {
        Self {
            columns: vec![Column::default(); parameters],
            len: 0,
        }
    }

    pub(super) fn push(&mut self, point: &Point) {
        for (column, cell) in self.columns.iter_mut().zip(point) {
            column.push(*cell);
        }
        self.len += 1;
    }

    /// The columns of these trials only.
    pub(super) fn select(&self, trials: &[usize]) -> Self {
        let of = |column: &Column| column.select(trials);
        Self {
            columns: self.columns.iter().map(of).collect(),
            len: trials.len(),
        }
    }

    /// How many trials there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The cells of a parameter.
    pub(super) fn of(&self, parameter: usize) -> &Column {
        &self.columns[parameter]
    }

    /// How many cells the trials have: of how many parameters each has a value, added up.
    pub(super) fn cells(&self) -> usize {
        self.columns.iter().map(Column::active).sum()
    }
}

impl Column {
    fn push(&mut self, cell: Option<Cell>) {
        let branch = cell.map_or(INACTIVE, |cell| cell.branch);
        if branch != 0 && self.branches.is_empty() {
            self.branches = vec![0; self.places.len()];
        }
        if branch != 0 || !self.branches.is_empty() {
            self.branches.push(branch);
        }
        self.places.push(cell.map_or(0.5, |cell| cell.place as f32));
    }

    fn select(&self, trials: &[usize]) -> Self {
        let branches = match self.branches.as_slice() {
            [] => Vec::new(),
            branches => trials.iter().map(|trial| branches[*trial]).collect(),
        };
        Self {
            branches,
            places: trials.iter().map(|trial| self.places[*trial]).collect(),
        }
    }

    /// For each trial its place, whatever its branch.
    pub(super) fn places(&self) -> &[f32] {
        &self.places
    }

    /// Whether all trials have a value in this branch.
    pub(super) fn all_have(&self, branch: usize) -> bool {
        self.branches.is_empty() && branch == 0
    }

    /// How many trials have a value in this branch.
    pub(super) fn count(&self, branch: usize) -> usize {
        if self.all_have(branch) {
            return self.places.len();
        }
        let is_here = |b: &&u16| usize::from(**b) == branch;
        self.branches.iter().filter(is_here).count()
    }

    fn active(&self) -> usize {
        let inactive = self.branches.iter().filter(|b| **b == INACTIVE);
        self.places.len() - inactive.count()
    }

    /// For each trial a function of its place, and 0 for those that have no value in this branch.
    pub(super) fn map(&self, branch: usize, function: impl Fn(f32) -> f32) -> Vec<f32> {
        let places = self.places.iter();
        if self.all_have(branch) {
            return places.map(|place| function(*place)).collect();
        }
        let here = |(b, place): (&u16, &f32)| match usize::from(*b) == branch {
            true => function(*place),
            false => 0.0,
        };
        self.branches.iter().zip(places).map(here).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(cells: &[Option<(u16, f64)>]) -> Column {
        let mut column = Column::default();
        for cell in cells {
            column.push(cell.map(|(branch, place)| Cell { branch, place }));
        }
        column
    }

    fn check(column: &Column, branch: usize, expected: &[f32]) {
        assert_eq!(column.map(branch, |place| place + 1.0), expected);
        let count = expected.iter().filter(|x| **x > 0.0).count();
        assert_eq!(column.count(branch), count);
        let all = !expected.is_empty() && expected.iter().all(|x| *x > 0.0);
        assert!(!column.all_have(branch) || all);
    }

    #[test]
    fn a_column_knows_who_has_a_value_in_which_branch() {
        let mut same = column(&[Some((0, 0.25)), Some((0, 0.5))]);
        assert!(same.all_have(0) && same.branches.is_empty());
        check(&same, 0, &[1.25, 1.5]);
        check(&same, 1, &[0.0; 0][..]);
        same.push(Some(Cell {
            branch: 1,
            place: 0.75,
        }));
        same.push(None);
        check(&same, 0, &[1.25, 1.5, 0.0, 0.0]);
        check(&same, 1, &[0.0, 0.0, 1.75, 0.0]);
        assert_eq!(same.active(), 3);
        check(&same.select(&[3, 2]), 1, &[0.0, 1.75]);
        check(&column(&[None, Some((0, 0.0))]), 0, &[0.0, 1.0]);
    }

    #[test]
    fn cells_are_counted_over_all_parameters() {
        let mut columns = Columns::new(2);
        let cell = Some(Cell {
            branch: 0,
            place: 0.5,
        });
        columns.push(&vec![cell, None]);
        columns.push(&vec![cell, cell]);
        assert_eq!((columns.len(), columns.cells()), (2, 3));
        let selected = columns.select(&[1]);
        assert_eq!((selected.len(), selected.cells()), (1, 2));
    }
}
