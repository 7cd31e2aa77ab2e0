//! Packets counted by the kernel where they pass: at each server's tunnel, at "internet", and at the client's interface.
//! Each place has one nftables table `inet watch` with named counters; a packet is counted once, by the first line that fits.

use std::collections::BTreeMap;

use crate::{
    netns::Netns,
    region::{REGIONS, Region},
    scratch::Scratch,
};

/// Packets by counter, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Reads the counters of `table inet watch` in a namespace.
    ///
    /// # Panics
    /// When there is no such table.
    #[must_use]
    #[track_caller]
    pub fn read(netns: &Netns) -> Self {
        Self::read_table(netns, "watch")
    }

    /// Reads the counters of another table of family `inet`.
    ///
    /// # Panics
    /// When there is no such table.
    #[must_use]
    #[track_caller]
    pub fn read_table(netns: &Netns, table: &str) -> Self {
        let text = netns.run("nft", &["-j", "list", "counters", "table", "inet", table]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let rows = value["nftables"].as_array().cloned().unwrap_or_default();
        let counters = rows.iter().filter_map(|row| {
            let counter = row.get("counter")?;
            Some((String::from(counter["name"].as_str()?), counter["packets"].as_u64()?))
        });
        Self(counters.collect())
    }

    /// The packets of one counter.
    ///
    /// # Panics
    /// When the table has no such counter.
    #[must_use]
    #[track_caller]
    pub fn packets(&self, counter: &str) -> u64 {
        *self.0.get(counter).unwrap_or_else(|| panic!("no counter {counter:?} in {:?}", self.0))
    }
}

/// One line of a table: a counter and what it counts (nftables' words; empty for the rest).
struct Line(&'static str, String);

/// Counts what comes out of a region's tunnel: `multicast` (and broadcast), `expected` (from the client's own address),
/// `expected6` (from its own IPv6 address), `six` (other IPv6), `strange` (all else); and `outer`, what comes in for the server's port.
#[track_caller]
pub(crate) fn watch_region(netns: &Netns, region: Region, scratch: &Scratch) {
    let tunnel = "iifname \"tun0\"";
    let lines = [
        Line("multicast", format!("{tunnel} ip daddr {{ 224.0.0.0/4, 255.255.255.255 }}")),
        Line("multicast6", format!("{tunnel} ip6 daddr ff00::/8")),
        Line("expected", format!("{tunnel} ip saddr {}", region.client)),
        Line("expected6", format!("{tunnel} ip6 saddr {}", region.six.2)),
        Line("six", format!("{tunnel} meta nfproto ipv6")),
        Line("strange", String::from(tunnel)),
        Line("outer", String::from("iifname \"out\" meta l4proto { tcp, udp } th dport 1194")),
    ];
    watch(netns, &lines, scratch);
}

/// Counts what the client sends towards "internet": `outer` (to a server), `dns`, `forwarded` (of the box behind the
/// client), `multicast`, `inner_source` (an address of a tunnel or of our pools), `inner` (for a region's network),
/// `public` (for an address that the regions share), `unclaimed`, the IPv6 ones `inner_source6`, `inner6`, `public6`; `nd`,
/// `other`.
#[track_caller]
pub(crate) fn watch_internet(netns: &Netns, scratch: &Scratch) {
    let lan = "iifname \"lan\"";
    let outer = REGIONS.map(|region| region.outer).join(", ");
    let lines = [
        Line(
            "outer",
            format!("{lan} ip saddr 192.168.1.2 ip daddr {{ {outer} }} meta l4proto {{ tcp, udp }} th dport 1194"),
        ),
        Line("outer6", format!("{lan} ip6 saddr 2001:db8:1::2 ip6 daddr 2001:db8:2::/48 meta l4proto {{ tcp, udp }}")),
        Line("inner_source", format!("{lan} ip saddr {{ 10.100.0.0/14, 198.18.0.0/15 }}")),
        Line("multicast", format!("{lan} ip daddr {{ 224.0.0.0/4, 255.255.255.255 }}")),
        Line("forwarded", format!("{lan} ip saddr 192.168.50.0/24")),
        Line("dns", format!("{lan} ip daddr 192.168.1.1 udp dport 53")),
        Line("inner", format!("{lan} ip daddr 10.100.0.0/14")),
        Line("unclaimed", format!("{lan} ip daddr 203.0.113.77")),
        Line("public", format!("{lan} ip daddr {{ 203.0.113.0/24, 198.51.100.0/24 }}")),
        Line("nd", format!("{lan} icmpv6 type {{ 133, 134, 135, 136, 143 }}")),
        Line("inner_source6", format!("{lan} ip6 saddr {{ 2001:db8:100::/46, 2001:2::/48 }}")),
        Line("inner6", format!("{lan} ip6 daddr 2001:db8:100::/46")),
        Line("public6", format!("{lan} ip6 daddr 2001:db8:99::/48")),
        Line("other", String::from(lan)),
    ];
    watch(netns, &lines, scratch);
}

/// Counts what a tunnel interface of the client brings in: `tunnel`.
#[track_caller]
pub(crate) fn watch_client(netns: &Netns, scratch: &Scratch) {
    watch(netns, &[Line("tunnel", String::from("iifname \"mrvpn*\""))], scratch);
}

#[track_caller]
fn watch(netns: &Netns, lines: &[Line], scratch: &Scratch) {
    let mut text = String::from("table inet watch {\n");
    for Line(name, _) in lines {
        text += &format!("counter {name} {{ }}\n");
    }
    text += "chain watch { type filter hook prerouting priority -300; policy accept;\n";
    for Line(name, condition) in lines {
        text += &format!("{condition} counter name {name} accept\n");
    }
    netns.nft(&scratch.write("watch.nft", &(text + "}\n}\n")));
}
