//! Samplers: which configuration is tried next. A new one is a file here and a row in
//! [`build_sampler`].

mod bayes;
mod bohb;
mod cmaes;
pub(crate) mod encoding;
mod gp;
mod grid;
mod minimize;
mod normal;
mod observations;
mod parzen;
mod random;
mod resolution;
mod sobol;
mod surrogate;
mod targets;
mod tpe;

use hpo_study::{Config, Domain, Method, Space, StudySpec};

use crate::Sampler;

/// The sampler that a study asks for.
///
/// It has seen nothing yet: show it every event of the study, from the first one on.
#[must_use]
pub fn build_sampler(spec: &StudySpec) -> Box<dyn Sampler> {
    match spec.method {
        Method::Grid => Box::new(grid::Grid::new(&spec.space)),
        Method::Random => Box::new(random::Random::new(&spec.space)),
        Method::Sobol => Box::new(sobol::Sobol::new(spec)),
        Method::Tpe => Box::new(tpe::Tpe::new(spec)),
        Method::Gp => Box::new(gp::Gp::new(spec)),
        Method::Cmaes => Box::new(cmaes::Cmaes::new(spec)),
        Method::Bohb => Box::new(bohb::Bohb::new(spec)),
        Method::Dehb => Box::new(crate::dehb::Dehb::new(spec)),
        Method::Bayes => Box::new(bayes::Bayes::new(spec)),
    }
}

/// Every domain of a space, whatever its condition.
fn domains(space: &Space) -> impl Iterator<Item = &Domain> {
    space
        .parameters
        .iter()
        .flat_map(|p| &p.branches)
        .map(|branch| &branch.domain)
}

/// A text that two configurations share only when they are equal; unlike the text for people, it
/// tells `1` from `"1"`.
fn key(config: &Config) -> String {
    format!("{config:?}")
}
