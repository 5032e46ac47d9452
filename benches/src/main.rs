//! The load tool: plays clients at a sensor and says what became of each.

fn main() {}
