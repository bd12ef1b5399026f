//! What `graph` promises, tried out.


