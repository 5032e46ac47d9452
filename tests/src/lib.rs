//! What the end-to-end tests stand on: a running Serin with free ports in a folder of its own.
