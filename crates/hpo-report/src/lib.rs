//! From a study's history to tables, comparisons and exports.
