//! Side by side with the genuine servers.
