//! Where the upgrade stands.
use anyhow::Result;
use livemode_common::contract::{LEAPP_LOG, SCHEMA};
use livemode_common::records::Records;
use livemode_common::sysroot::SysRoot;
use serde_json::json;

pub(crate) fn print(source: &SysRoot, as_json: bool) -> Result<()> {
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
