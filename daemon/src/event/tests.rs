//! What `event` promises, tried out.
