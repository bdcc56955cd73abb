//! The study: search space, checked study file, events, history and the trial protocol.
