//! The built-in trainer: real data, small networks, every optimizer, exact resume.
