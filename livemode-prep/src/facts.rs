//! What is read and asked, before anything is decided. Each fact is a plain value.
pub(crate) mod leapp;
pub(crate) mod source;
pub(crate) mod storage;
pub(crate) mod userspace;
