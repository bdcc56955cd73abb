//! Minimizing a smooth function by argmin's L-BFGS (Liu & Nocedal, "On the limited memory BFGS method
//! for large scale optimization", 1989) with the line search of Moré & Thuente.

use std::cell::{Cell, RefCell};

use argmin::core::{CostFunction, Error, Executor, Gradient};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;
use nalgebra::DVector;

/// A function with its gradient.
pub(crate) type Function<'a> = &'a dyn Fn(&[f64]) -> (f64, Vec<f64>);

/// A point, the function's value there and its gradient.
type Asked = (DVector<f64>, f64, DVector<f64>);

/// Remembers the last point asked for, since argmin asks for value and gradient apart, and the best one.
struct Problem<'a> {
    function: Function<'a>,
    last: &'a RefCell<Option<Asked>>,
    best: &'a RefCell<(f64, Vec<f64>)>,
    /// How often it may still be asked.
    left: Cell<u64>,
}

impl Problem<'_> {
    fn at(&self, x: &DVector<f64>) -> Result<(f64, DVector<f64>), Error> {
        if let Some((last, value, gradient)) = &*self.last.borrow()
            && last == x
        {
            return Ok((*value, gradient.clone()));
        }
        let (value, gradient) = (self.function)(x.as_slice());
        let gradient = DVector::from_vec(gradient);
        self.left.set(self.left.get().saturating_sub(1));
        let is_finite = value.is_finite() && gradient.iter().all(|g| g.is_finite());
        if self.left.get() == 0 || !is_finite {
            // The line search would go on for ever.
            return Err(Error::msg("no number, or too many questions"));
        }
        if value < self.best.borrow().0 {
            *self.best.borrow_mut() = (value, x.as_slice().to_vec());
        }
        *self.last.borrow_mut() = Some((x.clone(), value, gradient.clone()));
        Ok((value, gradient))
    }
}

impl CostFunction for Problem<'_> {
    type Param = DVector<f64>;
    type Output = f64;
    fn cost(&self, x: &Self::Param) -> Result<f64, Error> {
        Ok(self.at(x)?.0)
    }
}

impl Gradient for Problem<'_> {
    type Param = DVector<f64>;
    type Gradient = DVector<f64>;
    fn gradient(&self, x: &Self::Param) -> Result<Self::Gradient, Error> {
        Ok(self.at(x)?.1)
    }
}

/// The best point found from a start within some iterations; the start itself when nothing is better.
/// A line search that fails, or a value that is no number, ends it early.
pub(crate) fn minimize(function: Function<'_>, start: Vec<f64>, iterations: u64) -> Vec<f64> {
    let (last, best) = (
        RefCell::new(None),
        RefCell::new((f64::INFINITY, start.clone())),
    );
    let problem = Problem {
        function,
        last: &last,
        best: &best,
        left: Cell::new(5 * iterations + 20),
    };
    let solver = LBFGS::new(MoreThuenteLineSearch::new(), 7)
        .with_tolerance_grad(1e-4)
        .and_then(|solver| solver.with_tolerance_cost(1e-7));
    if let Ok(solver) = solver {
        let executor = Executor::new(problem, solver)
            .configure(|state| state.param(DVector::from_vec(start)).max_iters(iterations));
        // What was found before a failure is kept all the same.
        let _ = executor.run();
    }
    best.into_inner().1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rosenbrock's valley, whose minimum is at (1, 1).
    fn valley(x: &[f64]) -> (f64, Vec<f64>) {
        let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
        let gradient = vec![-2.0 * a - 400.0 * x[0] * b, 200.0 * b];
        (a * a + 100.0 * b * b, gradient)
    }

    #[test]
    fn it_finds_the_end_of_a_curved_valley() {
        let x = minimize(&valley, vec![-1.2, 1.0], 200);
        assert!(
            (x[0] - 1.0).abs() < 1e-3 && (x[1] - 1.0).abs() < 1e-3,
            "{x:?}"
        );
    }

    #[test]
    fn it_keeps_to_the_start_where_there_is_nothing_better() {
        assert_eq!(
            minimize(&|_| (f64::NAN, vec![f64::NAN; 2]), vec![3.0, 4.0], 10),
            [3.0, 4.0]
        );
        assert_eq!(minimize(&|_| (0.0, vec![]), vec![], 10), Vec::<f64>::new());
    }
}
