//! One TCP stream between its connecting and its hand-over to the lane: control packets go to the session, data packets
//! that come early are kept for the lane, in order. What is not sent and not read yet is handed over with it.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mrvpn_proto::is_data;
use mrvpn_proto::stream::{Framer, frame_length};
use rustix::net::{SendFlags, send};
use tokio::net::TcpStream;

use crate::driver::lane_thread::HandedStream;

/// 64 KiB each: packets of a server that sends data before the tunnel is up, and bytes of ours that it does not take.
/// More is dropped: control packets are sent again, and data this early was never promised.
const KEPT: usize = 64 * 1024;

/// A connected stream.
pub(super) struct EarlyStream {
    stream: TcpStream,
    state: Mutex<State>,
}

/// What is on its way in it.
struct State {
    framer: Framer,
    /// Early data packets with their lengths.
    early: Vec<u8>,
    /// What the stream did not take.
    unsent: Vec<u8>,
    handed_over: bool,
}

impl EarlyStream {
    pub(super) fn new(stream: TcpStream) -> Self {
        let state = State { framer: Framer::new(KEPT), early: Vec::new(), unsent: Vec::new(), handed_over: false };
        Self { stream, state: Mutex::new(state) }
    }

    /// Sends one packet, or drops it where the stream takes nothing for long.
    pub(super) fn send(&self, packet: &[u8]) {
        let Ok(length) = frame_length(packet) else { return };
        let mut state = self.state();
        if state.unsent.len() < KEPT {
            state.unsent.extend_from_slice(&length);
            state.unsent.extend_from_slice(packet);
        }
        // An error is told by the next read as well.
        if let Ok(sent) = send(&self.stream, &state.unsent, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            state.unsent.drain(..sent);
        }
    }

    /// Waits for control packets; also says how the stream has ended, if it has.
    pub(super) async fn read(&self) -> (Vec<Vec<u8>>, Option<io::ErrorKind>) {
        loop {
            if let Err(error) = self.stream.readable().await {
                return (Vec::new(), Some(error.kind()));
            }
            let mut state = self.state();
            if state.handed_over {
                // The lane reads it now; this task is about to be ended.
                return (Vec::new(), None);
            }
            let end = match self.stream.try_read(state.framer.spare()) {
                Ok(0) => Some(io::ErrorKind::UnexpectedEof),
                Ok(length) => {
                    state.framer.filled(length);
                    None
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => Some(error.kind()),
            };
            let (packets, broken) = state.cut();
            return (packets, end.or(broken));
        }
    }

    /// The stream for the lane, with all that is on its way in it. This end reads and sends nothing afterwards.
    pub(super) fn hand_over(&self) -> Option<HandedStream> {
        let twin = self.stream.as_fd().try_clone_to_owned().ok()?;
        let mut state = self.state();
        state.handed_over = true;
        let mut unread = std::mem::take(&mut state.early);
        unread.extend_from_slice(state.framer.pending());
        Some(HandedStream { stream: twin.into(), unread, unsent: std::mem::take(&mut state.unsent) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes out the control packets that are whole and keeps data packets for later.
    fn cut(&mut self) -> (Vec<Vec<u8>>, Option<io::ErrorKind>) {
        let mut control = Vec::new();
        loop {
            let place = match self.framer.next_packet() {
                Ok(Some(place)) => place,
                Ok(None) => return (control, None),
                Err(_) => return (control, Some(io::ErrorKind::InvalidData)),
            };
            let packet = self.framer.packet(place).to_vec();
            if !packet.first().is_some_and(|first| is_data(*first)) {
                control.push(packet);
            } else if self.early.len() + packet.len() < KEPT
                && let Ok(length) = frame_length(&packet)
            {
                self.early.extend_from_slice(&length);
                self.early.extend_from_slice(&packet);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    /// A stream and its other end.
    async fn pair() -> (EarlyStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (EarlyStream::new(here), listener.accept().await.unwrap().0)
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    // proves: T-48
    #[test]
    fn lengths_that_no_packet_has_end_the_stream() {
        run(async {
            for length in [0, 9_217, u16::MAX] {
                let (early, mut server) = pair().await;
                server.write_all(&length.to_be_bytes()).await.unwrap();
                server.write_all(&[0x40; 64]).await.unwrap();
                let (packets, end) = early.read().await;
                assert_eq!((packets.len(), end), (0, Some(io::ErrorKind::InvalidData)), "{length}");
            }
        });
    }

    // proves: T-48
    #[test]
    fn a_byte_now_and_then_is_no_packet_and_holds_nothing_up() {
        run(async {
            let (early, mut server) = pair().await;
            for byte in [0, 3, 0x40, 0x41] {
                server.write_all(&[byte]).await.unwrap();
                let (packets, end) = timeout(Duration::from_secs(5), early.read()).await.unwrap();
                assert_eq!((packets.len(), end), (0, None));
            }
            server.write_all(&[0x42]).await.unwrap();
            assert_eq!(early.read().await, (vec![vec![0x40, 0x41, 0x42]], None));
        });
    }
}
