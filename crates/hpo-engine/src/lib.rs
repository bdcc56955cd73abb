//! The life of a trial: pure decisions, events in and commands out.
