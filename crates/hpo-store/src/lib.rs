//! The study database: append events, read them back, tables for people.
