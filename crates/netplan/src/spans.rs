//! Sets of addresses as ranges that neither meet nor touch: what many prefixes, some inside others, come to. It is what a
//! firewall's set holds. Which addresses, and what happens to them, is [`crate::fence`]'s; prefixes as routes have them
//! stay prefixes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Addresses of both families.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Spans {
    v4: Vec<Span>,
    v6: Vec<Span>,
}

/// First and last address as numbers.
type Span = (u128, u128);

impl Spans {
    /// The addresses of any of these prefixes.
    #[must_use]
    pub fn of(nets: impl IntoIterator<Item = IpNet>) -> Self {
        Self::of_longest(nets.into_iter().map(|net| (net, true)))
    }

    /// The addresses whose longest prefix among these comes with `true`. A prefix comes once.
    #[must_use]
    pub fn of_longest(answers: impl IntoIterator<Item = (IpNet, bool)>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (net, inside) in answers {
            let of_family = if matches!(net, IpNet::V4(_)) { &mut v4 } else { &mut v6 };
            of_family.push(Nested { first: number(net.network()), last: number(net.broadcast()), inside });
        }
        Self { v4: flatten(v4), v6: flatten(v6) }
    }

    /// Whether it has `address`.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (spans, wanted) = (self.of_family(address.is_ipv4()), number(address));
        let after = spans.partition_point(|(first, _)| *first <= wanted);
        after.checked_sub(1).and_then(|place| spans.get(place)).is_some_and(|(_, last)| wanted <= *last)
    }

    /// The addresses that both have.
    #[must_use]
    pub fn both(&self, other: &Self) -> Self {
        Self { v4: common(&self.v4, &other.v4), v6: common(&self.v6, &other.v6) }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// How many ranges there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len().saturating_add(self.v6.len())
    }

    /// First and last address of each range, IPv4 first, in order.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        let v4 = self.v4.iter().map(|span| both_ends(*span, v4_address));
        v4.chain(self.v6.iter().map(|span| both_ends(*span, v6_address)))
    }

    fn of_family(&self, v4: bool) -> &[Span] {
        if v4 { &self.v4 } else { &self.v6 }
    }
}

/// Long sets are only counted: plans are logged as they are.
impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 16;
        if self.len() > SHOWN {
            return write!(f, "({} ranges)", self.len());
        }
        f.debug_list().entries(self.iter().map(|(first, last)| format!("{first}-{last}"))).finish()
    }
}

/// A prefix with its answer. Of two, one lies in the other or they do not meet.
struct Nested {
    first: u128,
    last: u128,
    inside: bool,
}

/// From the outermost to the innermost, and from the lowest to the highest address, each address is decided once.
fn flatten(mut nested: Vec<Nested>) -> Vec<Span> {
    nested.sort_by_key(|one| (one.first, std::cmp::Reverse(one.last)));
    let (mut spans, mut around) = (Joined::default(), Vec::<Nested>::new());
    for one in nested {
        while let Some(done) = around.pop_if(|outer| outer.last < one.first) {
            spans.decide_up_to(done.last, done.inside);
        }
        match (around.last(), one.first.checked_sub(1)) {
            (Some(outer), Some(before)) => spans.decide_up_to(before, outer.inside),
            (None, Some(before)) => spans.decide_up_to(before, false),
            (_, None) => {}
        }
        around.push(one);
    }
    while let Some(done) = around.pop() {
        spans.decide_up_to(done.last, done.inside);
    }
    spans.spans
}

/// Ranges in order; what touches is joined.
#[derive(Default)]
struct Joined {
    spans: Vec<Span>,
    /// The last address that is decided.
    decided: Option<u128>,
}

impl Joined {
    /// Every address up to `last` that is not decided yet is in, or is not.
    fn decide_up_to(&mut self, last: u128, inside: bool) {
        let first = match self.decided {
            Some(decided) if decided >= last => return,
            Some(decided) => decided.saturating_add(1),
            None => 0,
        };
        self.decided = Some(last);
        if !inside {
            return;
        }
        match self.spans.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(first) => *end = last,
            Some(_) | None => self.spans.push((first, last)),
        }
    }
}

