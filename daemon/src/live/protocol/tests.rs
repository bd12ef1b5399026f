//! What `protocol` promises, tried out.
