//! Whether packets of claimed flows leave the client in clear, decided by the kernel in the order in which packets pass: from
//! the first outer datagram on (capture stands before the first dial) each such packet counts as leaked, until the test says
//! that the client lets go. What else passes is [`crate::Counters`]'.

use crate::{
    netns::Netns,
    region::REGIONS,
    scratch::Scratch,
    world::{CLIENT, World},
};

/// The table at "internet", behind the client's one physical link.
#[derive(Debug)]
pub struct ClearWatch<'a> {
    internet: &'a Netns,
    scratch: &'a Scratch,
}

/// Packets by class since the watch was set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleared {
    /// Of claimed flows, while nothing was promised yet: they show that the watch sees them.
    pub early: u64,
    /// Of claimed flows, while capture stood.
    pub leaked: u64,
    /// With a tunnel's address or one of our pools as source: never, at any time.
    pub forged: u64,
    /// The same by IPv6 while nothing is promised: Linux lets a socket go on sending from an IPv6 address that the host no
    /// longer has, and so FINs of connections through a tunnel may follow after `down`.
    pub orphaned: u64,
    /// To servers.
    pub outer: u64,
    /// The leaked and forged ones: source, destination, protocol, source port.
    pub which: String,
}

impl<'a> ClearWatch<'a> {
    /// Watches for packets to these prefixes of either family.
    ///
    /// # Panics
    /// When the table cannot be made.
    #[must_use]
    #[track_caller]
    pub fn new(world: &'a World, claimed: &[&str]) -> Self {
        let this = Self { internet: &world.internet, scratch: &world.scratch };
        this.load(&table(claimed));
        this
    }

    /// From the next outer datagram on, nothing claimed may pass.
    #[track_caller]
    pub fn expect_closed_from_the_first_dial(&self) {
        self.load("add element inet clear gate { \"lan\" }\n");
    }

    /// From now on, nothing claimed may pass.
    #[track_caller]
    pub fn expect_closed_now(&self) {
        self.load("add element inet clear gate { \"lan\" }\nadd element inet clear armed { \"lan\" }\n");
    }

    /// From now on, everything may pass.
    #[track_caller]
    pub fn expect_nothing(&self) {
        // One after another: a packet under way between the two lines of one change would arm it again.
        self.load("flush set inet clear gate\n");
        self.load("flush set inet clear armed\n");
    }

    /// Whether nothing claimed may pass.
    #[must_use]
    #[track_caller]
    pub fn is_armed(&self) -> bool {
        self.internet.run("nft", &["list", "set", "inet", "clear", "armed"]).contains("elements")
    }

    /// What has passed.
    ///
    /// # Panics
    /// When the table is gone.
    #[must_use]
    #[track_caller]
    pub fn read(&self) -> Cleared {
        let text = self.internet.run("nft", &["list", "table", "inet", "clear"]);
        let count = |name: &str| {
            let (_, rest) = text.split_once(&format!("counter {name} {{")).unwrap_or_default();
            let mut words = rest.split_whitespace().skip_while(|word| *word != "packets");
            words.nth(1).and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no counter {name}:\n{text}"))
        };
        let which = text.split("set seen").skip(1).filter_map(|set| {
            let set = set.split_once("chain").map_or(set, |(set, _)| set);
            Some(set.split_once("elements = {")?.1.split_once('}')?.0)
        });
        Cleared {
            early: count("early"),
            leaked: count("leaked"),
            forged: count("forged"),
            orphaned: count("orphaned"),
            outer: count("outer"),
            which: which.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" "),
        }
    }

    #[track_caller]
    fn load(&self, text: &str) {
        self.internet.nft(&self.scratch.write("clear.nft", text));
    }
}

fn table(claimed: &[&str]) -> String {
    let of_family =
        |six: bool| claimed.iter().filter(|prefix| prefix.contains(':') == six).copied().collect::<Vec<_>>();
    let (four, six) = (of_family(false).join(", "), of_family(true).join(", "));
    let outer = REGIONS.map(|region| region.outer).join(", ");
    let mut rules = format!(
        "iifname != \"lan\" return
         ip saddr {CLIENT} ip daddr {{ {outer} }} meta l4proto {{ tcp, udp }} th dport 1194 counter name outer jump dialled
         ip saddr {{ 10.100.0.0/14, 198.18.0.0/15 }} jump forged4
         ip6 saddr {{ 2001:db8:100::/46, 2001:2::/48 }} jump forged6\n"
    );
    for (word, family, prefixes) in [("ip", 4, four), ("ip6", 6, six)] {
        if !prefixes.is_empty() {
            rules += &format!("{word} daddr {{ {prefixes} }} jump claimed{family}\n");
        }
    }
    let claimed = |word: &str, family: u8| {
        format!(
            "set seen{family} {{ type ipv{family}_addr . ipv{family}_addr . inet_proto . inet_service; flags dynamic; size 4096; }}
             set seen_other{family} {{ type ipv{family}_addr . ipv{family}_addr . inet_proto; flags dynamic; size 4096; }}
             chain which{family} {{
                 meta l4proto != {{ tcp, udp }} add @seen_other{family} {{ {word} saddr . {word} daddr . meta l4proto }}
                 meta l4proto {{ tcp, udp }} add @seen{family} {{ {word} saddr . {word} daddr . meta l4proto . th sport }}
             }}
             chain forged{family} {{
                 {}
                 counter name forged jump which{family}
                 accept
             }}
             chain claimed{family} {{
                 iif != @armed counter name early return
                 counter name leaked jump which{family}
             }}\n",
            if family == 6 { "iif != @armed counter name orphaned accept" } else { "" }
        )
    };
    format!(
        "table inet clear {{
             counter early {{ }}
             counter leaked {{ }}
             counter forged {{ }}
             counter orphaned {{ }}
             counter outer {{ }}
             set gate {{ type iface_index; }}
             set armed {{ type iface_index; flags dynamic; size 16; }}
             chain dialled {{ iif @gate add @armed {{ iif }}
             }}
             {}{}
             chain watch {{ type filter hook prerouting priority -290; policy accept;
                 {rules}
             }}
         }}\n",
        claimed("ip", 4),
        claimed("ip6", 6),
    )
}
