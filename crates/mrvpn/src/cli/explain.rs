//! `mrvpn explain`: where a flow goes and why, asked of the engine that runs. Names are looked up here, with the caller's
//! own resolver, and each address is explained. What an answer looks like for people is `explain/text.rs`.

mod destination; // what was typed
mod kernel; // what other programs take away before
mod text; // the answer for people

use std::net::{IpAddr, ToSocketAddrs};

use clap::{Args, ValueEnum};
use mrvpn_engine::{Explained, FlowQuery};

use super::answer;
use crate::control::client::{Connection, unexpected};
use crate::control::{Request, Response};
use crate::failure::Failure;
use crate::instance::Instance;
use destination::{Destination, Host};

/// IP protocol numbers.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_V6: u8 = 58;

/// 16 addresses of one name are explained.
const ADDRESSES: usize = 16;

/// Brackets would be a link in a comment.
const DESTINATION_HELP: &str =
    "Where to: a name or an address, with a port if it has one: example.org:443, 203.0.113.9, [2001:db8::1]:443";

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    /// Where to.
    #[arg(value_name = "DST[:PORT]", help = DESTINATION_HELP)]
    destination: String,

    /// The protocol [default: tcp where a port is given, else icmp]
    #[arg(long)]
    proto: Option<Proto>,

    /// The address that the program binds to, as `curl --interface` does
    #[arg(long, value_name = "IP")]
    from: Option<IpAddr>,

    /// Print JSON: a line for each address of a name
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Proto {
    Tcp,
    Udp,
    Icmp,
}

pub(super) fn run(arguments: &ExplainArguments, named: Option<&str>) -> Result<u8, Failure> {
    let destination = destination::parse(&arguments.destination)?;
    let proto = proto(arguments.proto, destination.port)?;
    let instance = Instance::to_reach(named)?;
    // Before a name is looked up: without an engine there is nothing to ask.
    let device = device_of(&instance)?;
    let addresses = addresses(&destination, arguments.from)?;
    for (place, to) in addresses.iter().enumerate() {
        let query = FlowQuery { to: *to, port: destination.port, proto: number(proto, *to), from: arguments.from };
        let explained = kernel::as_routed(ask(&instance, query)?, &query, &device);
        if arguments.json {
            answer(&serde_json::to_string(&explained).map_err(|_| unexpected())?);
        } else {
            let name = destination.name().map(|name| format!("{name} is {to}.\n")).unwrap_or_default();
            let gap = if place == 0 { "" } else { "\n" };
            answer(&format!("{gap}{name}{}", text::text(&explained)));
        }
    }
    Ok(0)
}

fn ask(instance: &Instance, query: FlowQuery) -> Result<Explained, Failure> {
    let mut connection = Connection::open(&instance.socket())?.ok_or_else(super::no_engine)?;
    let Response::Explained { explained } = connection.ask(&Request::Explain { query })? else {
        return Err(unexpected());
    };
    Ok(*explained)
}

/// The name of its interface.
fn device_of(instance: &Instance) -> Result<String, Failure> {
    let mut connection = Connection::open(&instance.socket())?.ok_or_else(super::no_engine)?;
    let Response::Status { status } = connection.ask(&Request::Status)? else { return Err(unexpected()) };
    Ok(status.interface.map(|interface| interface.name).unwrap_or_default())
}

fn proto(asked: Option<Proto>, port: Option<u16>) -> Result<Proto, Failure> {
    match (asked, port) {
        (Some(Proto::Icmp), Some(_)) => {
            Err(Failure::usage("icmp has no ports").hint("leave out the port, or ask for `--proto tcp` or `udp`"))
        }
        (Some(proto), _) => Ok(proto),
        (None, Some(_)) => Ok(Proto::Tcp),
        (None, None) => Ok(Proto::Icmp),
    }
}

const fn number(proto: Proto, to: IpAddr) -> u8 {
    match (proto, to) {
        (Proto::Tcp, _) => TCP,
        (Proto::Udp, _) => UDP,
        (Proto::Icmp, IpAddr::V4(_)) => ICMP,
        (Proto::Icmp, IpAddr::V6(_)) => ICMP_V6,
    }
}

/// The addresses that are meant, of the family of `from` where that is given.
fn addresses(destination: &Destination, from: Option<IpAddr>) -> Result<Vec<IpAddr>, Failure> {
    let mut found = match &destination.host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => looked_up(name)?,
    };
    let fits = |address: &IpAddr| from.is_none_or(|from| from.is_ipv4() == address.is_ipv4());
    found.retain(fits);
    found.truncate(ADDRESSES);
    if found.is_empty() {
        return Err(Failure::usage("`--from` is of the other family: a flow has IPv4 or IPv6 at both ends")
            .hint("leave out `--from`, or give an address of the same family"));
    }
    Ok(found)
}

fn looked_up(name: &str) -> Result<Vec<IpAddr>, Failure> {
    let failed = |why: &str| {
        Failure::failed(format!("{}: {why}", mrvpn_profile::escape(name.as_bytes())))
            .hint("check the spelling, or ask for an address: `mrvpn explain 203.0.113.9`")
    };
    let found = (name, 0).to_socket_addrs().map_err(|error| failed(&error.to_string()))?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found.map(|socket| socket.ip()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(failed("it has no address")) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(text: &str) -> Destination {
        destination::parse(text).unwrap()
    }

    #[test]
    fn the_protocol_is_tcp_where_there_is_a_port_and_icmp_has_none() {
        assert_eq!(proto(None, Some(443)), Ok(Proto::Tcp));
        assert_eq!(proto(None, None), Ok(Proto::Icmp));
        assert_eq!(proto(Some(Proto::Udp), None), Ok(Proto::Udp));
        assert_eq!(proto(Some(Proto::Icmp), Some(1)).unwrap_err().code(), 2);
        let (four, six) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]));
        assert_eq!((number(Proto::Icmp, four), number(Proto::Icmp, six)), (1, 58));
        assert_eq!((number(Proto::Tcp, six), number(Proto::Udp, four)), (6, 17));
    }

    #[test]
    fn both_ends_are_of_one_family() {
        let six = Some(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]));
        assert_eq!(addresses(&destination("192.0.2.1"), six).unwrap_err().code(), 2);
        assert_eq!(addresses(&destination("192.0.2.1"), None), Ok(vec![IpAddr::from([192, 0, 2, 1])]));
    }

    #[test]
    fn a_name_that_is_nowhere_is_an_error_with_a_mend() {
        let failure = addresses(&destination("no-such-name.invalid"), None).unwrap_err();
        assert_eq!(failure.code(), 1);
        assert!(failure.to_string().contains("no-such-name.invalid: "), "{failure}");
    }
}
