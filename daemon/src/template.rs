//! `{{type}}`: texts compiled once and rendered per event.
