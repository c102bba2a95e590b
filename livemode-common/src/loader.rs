//! The boot loader as it really decides: what it reads, in which order, and so what boots next. Pure, but for [`files`],
//! [`systemd_boot::files`], [`store`] and what that reads and writes.
pub mod bls;
pub mod efivars;
pub mod files;
pub mod grub_cfg;
pub mod grubenv;
pub mod menu;
pub mod next_boots;
pub mod own;
pub mod script;
pub mod store;
pub mod systemd_boot;
