//! What a client gets once the owner lets it in: the data channel is agreed, the push is put together and cut into
//! messages (openvpn-protocol.md sections 5.5, 7.2, 8.1 and 8.2; OpenVPN `push.c`, `ssl_ncp.c`). What may be in it the
//! owner knows; this file adds what the session itself negotiates.

use mrvpn_clock::Moment;
use mrvpn_profile::Cipher;

use super::abilities::Abilities;
use super::client::{Client, Phase};
use super::config::ServerConfig;
use super::event::{ClientId, Gone, Push, ServerEvent};
use super::negotiation::Step;
use super::renewal::Renewals;
use super::shared::Shared;
use crate::data::DataKeys;
use crate::ids::PeerId;
use crate::limits;
use crate::peer_info::iv_proto;
use crate::wrapping::Side;

/// What was agreed, once, for every key of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) cipher: Cipher,
    pub(super) peer_id: PeerId,
    /// Keys come from the TLS exporter.
    pub(super) exporter: bool,
    /// Renegotiations have dynamic tls-crypt.
    dynamic_wrap: bool,
}

impl Agreed {
    /// The best that both sides can.
    fn negotiate(config: &ServerConfig, abilities: &Abilities, id: ClientId) -> Option<Self> {
        Some(Self {
            cipher: abilities.choose(&config.ciphers)?,
            peer_id: id.peer_id(),
            exporter: config.exporter && abilities.can(iv_proto::TLS_KEY_EXPORT),
            dynamic_wrap: config.dynamic_wrap && abilities.can(iv_proto::DYN_TLS_CRYPT),
        })
    }

    /// What whole messages say; where they name no cipher it is the server's first.
    fn read(config: &ServerConfig, messages: &[String], id: ClientId) -> Option<Self> {
        let items = || messages.iter().flat_map(|message| message.split(','));
        let value = |name: &str| items().find_map(|item| item.strip_prefix(name)?.strip_prefix(' '));
        let says = |word: &str| items().any(|item| item.split(' ').any(|part| part == word));
        let peer_id = value("peer-id").and_then(|number| number.parse().ok()).and_then(PeerId::new);
        Some(Self {
            cipher: value("cipher").and_then(Cipher::by_name).or_else(|| config.ciphers.first().copied())?,
            peer_id: peer_id.unwrap_or_else(|| id.peer_id()),
            exporter: says("tls-ekm"),
            dynamic_wrap: says("dyn-tls-crypt"),
        })
    }

    /// The options by which the client learns of it.
    fn options(self, config: &ServerConfig, abilities: &Abilities) -> Vec<String> {
        let mut options = vec![format!("peer-id {}", self.peer_id)];
        if abilities.takes_cipher {
            options.push(format!("cipher {}", self.cipher.name()));
        }
        let flags = [
            (abilities.can(iv_proto::CC_EXIT_NOTIFY), "cc-exit"),
            (self.exporter, "tls-ekm"),
            (self.dynamic_wrap, "dyn-tls-crypt"),
        ];
        let flags: Vec<&str> = flags.iter().filter(|(on, _)| *on).map(|(_, flag)| *flag).collect();
        if abilities.can(iv_proto::CC_EXIT_NOTIFY) {
            options.push(format!("protocol-flags {}", flags.join(" ")));
        } else if self.exporter {
            // Clients from before the flags.
            options.push(String::from("key-derivation tls-ekm"));
        }
        if let Some(mtu) = config.tun_mtu.filter(|_| abilities.takes_mtu) {
            options.push(format!("tun-mtu {mtu}"));
        }
        options
    }
}

impl Client {
    /// The owner lets the client in: it gets its push or, later, its new key.
    pub(super) fn admit(&mut self, shared: &mut Shared, push: Push, now: Moment) {
        if self.current.step != Step::Login {
            return;
        }
        match self.phase {
            Phase::Handshake { asked } => {
                self.current.step = Step::Admitted;
                let unasked = shared.config.unasked_push && self.abilities.can(iv_proto::REQUEST_PUSH);
                if asked || unasked {
                    self.push(shared, &push, now);
                } else {
                    self.phase = Phase::Push(push);
                }
            }
            Phase::Up(..) => {
                self.current.step = Step::Admitted;
                if self.current.channel.is_quiet() {
                    self.finish_renewal(shared, now);
                }
            }
            Phase::Push(_) | Phase::Pushed(..) | Phase::Closing { .. } | Phase::Gone(_) => {}
        }
    }

