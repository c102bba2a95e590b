//! Where the source's sshd listens, by sshd_config(5), its environment file and its socket unit. Pure.
use std::net::IpAddr;

use crate::facts::files::sshd::{includes, SSHD_CONFIG, SSHD_OPTIONS, SSHD_SOCKET, SSHD_SOCKETS};
use crate::facts::files::Files;

const PORT: u16 = 22;
/// sshd includes to this depth (OpenSSH, servconf.c, SERVCONF_MAX_DEPTH).
const DEPTH: u32 = 16;

/// Where sshd of the live system is to listen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listen {
    /// `AddressFamily`, where the source has one.
    pub(crate) family: Option<String>,
    /// In the source's order; none stands for 22.
    pub(crate) ports: Vec<u16>,
    /// With a port each, where the source has one for it; none stands for all addresses.
    pub(crate) addresses: Vec<(String, Option<u16>)>,
}

impl Listen {
    /// What the files say.
    pub(crate) fn of(files: &Files) -> Self {
        let mut listen = Self::default();
        listen.read(files, SSHD_CONFIG, DEPTH);
        let by_command = ports_of_options(files.text(SSHD_OPTIONS).unwrap_or_default());
        if !by_command.is_empty() {
            listen.ports = by_command;
        }
        if files.get(SSHD_SOCKETS[0]).is_some() || files.get(SSHD_SOCKETS[1]).is_some() {
            listen.take_socket(files);
        }
        let mut seen = Vec::new();
        listen.ports.retain(|port| {
            let is_new = !seen.contains(port);
            seen.push(*port);
            is_new
        });
        listen
    }

    fn read(&mut self, files: &Files, path: &str, depth: u32) {
        for line in files.text(path).unwrap_or_default().lines() {
            let Some((keyword, arguments)) = directive(line) else {
                continue;
            };
            match keyword.as_str() {
                // To the end of the file: neither word is allowed in such a block.
                "match" => return,
                "include" if depth > 0 => {
                    for pattern in &arguments {
                        let included: Vec<&str> = includes(files.paths(), pattern).collect();
                        for path in included {
                            self.read(files, path, depth - 1);
                        }
                    }
                }
                "port" => self
                    .ports
                    .extend(arguments.first().and_then(|port| port.parse::<u16>().ok())),
                "addressfamily" => {
                    let value = arguments.first().map(|value| value.to_ascii_lowercase());
                    let is_known = |value: &String| ["any", "inet", "inet6"].contains(&value.as_str());
                    self.family = self.family.take().or(value.filter(is_known));
                }
                "listenaddress" => self
                    .addresses
                    .extend(arguments.first().map(|address| host_and_port(address))),
                _ => {}
            }
        }
    }

    /// With its socket unit systemd listens, and the configuration's words have no meaning.
    fn take_socket(&mut self, files: &Files) {
        let mut streams: Vec<&str> = Vec::new();
        let drop_ins = format!("{SSHD_SOCKET}.d");
        let unit = [SSHD_SOCKET, SSHD_SOCKETS[0], SSHD_SOCKETS[1]]
            .into_iter()
            .find(|path| files.text(path).is_some());
        for path in unit.into_iter().chain(files.below(&drop_ins)) {
            for line in files.text(path).unwrap_or_default().lines() {
                match line.trim().strip_prefix("ListenStream").map(str::trim_start) {
                    Some(value) if value.trim_start_matches('=').trim().is_empty() => streams.clear(),
                    Some(value) => streams.extend(value.strip_prefix('=').map(str::trim)),
                    None => {}
                }
            }
        }
        (self.ports, self.addresses) = (Vec::new(), Vec::new());
        for stream in streams {
            match (stream.parse::<u16>(), host_and_port(stream)) {
                (Ok(port), _) => self.ports.push(port),
                (_, (host, Some(port))) if host.parse::<IpAddr>().is_ok() => {
                    self.addresses.push((host, Some(port)));
                }
                _ => {}
            }
        }
    }

    /// As the live system can have it, with what is to be said of that. `has_addresses`: whether the live system has the
    /// source's addresses.
    pub(crate) fn for_live(mut self, has_addresses: bool) -> (Self, Vec<String>) {
        let mut said = Vec::new();
        let is_possible = |host: &str| has_addresses && host.parse::<IpAddr>().is_ok();
        if let Some((host, _)) = self.addresses.iter().find(|(host, _)| !is_possible(host)) {
            said.push(format!(
                "sshd of this system listens on {host}, which the live system may not have: there it listens on all addresses"
            ));
            let ports: Vec<u16> = self.addresses.iter().filter_map(|(_, port)| *port).collect();
            let all_named = self.addresses.iter().all(|(_, port)| port.is_some());
            if all_named {
                self.ports = ports;
            } else {
                self.ports = self.all_ports();
            }
            self.addresses.clear();
        }
        let ports = self.all_ports();
        if ports != [PORT] {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            said.push(format!(
                "sshd of the live system listens on port {}, as this system's does",
                ports.join(" and ")
            ));
        }
        (self, said)
    }

