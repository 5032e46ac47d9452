//! Where security teams collect what happens: search engines, log stores, collectors.

pub(crate) mod elastic;
pub(crate) mod loki;
pub(crate) mod otlp;
pub(crate) mod splunk;
