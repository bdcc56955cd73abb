//! Samplers (which configuration) and schedulers (whose budget, whose fate): pure and seeded.
