//! Names of remotes, resolved by the engine itself (design.md, decision 13): once traffic is captured, the host's own
//! resolver cannot be asked. This is what is asked and how an answer is judged, without I/O; the asking is
//! `driver/resolver.rs`.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};

/// 253 bytes: the longest name that DNS carries.
const NAME_LIMIT: usize = 253;
/// 16: more addresses of one name are not kept.
const ADDRESS_LIMIT: usize = 16;
/// 8: more resolvers are not asked.
const RESOLVER_LIMIT: usize = 8;

/// The addresses that a hosts file gives a name, in its order.
#[must_use]
pub fn in_hosts_file(text: &str, host: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
        if words.any(|name| name.eq_ignore_ascii_case(host)) && found.len() < ADDRESS_LIMIT {
            found.push(address);
        }
    }
    found
}

/// The resolvers that a resolv.conf names, in its order.
#[must_use]
pub fn in_resolv_conf(text: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let Some(address) = words.next().and_then(|word| word.split('%').next()?.parse().ok()) else { continue };
        if !found.contains(&address) && found.len() < RESOLVER_LIMIT {
            found.push(address);
        }
    }
    found
}

/// Which resolvers are real: those that are not stubs on this machine. `files` are the texts of the known files, the
/// best first. Where only loopback is known, that is what there is.
#[must_use]
pub fn real_resolvers(files: &[String]) -> Vec<IpAddr> {
    let mut stubs = Vec::new();
    for text in files {
        let named = in_resolv_conf(text);
        let (loopback, real): (Vec<IpAddr>, Vec<IpAddr>) = named.into_iter().partition(IpAddr::is_loopback);
        if !real.is_empty() {
            return real;
        }
        if stubs.is_empty() {
            stubs = loopback;
        }
    }
    stubs
}

/// Port 53 of a resolver.
#[must_use]
pub fn resolver_address(resolver: IpAddr) -> SocketAddr {
    SocketAddr::new(resolver, 53)
}

/// Address family of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// `A`.
    Ipv4,
    /// `AAAA`.
    Ipv6,
}

/// A question as bytes. `id` is drawn at random for each.
///
/// # Errors
/// `host` is no name that DNS can ask for.
pub fn question(host: &str, family: Question, id: u16) -> Result<Vec<u8>, String> {
    let mut message = Message::new();
    message.set_id(id).set_message_type(MessageType::Query).set_op_code(OpCode::Query).set_recursion_desired(true);
    message.add_query(query(host, family)?);
    message.to_vec().map_err(|_| "is no name that DNS can ask for".to_owned())
}

fn query(host: &str, family: Question) -> Result<Query, String> {
    if host.len() > NAME_LIMIT {
        return Err(format!("is longer than {NAME_LIMIT} bytes"));
    }
    let mut name = Name::from_ascii(host).map_err(|_| "is no name that DNS can ask for".to_owned())?;
    name.set_fqdn(true);
    let kind = match family {
        Question::Ipv4 => RecordType::A,
        Question::Ipv6 => RecordType::AAAA,
    };
    let mut query = Query::query(name, kind);
    query.set_query_class(DNSClass::IN);
    Ok(query)
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Addresses; none where the name exists without any of this family.
    Addresses(Vec<IpAddr>),
    /// The name does not exist.
    NoSuchName,
    /// The resolver cannot say; another may be asked.
    Failed,
}

/// Judges an answer; `None` where it is not the answer to this question (anyone can send a datagram).
#[must_use]
pub fn answer(bytes: &[u8], host: &str, family: Question, id: u16) -> Option<Answer> {
    let message = Message::from_vec(bytes).ok()?;
    let asked = query(host, family).ok()?;
    let fits = message.id() == id && message.message_type() == MessageType::Response;
    if !fits || message.queries() != [asked] {
        return None;
    }
    let code = message.response_code();
    Some(if code == ResponseCode::NoError {
        Answer::Addresses(addresses(&message))
    } else if code == ResponseCode::NXDomain {
        Answer::NoSuchName
    } else {
        Answer::Failed
    })
}

/// The addresses of an answer; CNAME chains are followed by the resolver, their records stand beside.
fn addresses(message: &Message) -> Vec<IpAddr> {
    let records = message.answers().iter().filter_map(|record| {
        let v4 = record.data().as_a().map(|address| IpAddr::from(address.0));
        v4.or_else(|| record.data().as_aaaa().map(|address| IpAddr::from(address.0)))
    });
    records.take(ADDRESS_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{RData, Record};

    #[test]
    fn a_hosts_file_is_read_with_comments_and_aliases() {
        let text = "127.0.0.1 localhost\n192.0.2.7 a.example  B.example # c.example\nnonsense\n2001:db8::7 b.example\n";
        let found = in_hosts_file(text, "b.EXAMPLE");
        assert_eq!(found, ["192.0.2.7".parse::<IpAddr>().unwrap(), "2001:db8::7".parse().unwrap()]);
        assert!(in_hosts_file(text, "c.example").is_empty());
    }

    #[test]
    fn a_stub_is_passed_over_for_the_real_resolvers() {
        let files =
            ["nameserver 127.0.0.53\n".to_owned(), "nameserver 192.0.2.53\nnameserver fe80::1%eth0\n".to_owned()];
        let real = real_resolvers(&files);
        assert_eq!(real, ["192.0.2.53".parse::<IpAddr>().unwrap(), "fe80::1".parse().unwrap()]);
        assert_eq!(real_resolvers(&files[..1]), ["127.0.0.53".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn only_the_answer_to_the_question_is_taken() {
        let mut message = Message::from_vec(&question("a.example", Question::Ipv4, 7).unwrap()).unwrap();
        message.set_message_type(MessageType::Response);
        let name = Name::from_ascii("a.example.").unwrap();
        message.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 1))));
        let bytes = message.to_vec().unwrap();
        let good = answer(&bytes, "a.example", Question::Ipv4, 7);
        assert_eq!(good, Some(Answer::Addresses(vec!["192.0.2.1".parse().unwrap()])));
        assert_eq!(answer(&bytes, "a.example", Question::Ipv4, 8), None);
        assert_eq!(answer(&bytes, "b.example", Question::Ipv4, 7), None);
        assert_eq!(answer(&bytes, "a.example", Question::Ipv6, 7), None);
    }
}
