//! What `session` promises, tried out.