    pub(super) fn take_push_request(&mut self, shared: &mut Shared, now: Moment) {
        match &mut self.phase {
            Phase::Handshake { asked } => *asked = true,
            Phase::Push(push) => {
                let push = std::mem::take(push);
                self.push(shared, &push, now);
            }
            // Repeated ones are not answered: the push itself is repeated until it arrives.
            Phase::Pushed(..) | Phase::Up(..) | Phase::Closing { .. } | Phase::Gone(_) => {}
        }
    }

    fn push(&mut self, shared: &mut Shared, push: &Push, now: Moment) {
        let config = &shared.config;
        let agreed = match &push.whole {
            Some(messages) => Agreed::read(config, messages, self.id),
            None => Agreed::negotiate(config, &self.abilities, self.id),
        };
        let Some(agreed) = agreed else { return self.refuse_ciphers(now) };
        let messages = match &push.whole {
            Some(messages) => messages.clone(),
            None => messages([push.options.clone(), agreed.options(config, &self.abilities)].concat()),
        };
        let block = match self.key_block(&agreed, shared) {
            Ok(block) => block,
            Err(error) => return self.leave(Gone::Tls(error), now),
        };
        let wall = shared.wall(now);
        if agreed.dynamic_wrap {
            let made = self.wrappers.make_dynamic(self.current.channel.tls(), &self.wrap, Side::Server, wall);
            if let Err(error) = made {
                return self.leave(Gone::Tls(error), now);
            }
        }
        messages.iter().for_each(|message| self.say(message.as_bytes()));
        let key_id = self.current.channel.key_id();
        let keys = DataKeys::new(&block, Side::Server, agreed.cipher, key_id, agreed.peer_id);
        self.tell(shared, ServerEvent::Keys(Box::new(keys)));
        self.current.step = Step::Done;
        self.phase = Phase::Pushed(agreed, Renewals::new(key_id, shared, now));
    }

    fn refuse_ciphers(&mut self, now: Moment) {
        self.say(b"AUTH_FAILED,Data channel cipher negotiation failed (no shared cipher)");
        self.leave(Gone::NoSharedCipher, now);
    }

    /// The push has arrived.
    pub(super) fn come_up(&mut self, shared: &mut Shared, now: Moment) {
        let Phase::Pushed(agreed, renewals) = &self.phase else { return };
        let (agreed, renewals) = (*agreed, *renewals);
        self.phase = Phase::Up(agreed, renewals);
        self.heard(now);
        self.tell(shared, ServerEvent::Up);
    }
}

/// Cuts options into messages that every client takes. An option too long for one goes alone.
fn messages(options: Vec<String>) -> Vec<String> {
    const BEGIN: &str = "PUSH_REPLY";
    const CONTINUATION: usize = ",push-continuation 2".len() + 1;
    let mut parts = vec![String::from(BEGIN)];
    for option in options {
        let last = parts.last_mut().expect("there is one from the start");
        if last.len() > BEGIN.len() && last.len() + 1 + option.len() + CONTINUATION > limits::PUSH_MESSAGE {
            parts.push(format!("{BEGIN},{option}"));
        } else {
            last.push(',');
            last.push_str(&option);
        }
    }
    if let [others @ .., last] = parts.as_mut_slice()
        && !others.is_empty()
    {
        others.iter_mut().for_each(|part| part.push_str(",push-continuation 2"));
        last.push_str(",push-continuation 1");
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_push_is_one_message() {
        assert_eq!(messages(vec![]), ["PUSH_REPLY"]);
        assert_eq!(
            messages(vec![String::from("ping 10"), String::from("peer-id 0")]),
            ["PUSH_REPLY,ping 10,peer-id 0"]
        );
    }

    #[test]
    fn a_long_push_is_cut_between_options_and_nothing_of_it_is_lost() {
        let options: Vec<String> = (0..200).map(|net| format!("route 10.{net}.0.0 255.255.0.0")).collect();
        let parts = messages(options.clone());
        assert!(parts.len() > 5);
        assert!(parts.iter().all(|part| part.len() < limits::PUSH_MESSAGE && part.starts_with("PUSH_REPLY,")));
        let (last, others) = parts.split_last().unwrap();
        assert!(last.ends_with(",push-continuation 1"));
        assert!(others.iter().all(|part| part.ends_with(",push-continuation 2")));
        let read: Vec<&str> =
            parts.iter().flat_map(|part| part.split(',')).filter(|item| item.starts_with("route")).collect();
        assert_eq!(read, options);
    }

    #[test]
    fn messages_grow_to_1024_bytes_with_their_nul_and_no_further() {
        for (len, parts) in [(1_024 - 11 - 21, 1), (1_024 - 11 - 20, 2)] {
            let room = len - "ping 10,".len();
            assert_eq!(messages(vec![String::from("ping 10"), "x".repeat(room)]).len(), parts, "{len}");
        }
    }
}
