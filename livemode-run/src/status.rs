//! Where the upgrade stands.
use anyhow::Result;
use livemode_common::contract::{LEAPP_LOG, SCHEMA, SOURCE_MOUNT};
use livemode_common::failure::precondition;
use livemode_common::records::Records;
use livemode_common::sysroot::SysRoot;
use serde_json::json;

use crate::live;

pub(crate) fn print(source: &SysRoot, as_json: bool) -> Result<()> {
    let dir = source.path();
    if !dir.is_dir() || (dir == std::path::Path::new(SOURCE_MOUNT) && !live::is_mounted(dir)?) {
        return Err(precondition(format!(
            "{}; in the live system see 'systemctl --failed', in the installed one ask: livemode-prep status",
            live::not_mounted(dir)
        )));
    }
    let state = Records::of(source).state()?;
    if as_json {
        println!("{}", json!({"schema": SCHEMA, "upgrade": state}));
        return Ok(());
    }
    match state {
        Some(state) => {
            println!("upgrade   {}: {}", state.state, state.message);
            println!("attempts  {}", state.attempt);
            println!("log       {}", source.at(LEAPP_LOG).display());
        }
        None => println!("upgrade   nothing is prepared on the source system"),
    }
    Ok(())
}