    /// Every port on which it listens somewhere.
    pub(crate) fn all_ports(&self) -> Vec<u16> {
        let default: &[u16] = if self.ports.is_empty() {
            &[PORT]
        } else {
            &self.ports
        };
        let mut ports: Vec<u16> =
            if self.addresses.iter().any(|(_, port)| port.is_none()) || self.addresses.is_empty() {
                default.to_vec()
            } else {
                Vec::new()
            };
        ports.extend(self.addresses.iter().filter_map(|(_, port)| *port));
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// The lines of sshd_config(5) that say so.
    pub(crate) fn lines(&self) -> String {
        let family = self
            .family
            .iter()
            .map(|family| format!("AddressFamily {family}\n"));
        let ports = self.ports.iter().map(|port| format!("Port {port}\n"));
        let addresses = self.addresses.iter().map(|(host, port)| match port {
            Some(port) if host.contains(':') => format!("ListenAddress [{host}]:{port}\n"),
            Some(port) => format!("ListenAddress {host}:{port}\n"),
            None => format!("ListenAddress {host}\n"),
        });
        family.chain(ports).chain(addresses).collect()
    }
}

/// A line's keyword in lower case, and its arguments, without quotes and comments.
pub(crate) fn directive(line: &str) -> Option<(String, Vec<String>)> {
    let line = line.trim();
    let end = line
        .find(|c: char| c.is_whitespace() || c == '=')
        .unwrap_or(line.len());
    let keyword = line[..end].to_ascii_lowercase();
    if keyword.is_empty() || keyword.starts_with('#') {
        return None;
    }
    let rest = line[end..].trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    let mut arguments = Vec::new();
    let (mut word, mut quote) = (String::new(), None);
    for c in rest.chars().chain([' ']) {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '#') if word.is_empty() => break,
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    arguments.push(std::mem::take(&mut word));
                }
            }
            (_, c) => word.push(c),
        }
    }
    Some((keyword, arguments))
}

/// `host`, `host:port`, `[host]:port`, or an address of version 6 alone.
fn host_and_port(address: &str) -> (String, Option<u16>) {
    if let Some((host, rest)) = address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (
            host.to_owned(),
            rest.strip_prefix(':').and_then(|port| port.parse().ok()),
        );
    }
    match address.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host.to_owned(), port.parse().ok()),
        _ => (address.to_owned(), None),
    }
}

