//! Durations and sizes as strings with units.
