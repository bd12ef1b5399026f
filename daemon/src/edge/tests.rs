//! What `edge` promises, tried out.
