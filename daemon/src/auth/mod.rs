//! Who may publish and subscribe: secrets, and what is signed with them.

pub mod jwt;
pub mod signature;
