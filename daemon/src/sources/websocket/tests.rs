//! What `websocket` promises, tried out.
