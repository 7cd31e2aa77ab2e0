//! A commented mrvpn.toml. What stands behind `# ` at the beginning of a line is what holds without it, or an example.

use std::fmt::Write;

/// One tunnel of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// Its name.
    pub(super) name: String,
    /// The profile, as it is written into the file.
    pub(super) path: String,
    /// Whether it asks for user and password.
    pub(super) asks: bool,
    /// Why the profile cannot be used.
    pub(super) refused: Option<String>,
}

/// The whole file.
pub(super) fn template(tunnels: &[Shown]) -> String {
    let mut text = String::from(HEAD);
    let usable: Vec<&Shown> = tunnels.iter().filter(|tunnel| tunnel.refused.is_none()).collect();
    for tunnel in tunnels {
        text.push_str(&table(tunnel));
    }
    if tunnels.is_empty() {
        text.push_str(EXAMPLE_TUNNEL);
    }
    text.push_str(RULES);
    for (place, tunnel) in usable.iter().enumerate() {
        text.push_str(&rule(place, &tunnel.name));
    }
    if usable.is_empty() {
        text.push_str(&rule(0, "uk"));
    }
    text.push_str(OTHER_RULES);
    text
}

fn table(tunnel: &Shown) -> String {
    let mut text = String::new();
    let off = match &tunnel.refused {
        Some(why) => {
            // Writing into a String does not fail.
            let _ = writeln!(text, "# Refused: {}", mrvpn_profile::escape(why.as_bytes()));
            "# "
        }
        None => "",
    };
    let _ = writeln!(text, "{off}[[tunnel]]");
    let _ = writeln!(text, "{off}name = {}", quoted(&tunnel.name));
    let _ = writeln!(text, "{off}profile = {}", quoted(&tunnel.path));
    if tunnel.asks && tunnel.refused.is_none() {
        let file = quoted(&format!("{}.auth", tunnel.name));
        let _ = writeln!(
            text,
            "# credentials = {file}  # user and password, two lines, mode 0600; without it you are asked"
        );
    }
    text.push('\n');
    text
}

/// An example for a tunnel; each has a network of its own, of those that are for documentation.
fn rule(place: usize, name: &str) -> String {
    let nets = ["203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24"];
    let net = nets[place % nets.len()];
    format!("# [[rule]]\n# to = [\"{net}\"]\n# via = {}\n\n", quoted(name))
}

/// A TOML string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

const HEAD: &str = r#"# What mrvpn runs. Paths are relative to this file; a line behind `# ` is off.
#
#   mrvpn check mrvpn.toml              judge it, and the profiles that it names
#   sudo mrvpn up -c mrvpn.toml         run it
#   sudo mrvpn reload                   take changes over while it runs; what did not change is not touched

# [engine]
# interface = "mrvpn0"                  # name of the interface
# strategy = "auto"                     # how tunnels appear on this machine
# establish_limit_ms = 10000            # how long a later offer of the default waits for tunnels that stand before it
# fallback = "auto"                     # what no rule and no tunnel claims: left to this machine
# lan = "allow"                         # private networks that this machine is on stay reachable
# credentials = "account.auth"          # user and password for tunnels that have none: two lines, mode 0600
# mark = "0x4d000000/0xff000000"        # mark of mrvpn's own packets, where another program uses the same
# rule_priority = 5300                  # first priority of its policy rules
# alias_pool = "198.18.0.0/15"          # network of its own addresses

# [dns]
# mode = "auto"                         # "off": never touch this machine's resolver

# Tunnels. The first that offers to carry all other traffic is the default tunnel. For any of them:
# default = true                        # be the default tunnel, whatever the server offers
# accept = ["tcp/51413"]                # let new connections from the far side in, to these ports
# strict_server = true                  # refuse a server whose certificate is not made for servers
# bypass = ["203.0.113.9"]              # where a wrapper on this machine, such as stunnel, connects to

"#;

const EXAMPLE_TUNNEL: &str = r#"# [[tunnel]]
# name = "uk"
# profile = "uk.ovpn"

"#;

const RULES: &str = "\
# Rules: the first that matches decides which way a connection takes. All keys of a rule must match; a list means any of
# its values. Remove the `# ` of one and put in what you mean.

";

const OTHER_RULES: &str = r#"# [[rule]]
# name = "printer"                      # shown by `mrvpn explain`
# to = ["192.168.50.7", "192.168.60.0/24"]
# proto = ["tcp"]                       # also "udp", "icmp", or a number
# port = [631, "9100-9102"]             # of the destination
# via = "direct"                        # past all tunnels; "block": refused
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use mrvpn_profile::config;

    fn tunnel(name: &str, path: &str) -> Shown {
        Shown { name: name.to_owned(), path: path.to_owned(), asks: true, refused: None }
    }

    #[test]
    fn the_file_is_a_configuration_whatever_the_paths_are_called() {
        let tunnels = [tunnel("uk", "uk.ovpn"), tunnel("odd", "a \"b\"\\\u{7} ü#.ovpn")];
        let parsed = config::parse(&template(&tunnels)).unwrap();
        let paths: Vec<&str> = parsed.tunnels.iter().map(|tunnel| tunnel.profile.value.as_str()).collect();
        assert_eq!(paths, ["uk.ovpn", "a \"b\"\\\u{7} ü#.ovpn"]);
        assert!(parsed.rules.is_empty());
    }

    #[test]
    fn every_line_that_is_off_can_be_turned_on() {
        let text = template(&[tunnel("uk", "uk.ovpn"), tunnel("fr", "fr.ovpn")]);
        let mut on = String::new();
        let mut per_tunnel = Vec::new();
        for line in text.lines() {
            let key = line.strip_prefix("# ").filter(|rest| rest.starts_with('[') || rest.contains(" = "));
            match key {
                Some(key) if ["default", "accept", "strict_server", "bypass"].iter().any(|k| key.starts_with(k)) => {
                    per_tunnel.push(key.to_owned());
                }
                Some(key) => on.push_str(&format!("{key}\n")),
                None => on.push_str(&format!("{line}\n")),
            }
        }
        let on = on.replacen("name = \"uk\"", &format!("name = \"uk\"\n{}", per_tunnel.join("\n")), 1);
        let parsed = config::parse(&on).unwrap_or_else(|error| panic!("{:?} {error}\n{on}", error.line));
        assert_eq!((parsed.tunnels.len(), parsed.rules.len(), per_tunnel.len()), (2, 3, 4));
        assert!(parsed.tunnels[0].default && parsed.tunnels[0].credentials.is_some());
    }

    #[test]
    fn a_refused_profile_is_off_with_its_reason() {
        let refused =
            Shown { refused: Some(String::from("line 3: `plugin` loads code\n[evil]")), ..tunnel("x", "x.ovpn") };
        let text = template(&[refused, tunnel("uk", "uk.ovpn")]);
        assert!(
            text.contains("# Refused: line 3: `plugin` loads code\\x0a[evil]\n# [[tunnel]]\n# name = \"x\"\n"),
            "{text}"
        );
        assert_eq!(config::parse(&text).unwrap().tunnels.len(), 1);
    }
}
