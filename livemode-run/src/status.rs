//! Where the upgrade stands.
use anyhow::Result;
use livemode_common::contract::{LEAPP_LOG, SOURCE_MOUNT};
use livemode_common::failure::precondition;
use livemode_common::records::{Place, Records, Standing};
use livemode_common::sysroot::SysRoot;

use crate::atomic::Layers;
use crate::live;
use crate::loader::Loader;

pub(crate) fn print(source: &SysRoot, as_json: bool) -> Result<()> {
    let dir = source.path();
    if !dir.is_dir() || (dir == std::path::Path::new(SOURCE_MOUNT) && !live::is_mounted(dir)?) {
        return Err(precondition(format!(
            "{}; in the live system see 'systemctl --failed', in the installed one ask: livemode-prep status",
            live::not_mounted(dir)
        )));
    }
    let records = Records::of(source);
    let (state, manifest) = (records.state()?, records.manifest()?);
    let standing = state.as_ref().map(|state| Standing::of(state, Place::Live));
    let boots = manifest.and_then(|manifest| Loader::of(source, &manifest)?.boots().ok());
    let layers = Layers::find().ok().flatten();
    let filled = layers.as_ref().and_then(Layers::fullest);
    if as_json {
        let percent = filled.map(|(percent, _)| percent);
        println!(
            "{}",
            Standing::to_json(state.as_ref(), Place::Live, percent, boots)
        );
        return Ok(());
    }
    match &standing {
        Some(standing) => {
            standing.lines().iter().for_each(|line| println!("{line}"));
            println!("log        {}", source.at(LEAPP_LOG).display());
        }
        None => println!("upgrade    nothing is prepared on the source system"),
    }
    if let Some((percent, mount)) = filled {
        println!("store      {percent} % full, by what was written to {mount}");
    }
    if let Some([next, after]) = boots {
        println!("next boot  {next}");
        println!("after that {after}");
    }
    Ok(())
}
