//! Network profiles of the source, as the live system needs them.
pub(crate) mod ifcfg;
