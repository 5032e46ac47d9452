//! Binary packets (RFC 4253 section 6).
