//! Numbered data packets both ways over a pair, and which of them never arrived.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::pair::Pair;

/// Each side's numbered packets, and which of them arrived.
#[derive(Default)]
pub(crate) struct Traffic {
    sent: u32,
    at_server: BTreeSet<u32>,
}

impl Traffic {
    /// One packet each way, then 20 ms.
    pub(crate) fn step(&mut self, pair: &mut Pair, patience: Duration) {
        pair.client.heard(pair.now);
        self.sent += 1;
        let number = self.sent.to_be_bytes();
        pair.send_data(&number);
        pair.server.send_packet(&number, patience, pair.now);
        pair.run_until(Duration::from_millis(20), |_| false);
        self.at_server.extend(std::iter::from_fn(|| pair.server.poll_packet()).map(|packet| number_of(&packet)));
    }

    /// Waits for the last packets; returns which ones never came to the server, and to the client.
    pub(crate) fn finish(&mut self, pair: &mut Pair) -> (Vec<u32>, Vec<u32>) {
        pair.run_until(Duration::from_secs(1), |_| false);
        self.at_server.extend(std::iter::from_fn(|| pair.server.poll_packet()).map(|packet| number_of(&packet)));
        let at_client: BTreeSet<u32> =
            pair.lane.as_ref().unwrap().packets.iter().map(|(_, packet)| number_of(packet)).collect();
        let missing = |got: &BTreeSet<u32>| (1..=self.sent).filter(|number| !got.contains(number)).collect();
        (missing(&self.at_server), missing(&at_client))
    }
}

fn number_of(packet: &[u8]) -> u32 {
    u32::from_be_bytes(packet.try_into().unwrap())
}
