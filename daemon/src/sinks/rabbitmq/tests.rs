//! Settings, windows and messages, without a broker.
