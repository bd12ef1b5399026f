//! What `http` promises, tried out.
