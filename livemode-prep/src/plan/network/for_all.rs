//! What of the source's network holds for all profiles: NetworkManager's main file, routes of initscripts. Pure.
use crate::facts::files::names::{NM_MAIN, STATIC_ROUTES};
use crate::facts::files::Files;
use crate::plan::findings::Findings;
use crate::plan::items::Item;

/// Read after the target's NetworkManager.conf and before the other files of conf.d (NetworkManager.conf(5)).
const FIRST: &str = "/etc/NetworkManager/conf.d/00-livemode-source.conf";

/// The source's main file in a form that the target's NetworkManager reads: plugins are the target's own, such as `ifcfg-rh`,
/// which el10 no longer has.
pub(super) fn main_file(files: &Files) -> Option<Item> {
    let text = files.text(NM_MAIN)?;
    let mut kept = String::new();
    let mut has_values = false;
    for line in text.lines().map(str::trim) {
        let key = line
            .split_once('=')
            .map(|(key, _)| key.trim().trim_end_matches(['+', '-']));
        if line.is_empty() || line.starts_with(['#', ';']) || key == Some("plugins") {
            continue;
        }
        has_values |= key.is_some();
        kept.push_str(&format!("{line}\n"));
    }
    has_values.then(|| {
        Item::file(
            FIRST,
            format!("# Of the source system's {NM_MAIN}.\n{kept}"),
            0o644,
        )
    })
}

/// Routes that initscripts set and NetworkManager does not know of.
pub(super) fn static_routes(files: &Files, findings: &mut Findings) {
    let text = files.text(STATIC_ROUTES).unwrap_or_default();
    let lines = text.lines().enumerate().filter(|(_, line)| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    });
    for (number, line) in lines {
        findings.warn(format!(
            "{STATIC_ROUTES}, line {}: NetworkManager does not read it, so the route '{}' does not come along; write it into a \
             route- file of a profile",
            number + 1,
            line.trim()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_file_goes_along_without_plugins() {
        let item = |text: &str| main_file(&Files::of(&[(NM_MAIN, text)]));
        let kept = item("# c\n[main]\nplugins=ifcfg-rh,keyfile\nno-auto-default=*\n\n[keyfile]\nunmanaged-devices += mac:a\n");
        let text = "# Of the source system's /etc/NetworkManager/NetworkManager.conf.\n[main]\nno-auto-default=*\n[keyfile]\n\
                    unmanaged-devices += mac:a\n";
        assert_eq!(kept, Some(Item::file(FIRST, text, 0o644)));
        // As el8 to el10 ship it.
        assert_eq!(item("# c\n[main]\n#plugins=keyfile,ifcfg-rh\n[logging]\n"), None);
        assert_eq!(item("[main]\nplugins = ifcfg-rh\n"), None);
        assert_eq!(main_file(&Files::default()), None);
    }

    #[test]
    fn routes_of_initscripts_are_told_by_their_lines() {
        let mut findings = Findings::default();
        let text = "# all\n\nany net 172.16.0.0/12 gw 10.0.0.254\n";
        static_routes(&Files::of(&[(STATIC_ROUTES, text)]), &mut findings);
        assert_eq!(
            findings.warnings,
            ["/etc/sysconfig/static-routes, line 3: NetworkManager does not read it, so the route 'any net 172.16.0.0/12 gw \
              10.0.0.254' does not come along; write it into a route- file of a profile"]
        );
    }
}
