//! User authentication (RFC 4252, 4256).
