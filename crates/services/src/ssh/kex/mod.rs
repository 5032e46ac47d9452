//! Key exchange methods.
