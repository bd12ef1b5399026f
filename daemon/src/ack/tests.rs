//! What `ack` promises, tried out.