/// `-p PORT`, `-o Port=PORT` of OPTIONS in sshd's environment file.
fn ports_of_options(text: &str) -> Vec<u16> {
    let value = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("OPTIONS="))
        .next_back()
        .unwrap_or_default()
        .replace(['"', '\''], " ");
    let words: Vec<&str> = value.split_whitespace().collect();
    let mut ports = Vec::new();
    let option = |word: &str| {
        let (key, value) = word.split_once('=')?;
        key.eq_ignore_ascii_case("port").then(|| value.to_owned())
    };
    for (at, word) in words.iter().enumerate() {
        let next = || words.get(at + 1).map(|next| (*next).to_owned());
        let port = match *word {
            "-p" => next(),
            "-o" => next().and_then(|next| option(&next)),
            word if word.starts_with("-p") => Some(word[2..].to_owned()),
            word if word.starts_with("-o") => option(&word[2..]),
            _ => None,
        };
        ports.extend(port.and_then(|port| port.parse::<u16>().ok()));
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Listen {
        Listen::of(&Files::of(files))
    }

    #[test]
    fn the_configuration_is_read_in_its_order() {
        for (config, lines) in [
            ("Port 2222\nListenAddress 192.0.2.10\n", "Port 2222\nListenAddress 192.0.2.10\n"),
            ("#Port 22\n  port=\"2222\" # admin\nPORT 22\nport 22\n", "Port 2222\nPort 22\n"),
            ("AddressFamily inet\nAddressFamily any\n", "AddressFamily inet\n"),
            ("ListenAddress [2001:db8::1]:2200\nListenAddress 2001:db8::2\nListenAddress 10.0.0.1:23 rdomain x\n",
             "ListenAddress [2001:db8::1]:2200\nListenAddress 2001:db8::2\nListenAddress 10.0.0.1:23\n"),
            ("Match User x\n  Port 9\nPort 10\n", ""),
            ("Port x\nListenAddress\nAddressFamily ipx\n", ""),
            ("", ""),
        ] {
            assert_eq!(of(&[(SSHD_CONFIG, config)]).lines(), lines, "{config}");
        }
    }

    #[test]
    fn what_it_includes_counts_where_it_is_included() {
        let listen = of(&[
            (
                SSHD_CONFIG,
                "Include /etc/ssh/sshd_config.d/*.conf\nPort 22\nInclude more/*\nAddressFamily inet\n",
            ),
            (
                "/etc/ssh/sshd_config.d/50-port.conf",
                "Port 2222\nMatch all\nPort 9\n",
            ),
            ("/etc/ssh/sshd_config.d/60-family.conf", "AddressFamily inet6\n"),
            ("/etc/ssh/sshd_config.d/70.bak", "Port 7\n"),
            ("/etc/ssh/more/a", "Port 2\nInclude /etc/ssh/sshd_config\n"),
        ]);
        assert_eq!(listen.family.as_deref(), Some("inet6"));
        assert_eq!(listen.ports, [2222, 22, 2]);
    }

    #[test]
    fn options_and_a_socket_unit_go_before_the_configuration() {
        let config = (SSHD_CONFIG, "Port 2222\n");
        for (options, ports) in [
            ("OPTIONS=\"-p 2022\"\n", vec![2022]),
            (
                "OPTIONS='-u0 -p2022 -o Port=2023 -oport=2024'\n",
                vec![2022, 2023, 2024],
            ),
            ("#OPTIONS=\"-p 1\"\nOPTIONS=\"-u0\"\n", vec![2222]),
        ] {
            assert_eq!(of(&[config, (SSHD_OPTIONS, options)]).ports, ports, "{options}");
        }
        let unit = (SSHD_SOCKETS[0], "[Socket]\nListenStream=22\nAccept=yes\n");
        assert_eq!(of(&[config, unit]).ports, [22]);
        let listen = of(&[
            config,
            unit,
            (
                "/etc/systemd/system/sshd.socket.d/a.conf",
                "[Socket]\nListenStream=\nListenStream = 2200\nListenStream=10.0.0.1:23\n",
            ),
        ]);
        assert_eq!(listen.lines(), "Port 2200\nListenAddress 10.0.0.1:23\n");
    }

    #[test]
    fn a_port_that_is_not_22_and_an_address_that_may_be_missing_are_told() {
        let live = |config: &str, has| of(&[(SSHD_CONFIG, config)]).for_live(has);
        assert_eq!(live("", true), (Listen::default(), vec![]));
        assert_eq!(
            live("Port 22\nListenAddress 10.0.0.1\n", true).1,
            Vec::<String>::new()
        );
        let (listen, said) = live("Port 2222\nListenAddress 192.0.2.10\n", true);
        assert_eq!(listen.lines(), "Port 2222\nListenAddress 192.0.2.10\n");
        assert_eq!(
            said,
            ["sshd of the live system listens on port 2222, as this system's does"]
        );
        for (config, has) in [
            ("ListenAddress web1:2222\n", true),
            ("ListenAddress 10.0.0.1:2222\n", false),
        ] {
            let (listen, said) = live(config, has);
            assert_eq!(listen.lines(), "Port 2222\n", "{config}");
            assert!(said[0].contains("there it listens on all addresses"), "{said:?}");
            assert!(said[1].contains("listens on port 2222"), "{said:?}");
        }
        assert_eq!(
            live("Port 2222\nListenAddress a:1\nListenAddress b\n", false)
                .0
                .ports,
            [1, 2222]
        );
        assert_eq!(
            live("Port 22\nPort 2222\n", true).1,
            ["sshd of the live system listens on port 22 and 2222, as this system's does"]
        );
    }

    #[test]
    fn a_line_is_a_keyword_and_arguments_without_quotes_and_comments() {
        let of = |keyword: &str, arguments: &[&str]| {
            let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
            Some((keyword.to_owned(), arguments))
        };
        for (line, expected) in [
            ("Port 22", of("port", &["22"])),
            (" Port=22 # admin", of("port", &["22"])),
            ("Port 22#1", of("port", &["22#1"])),
            ("Match User \"a b\" '#c'", of("match", &["User", "a b", "#c"])),
            ("# Port 22", None),
            ("#Port 22", None),
            ("= 22", None),
            ("", None),
        ] {
            assert_eq!(directive(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_no_port_of_the_network_is_passed_over() {
        let listen = of(&[(
            SSHD_SOCKETS[0],
            "[Socket]\nListenStream=/run/sshd:22\nListenStream=vsock::22\nListenStream=[::1]:23\n",
        )]);
        assert_eq!(listen.lines(), "ListenAddress [::1]:23\n");
        for options in ["-4 --port=9 x", "-o", "-p", "-o LogLevel=9 -oLogLevel=9", "-p x"] {
            assert_eq!(
                ports_of_options(&format!("OPTIONS={options}\n")),
                [0; 0],
                "{options}"
            );
        }
    }
}
