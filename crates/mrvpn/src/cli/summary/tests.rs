use super::*;

#[test]
fn up_says_who_is_up_what_goes_where_and_what_to_do_next() {
    let expected = "\
uk  up  10.100.0.2  uk.example:1194/udp  41 ms
fr  up  10.101.0.2  fr.example:1194/udp  52 ms
Traffic that no rule names goes through uk (first in the file whose server offers it). The LAN 192.168.1.0/24 stays \
reachable.
Names are still asked of this machine's own resolver.
Next: mrvpn status     mrvpn explain example.org     mrvpn init > mrvpn.toml     mrvpn down";
    assert_eq!(ready_for(&samples::up(), ""), expected);
}

#[test]
fn up_names_what_failed_and_the_mend() {
    let expected = "\
uk  up          10.100.0.2  uk.example:1194/udp  41 ms
fr  connecting  -           fr.example:1194/udp
fr.ovpn: error: no-answer (no-answer): no answer from 192.0.2.101:1194 for 10 s
  hint: the server is down or blocked
  it goes on trying; next at 2026-11-22T10:00:12Z
uk: warning: any certificate of this CA can pose as the server; add `remote-cert-tls server`
Traffic that no rule names goes through uk (first in the file whose server offers it). The LAN 192.168.1.0/24 stays \
reachable. fr offers it too and takes over at `mrvpn reload`.
Conflict of address 10.100.0.2 (uk, fr): uk presented as 198.18.1.100
Names are still asked of this machine's own resolver.
Next: mrvpn status     mrvpn explain example.org     mrvpn logs fr     sudo mrvpn down";
    assert_eq!(ready_for(&samples::degraded(), "sudo "), expected);
}

#[test]
fn status_shows_everything_for_people() {
    let rates = [Rate { tunnel: String::from("uk"), rx: 12_000, tx: 0 }];
    let expected = "\
degraded, since 2026-11-22T10:00:00Z: mrvpn 0.1.0, process 4711, /etc/mrvpn/mrvpn.toml
mrvpn0 (alias, MTU 1500): 198.18.0.1/32 10.100.0.2/32 10.101.0.2/32

uk  up          10.100.0.2  uk.example:1194/udp  41 ms
    since 2026-11-22T10:00:01Z, AES-256-GCM, MTU 1448, bind 198.18.1.100, gateway 10.100.0.1, DNS 10.100.0.1
    on the interface as 198.18.1.100/32
    routes 10.0.0.0/16 10.1.0.0/16 10.2.0.0/16 10.3.0.0/16 10.4.0.0/16 10.5.0.0/16 10.6.0.0/16 10.7.0.0/16 and 2 more \
(--json shows all)
    received 1.2 MB, sent 999 bytes; now 12.0 kB/s in, 0 bytes/s out
    dropped no-flow 3
    warning: any certificate of this CA can pose as the server; add `remote-cert-tls server`

fr  connecting  -           fr.example:1194/udp
    since 2026-11-22T10:00:01Z, bind 198.18.1.101
    routes 10.101.0.0/16
    received 1.2 MB, sent 999 bytes
    fr.ovpn: error: no-answer (no-answer): no answer from 192.0.2.101:1194 for 10 s
      hint: the server is down or blocked
      it goes on trying; next at 2026-11-22T10:00:12Z

Traffic that no rule names goes through uk (first in the file whose server offers it). The LAN 192.168.1.0/24 stays \
reachable. fr offers it too and takes over at `mrvpn reload`.
Conflict of address 10.100.0.2 (uk, fr): uk presented as 198.18.1.100
Dropped, of no tunnel: malformed 2
Guard: off
Names are still asked of this machine's own resolver.";
    assert_eq!(status(&samples::degraded(), &rates), expected);
}

#[test]
fn bytes_have_three_digits_or_so() {
    let cases = [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (12_345, "12.3 kB"),
        (123_456, "123 kB"),
        (999_999, "999 kB"),
        (1_000_000, "1.0 MB"),
        (u64::MAX, "18.4 EB"),
    ];
    for (count, expected) in cases {
        assert_eq!(bytes(count), expected);
    }
}
