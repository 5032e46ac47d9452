//! What the operator wants, read from a native `serin.toml` or an unchanged OpenCanary file.
