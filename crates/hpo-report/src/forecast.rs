//! What is known of a study's need for memory before anything has run, for people.

use std::fmt::Write as _;

use hpo_study::MemoryKind;
use hpo_study::memory::bytes;
use hpo_study::need::{Forecast, OptimizerForecast};

use crate::table::Table;
use crate::trials::dash;

/// The forecasts as text; empty when nothing is limited.
#[must_use]
pub fn text(forecasts: &[Forecast], width: Option<u16>) -> String {
    forecasts.iter().map(|f| one(f, width)).collect()
}

fn one(forecast: &Forecast, width: Option<u16>) -> String {
    let mut text = String::new();
    let limit = forecast
        .limit
        .map_or_else(|| "all there is".to_owned(), bytes);
    let _ = match forecast.of {
        MemoryKind::Gpu => writeln!(text, "\nGPU memory: {limit} per GPU"),
        MemoryKind::Host => writeln!(text, "\nmain memory: {limit}, all trials together"),
    };
    let mut table = Table::new(&["optimizer", ">a trial needs", "fits"]);
    for of in &forecast.optimizers {
        let fits = match (of.fits, forecast.most) {
            (Some(true), _) => "yes".to_owned(),
            (Some(false), Some(most)) => format!("no: a trial can have {}", bytes(most)),
            _ => "not known yet".to_owned(),
        };
        let name = of.optimizer.clone().unwrap_or_else(dash);
        table.row([name, needs(of), fits]);
    }
    text += &table.render(width);
    for unknown in &forecast.unknown {
        let _ = writeln!(text, "{unknown}");
    }
    text
}

fn needs(of: &OptimizerForecast) -> String {
    match (of.needs, of.copies) {
        (Some(needs), _) => bytes(needs),
        (None, Some(copies)) => format!("{copies} × weights, and what training adds"),
        (None, None) => "not known yet".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_and_what_is_not() {
        let of = |optimizer: &str, copies, needs: Option<u64>, fits| OptimizerForecast {
            optimizer: Some(optimizer.into()),
            copies,
            needs,
            fits,
        };
        let forecast = Forecast {
            of: MemoryKind::Gpu,
            limit: Some(8 << 30),
            most: Some(7 << 30),
            optimizers: vec![
                of("sgd", Some(2), Some(3 << 30), Some(true)),
                of("adam", Some(4), Some(9 << 30), Some(false)),
                of("adamw", Some(4), None, None),
                of("lion", None, None, None),
            ],
            unknown: vec!["the size of the model".into()],
        };
        insta::assert_snapshot!(text(&[forecast], Some(100)));
        assert_eq!(text(&[], None), "");
    }
}
