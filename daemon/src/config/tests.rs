//! What `config` promises, tried out.


