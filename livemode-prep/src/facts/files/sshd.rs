//! The files that say where the source's sshd listens, with all that its configuration includes.
use anyhow::Result;
use livemode_common::container::ContainerDir;

use super::{Files, SSH};

pub(crate) const SSHD_CONFIG: &str = "/etc/ssh/sshd_config";
/// The environment of el's sshd.service.
pub(crate) const SSHD_OPTIONS: &str = "/etc/sysconfig/sshd";
/// An admin's socket unit of sshd; drop-ins lie beside it.
pub(crate) const SSHD_SOCKET: &str = "/etc/systemd/system/sshd.socket";
/// The links by which systemd listens in sshd's place; Debian's name is the second.
pub(crate) const SSHD_SOCKETS: [&str; 2] = [
    "/etc/systemd/system/sockets.target.wants/sshd.socket",
    "/etc/systemd/system/sockets.target.wants/ssh.socket",
];

impl Files {
    /// What says where sshd listens, with all that its configuration includes.
    pub(super) fn take_sshd(&mut self, source: &ContainerDir) -> Result<()> {
        for path in [SSHD_OPTIONS, SSHD_SOCKET, SSHD_SOCKETS[0], SSHD_SOCKETS[1]] {
            self.take(source, path, true)?;
        }
        let drop_ins = format!("{SSHD_SOCKET}.d");
        for name in source.dir_names(&drop_ins)? {
            self.take(source, &format!("{drop_ins}/{name}"), true)?;
        }
        let mut todo = vec![SSHD_CONFIG.to_owned()];
        while let Some(path) = todo.pop() {
            if self.found.contains_key(&path) {
                continue;
            }
            self.take(source, &path, true)?;
            let text = self.text(&path).unwrap_or_default().to_owned();
            for pattern in text.lines().filter_map(included).flatten() {
                let dir = pattern.rsplit_once('/').map_or("/", |(dir, _)| dir).to_owned();
                let names = source.dir_names(&dir)?;
                let paths: Vec<String> = names.iter().map(|name| format!("{dir}/{name}")).collect();
                todo.extend(includes(paths.iter().map(String::as_str), &pattern).map(str::to_owned));
            }
        }
        Ok(())
    }
}

/// The patterns of an Include line of sshd_config(5), below /etc/ssh where they are relative.
fn included(line: &str) -> Option<Vec<String>> {
    let mut words = line
        .split(|c: char| c.is_whitespace() || c == '=')
        .filter(|word| !word.is_empty());
    if !words.next()?.eq_ignore_ascii_case("include") {
        return None;
    }
    let patterns = words.map(|word| word.trim_matches('"'));
    Some(patterns.map(below_ssh).collect())
}

fn below_ssh(pattern: &str) -> String {
    if pattern.starts_with('/') {
        pattern.to_owned()
    } else {
        format!("{SSH}/{pattern}")
    }
}

/// Those of the sorted paths that a pattern of Include stands for. `*` and `?` have a meaning in its last name only.
pub(crate) fn includes<'a>(
    paths: impl Iterator<Item = &'a str> + 'a,
    pattern: &str,
) -> impl Iterator<Item = &'a str> + 'a {
    let pattern = below_ssh(pattern);
    let (dir, name) = pattern
        .rsplit_once('/')
        .map_or((String::new(), pattern.clone()), |(dir, name)| {
            (dir.to_owned(), name.to_owned())
        });
    paths.filter(move |path| {
        path.rsplit_once('/')
            .is_some_and(|(in_dir, file)| in_dir == dir && is_like(&name, file))
    })
}

/// glob(7) without brackets; a hidden file only by its own dot.
fn is_like(pattern: &str, name: &str) -> bool {
    fn rest(pattern: &[char], name: &[char]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some(('*', after)), _) => (0..=name.len()).any(|at| rest(after, &name[at..])),
            (Some(('?', after)), Some((_, names))) => rest(after, names),
            (Some((c, after)), Some((n, names))) => c == n && rest(after, names),
            _ => false,
        }
    }
    let chars = |text: &str| text.chars().collect::<Vec<char>>();
    (pattern.starts_with('.') || !name.starts_with('.')) && rest(&chars(pattern), &chars(name))
}
