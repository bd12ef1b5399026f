//! Pipeline files and daemon settings, with all their faults.
