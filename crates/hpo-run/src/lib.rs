//! Performs the engine's commands: processes, files, signals, time.