fn common(one: &[Span], other: &[Span]) -> Vec<Span> {
    let (mut ones, mut others) = (one.iter().peekable(), other.iter().peekable());
    let mut spans = Vec::new();
    while let (Some((first, last)), Some((other_first, other_last))) = (ones.peek(), others.peek()) {
        let (begin, end) = (*first.max(other_first), *last.min(other_last));
        if begin <= end {
            spans.push((begin, end));
        }
        if last <= other_last {
            ones.next()
        } else {
            others.next()
        };
    }
    spans
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn both_ends((first, last): Span, address: fn(u128) -> IpAddr) -> (IpAddr, IpAddr) {
    (address(first), address(last))
}

fn v4_address(number: u128) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)))
}

fn v6_address(number: u128) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from_bits(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn check(answers: &[(&str, bool)], expected: &[&str]) {
        let spans = Spans::of_longest(answers.iter().map(|(text, inside)| (net(text), *inside)));
        let shown: Vec<String> = spans.iter().map(|(first, last)| format!("{first}-{last}")).collect();
        assert_eq!(shown, expected, "{answers:?}");
    }

    #[test]
    fn the_longest_prefix_decides_and_neighbours_are_joined() {
        check(&[], &[]);
        check(&[("0.0.0.0/0", true)], &["0.0.0.0-255.255.255.255"]);
        check(&[("::/0", true)], &["::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]);
        check(
            &[("0.0.0.0/0", true), ("192.168.1.0/24", false), ("192.168.1.7/32", true), ("224.0.0.0/4", false)],
            &[
                "0.0.0.0-192.168.0.255",
                "192.168.1.7-192.168.1.7",
                "192.168.2.0-223.255.255.255",
                "240.0.0.0-255.255.255.255",
            ],
        );
        check(
            &[("10.0.0.0/24", true), ("10.0.1.0/24", true), ("10.0.3.0/24", true)],
            &["10.0.0.0-10.0.1.255", "10.0.3.0-10.0.3.255"],
        );
        check(&[("255.255.255.255/32", false), ("128.0.0.0/1", true)], &["128.0.0.0-255.255.255.254"]);
        check(&[("255.255.255.255/32", true), ("128.0.0.0/1", false)], &["255.255.255.255-255.255.255.255"]);
        check(
            &[("ffff::/16", false), ("::/0", true), ("10.0.0.0/8", true)],
            &["10.0.0.0-10.255.255.255", "::-fffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
        );
    }

    #[test]
    fn what_two_have_in_common_is_what_each_has() {
        let one = Spans::of(["10.0.0.0/8", "192.168.0.0/16", "::/1"].map(net));
        let other = Spans::of(
            ["10.1.0.0/16", "10.3.0.0/16", "0.0.0.0/5", "192.168.255.0/24", "192.169.0.0/16", "7000::/4"].map(net),
        );
        let both = one.both(&other);
        assert_eq!(both, other.both(&one));
        assert_eq!(both, Spans::of(["10.1.0.0/16", "10.3.0.0/16", "192.168.255.0/24", "7000::/4"].map(net)));
        assert!(both.contains("10.3.9.9".parse().unwrap()) && !both.contains("10.2.9.9".parse().unwrap()));
        assert!(!both.contains("::ffff:10.3.9.9".parse().unwrap()), "an IPv4 address in IPv6 is another");
        assert!(one.both(&Spans::default()).is_empty());
    }

    #[test]
    fn many_are_counted_and_few_are_shown() {
        assert_eq!(format!("{:?}", Spans::of([net("10.0.0.0/31")])), "[\"10.0.0.0-10.0.0.1\"]");
        let many = Spans::of((0..17).map(|n| net(&format!("10.{n}.0.0/24"))));
        assert_eq!((many.len(), format!("{many:?}")), (17, String::from("(17 ranges)")));
    }
}
