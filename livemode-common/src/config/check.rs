//! The values by themselves: paths, packages, the URL, and what does not go together.
use std::path::Path;

use super::network;
use super::options::Config;
use crate::container::ContainerDir;
use crate::sysroot::SysRoot;

const URL_SCHEMES: [&str; 3] = ["http://", "https://", "ftp://"];
/// What lies in these top directories is gone after a reboot, or is no file.
const NOT_ON_DISK: [&str; 5] = ["proc", "sys", "dev", "run", "tmp"];

/// Key and fault of each value that cannot work.
pub(super) fn faults(config: &Config, root: &SysRoot) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    let mut check = |key, result: Result<(), String>| {
        if let Err(fault) = result {
            faults.push((key, fault));
        }
    };
    let (image, keys, trace) = (
        &config.squashfs_image_path,
        &config.setup_opensshd_using_auth_keys,
        &config.capture_strace_info_into,
    );
    let (url, words) = (&config.url_to_load_squashfs_image_from, &config.dracut_network);
    check("squashfs_image_path", path(image, root));
    for package in &config.additional_packages {
        check("additional_packages", package_spec(package));
    }
    for word in words.split_whitespace() {
        check("dracut_network", network::check(word));
    }
    if words.chars().any(|c| c.is_control() || c == '"') {
        check(
            "dracut_network",
            Err("holds a quote or a control character".into()),
        );
    }
    if !url.is_empty() {
        check("url_to_load_squashfs_image_from", image_url(url));
        if words.trim().is_empty() {
            let fault = "needs dracut_network, which is not set; ip=dhcp, say".to_owned();
            check("url_to_load_squashfs_image_from", Err(fault));
        }
    }
    if !keys.is_empty() {
        check("setup_opensshd_using_auth_keys", path(keys, root));
        if keys == image {
            check(
                "setup_opensshd_using_auth_keys",
                Err("is the image's own path".into()),
            );
        }
    }
    if !trace.is_empty() {
        check(
            "capture_strace_info_into",
            path(trace, root).and_then(|()| outlives_the_reboot(trace)),
        );
        for (other, what) in [(image, "the image's"), (keys, "the keys file's")] {
            if trace == other {
                check(
                    "capture_strace_info_into",
                    Err(format!("is {what} own path; choose another")),
                );
            }
        }
    }
    faults
}

fn path(path: &str, root: &SysRoot) -> Result<(), String> {
    if path.chars().any(|c| c.is_control() || c == '"') {
        return Err(format!(
            "{path:?} holds a quote or a control character, which no kernel argument can carry"
        ));
    }
    if !path.starts_with('/') {
        return Err(format!("'{path}' is not absolute"));
    }
    if path
        .split('/')
        .skip(1)
        .any(|part| matches!(part, "" | "." | ".."))
    {
        return Err(format!("'{path}' is not a normalised path of a file"));
    }
    if ContainerDir::new(root.path())
        .resolve(path)
        .is_ok_and(|at| at.is_dir())
    {
        return Err(format!("'{path}' is a directory; name a file"));
    }
    Ok(())
}

fn outlives_the_reboot(path: &str) -> Result<(), String> {
    if NOT_ON_DISK
        .iter()
        .any(|top| Path::new(path).starts_with(format!("/{top}")))
    {
        return Err(format!("'{path}' does not outlive the reboot; choose another"));
    }
    Ok(())
}

fn package_spec(package: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+:~^@/".contains(c);
    if package.is_empty() || package.starts_with('-') || !package.chars().all(plain) {
        return Err(format!("'{}' is no package name", package.escape_debug()));
    }
    Ok(())
}

