//! Samplers: which configuration is tried next. A new one is a file here and a row in
//! [`of_method`].

mod bayes;
mod beliefs;
mod bohb;
mod cmaes;
mod columns;
pub(crate) mod encoding;
mod factors;
mod gp;
mod grid;
mod hamiltonian;
mod improvement;
mod judge;
mod minimize;
mod normal;
mod nsga2;
mod observations;
mod parzen;
mod random;
mod resolution;
mod sobol;
mod surrogate;
mod targets;
mod tpe;
mod transferred;
mod trust;
mod unique;

use hpo_study::{Config, Method, StudySpec};

use crate::Sampler;

/// The sampler that a study asks for.
///
/// It has seen nothing yet: show it every event of the study, from the first one on.
#[must_use]
pub fn build_sampler(spec: &StudySpec) -> Box<dyn Sampler> {
    let sampler = of_method(spec);
    if spec.method == Method::Pbt {
        // A member that goes on as it was has the configuration that it had.
        return sampler;
    }
    unique::Unique::around(beliefs::Believing::around(sampler, spec), spec)
}

fn of_method(spec: &StudySpec) -> Box<dyn Sampler> {
    match spec.method {
        Method::Grid => Box::new(grid::Grid::new(&spec.space)),
        Method::Random => Box::new(random::Random),
        Method::Sobol => Box::new(sobol::Sobol::new(spec)),
        Method::Tpe => Box::new(tpe::Tpe::new(spec)),
        Method::Gp => Box::new(gp::Gp::new(spec)),
        Method::Cmaes => Box::new(cmaes::Cmaes::new(spec)),
        Method::Pbt => Box::new(crate::pbt::Pbt::new(spec)),
        Method::Nsga2 => Box::new(nsga2::Nsga2::new(spec)),
        Method::Bohb => Box::new(bohb::Bohb::new(spec)),
        Method::Dehb => Box::new(crate::dehb::Dehb::new(spec)),
        Method::Bayes => Box::new(bayes::Bayes::new(spec)),
    }
}

/// A text that two configurations share only when they are equal; unlike the text for people, it
/// tells `1` from `"1"`.
fn key(config: &Config) -> String {
    format!("{config:?}")
}
