//! The boot loader as it really decides: what it reads, in which order, and so what boots next. Pure, but for [`files`] and
//! [`grubenv::Grubenv::write_in_place`].
pub mod bls;
pub mod files;
pub mod grub_cfg;
pub mod grubenv;
pub mod next_boots;
pub mod own;
pub mod script;