fn image_url(url: &str) -> Result<(), String> {
    let rest = URL_SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme));
    let authority = rest
        .and_then(|rest| rest.split(['/', '?', '#']).next())
        .unwrap_or_default();
    let host_and_port = authority.rsplit('@').next().unwrap_or_default();
    let host = match host_and_port.strip_prefix('[') {
        Some(ipv6) => ipv6.split_once(']').map_or("", |(host, _)| host),
        None => host_and_port.split(':').next().unwrap_or_default(),
    };
    let plain = |c: char| c.is_alphanumeric() || "-._:%".contains(c);
    let sound = !url
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || c == '"');
    if host.is_empty() || !host.chars().all(plain) || !sound {
        return Err(format!(
            "'{}' is no URL that the initramfs can load; expected http://, https:// or ftp:// and a host, without blanks",
            url.escape_debug()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(change: impl FnOnce(&mut Config)) -> Vec<(&'static str, String)> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("var/lib/leapp")).unwrap();
        std::os::unix::fs::symlink("/var/lib", root.path().join("link")).unwrap();
        let mut config = Config::default();
        change(&mut config);
        faults(&config, &SysRoot::new(root.path()))
    }

    #[test]
    fn a_path_is_absolute_normalised_and_no_directory() {
        for (path, fault) in [
            ("relative", "'relative' is not absolute"),
            ("", "'' is not absolute"),
            ("/", "'/' is not a normalised path of a file"),
            ("/a//b", "'/a//b' is not a normalised path of a file"),
            ("/a/../b", "'/a/../b' is not a normalised path of a file"),
            ("/a/", "'/a/' is not a normalised path of a file"),
            ("/var/lib/leapp", "'/var/lib/leapp' is a directory; name a file"),
            ("/link/leapp", "'/link/leapp' is a directory; name a file"),
            (
                "/a\nb",
                "\"/a\\nb\" holds a quote or a control character, which no kernel argument can carry",
            ),
        ] {
            let found = found(|c| c.squashfs_image_path = path.into());
            assert_eq!(found, [("squashfs_image_path", fault.to_owned())], "{path}");
        }
        assert_eq!(found(|c| c.squashfs_image_path = "/srv/my images/x".into()), []);
    }

    #[test]
    fn a_package_is_no_option_and_nothing_for_a_shell() {
        for package in ["", "-y", "--installroot=/", "a b", "a;b", "a$b", "vim*", "a\tb"] {
            let found = found(|c| c.additional_packages = vec![package.into()]);
            assert_eq!(found[0].0, "additional_packages", "{package}");
        }
        let good = [
            "vim-enhanced",
            "gcc-c++",
            "foo-1:2.3~rc1-4.el9",
            "@core",
            "/usr/bin/vim",
            "x.x86_64",
        ];
        assert_eq!(
            found(|c| c.additional_packages = good.map(str::to_owned).to_vec()),
            []
        );
    }

    #[test]
    fn a_url_has_a_scheme_a_host_and_a_network() {
        let with = |url: &str| {
            found(|c| {
                c.url_to_load_squashfs_image_from = url.into();
                c.dracut_network = "ip=dhcp".into();
            })
        };
        for url in [
            "http://host/live.img",
            "https://user:secret@host:8443/a?b=c",
            "ftp://10.0.0.1/x",
            "http://[fe80::1]:80/x",
        ] {
            assert_eq!(with(url), [], "{url}");
        }
        for url in [
            "http://",
            "http:///x",
            "nfs://host/x",
            "host/x",
            "http://ho st/x",
            "http://host/a b",
            "http://:80/",
        ] {
            assert_eq!(with(url).len(), 1, "{url}");
        }
        let alone = found(|c| c.url_to_load_squashfs_image_from = "http://host/x".into());
        assert_eq!(
            alone,
            [(
                "url_to_load_squashfs_image_from",
                "needs dracut_network, which is not set; ip=dhcp, say".to_owned()
            )]
        );
    }

    #[test]
    fn a_trace_outlives_the_reboot_and_overwrites_nothing() {
        for (path, fault) in [
            (
                "/run/trace",
                "'/run/trace' does not outlive the reboot; choose another",
            ),
            (
                "/tmp/trace",
                "'/tmp/trace' does not outlive the reboot; choose another",
            ),
            (
                "/var/lib/leapp/live-upgrade.img",
                "is the image's own path; choose another",
            ),
            ("/root/keys", "is the keys file's own path; choose another"),
        ] {
            let found = found(|c| {
                c.capture_strace_info_into = path.into();
                c.setup_opensshd_using_auth_keys = "/root/keys".into();
            });
            assert_eq!(found, [("capture_strace_info_into", fault.to_owned())]);
        }
        assert_eq!(found(|c| c.capture_strace_info_into = "/tmpfile".into()), []);
    }

    #[test]
    fn the_keys_file_is_a_file_and_not_the_image() {
        let keys = |path: &str| found(|c| c.setup_opensshd_using_auth_keys = path.into());
        let fault = |text: &str| [("setup_opensshd_using_auth_keys", text.to_owned())];
        assert_eq!(keys("/root/.ssh/authorized_keys"), []);
        assert_eq!(keys("keys"), fault("'keys' is not absolute"));
        assert_eq!(
            keys("/var/lib/leapp/live-upgrade.img"),
            fault("is the image's own path")
        );
    }

    #[test]
    fn network_words_are_dracuts_and_nothing_for_a_shell() {
        let network = |words: &str| found(|c| c.dracut_network = words.into());
        assert_eq!(network("ip=dhcp  nameserver=8.8.8.8"), []);
        assert_eq!(network("ip=dhcp init=/bin/sh quiet").len(), 2);
        for words in ["ifname=\"eth0:52:54:00:12:34:56\"", "ip=dhcp\nbond"] {
            let fault = "holds a quote or a control character".to_owned();
            assert_eq!(network(words), [("dracut_network", fault)], "{words}");
        }
    }

    #[test]
    fn a_path_is_one_that_a_kernel_argument_can_carry() {
        for path in ["/a\"b", "/a\tb"] {
            let found = found(|c| c.squashfs_image_path = path.into());
            assert!(
                found[0].1.contains("holds a quote or a control character"),
                "{path:?}"
            );
        }
    }

    #[test]
    fn a_url_is_one_word_with_a_host_of_plain_letters() {
        for (url, sound) in [
            ("http://[fe80::1%25eth0]/x", true),
            ("http://my_host-1.example/x", true),
            ("http://bücher.example/x", true),
            ("http://ho$st/x", false),
            ("http://[fe80::1/x", false),
            ("http://host/a\"b", false),
            ("http://host/a\u{7}b", false),
            ("http://user@/x", false),
        ] {
            let found = found(|c| {
                c.url_to_load_squashfs_image_from = url.into();
                c.dracut_network = "ip=dhcp".into();
            });
            assert_eq!(found.is_empty(), sound, "{url}");
        }
    }
}
