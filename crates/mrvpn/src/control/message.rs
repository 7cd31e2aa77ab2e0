//! One request in, one response out, as lines of JSON on a socket. Lengths are held here; how long it may take is the
//! server's to say, and who may is judged in [`super::caller`].

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic, clippy::expect_used)]

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::limits::{BUNDLE_LIMIT, REQUEST_LIMIT};
use super::{Request, Response};

/// A request with the bytes of its bundle; none where it has no bundle.
pub(super) struct Received {
    pub(super) request: Request,
    pub(super) bundle: Zeroizing<Vec<u8>>,
}

/// What was read of a client so far: its request's line, and what came behind it.
pub(super) struct Line {
    /// Zeroed at the end: what comes behind the line may be the beginning of a bundle with keys in it.
    bytes: Zeroizing<Vec<u8>>,
    filled: usize,
    end: usize,
}

/// Reads a request's line and nothing that it does not have to.
///
/// # Errors
/// A sentence for the client; `None` where it is gone.
pub(super) async fn line(stream: &mut UnixStream) -> Result<Line, Option<String>> {
    let mut line = Line { bytes: Zeroizing::new(vec![0; REQUEST_LIMIT]), filled: 0, end: 0 };
    loop {
        let Some(room) = line.bytes.get_mut(line.filled..).filter(|room| !room.is_empty()) else {
            return Err(Some(format!("a request is one line of at most {REQUEST_LIMIT} bytes")));
        };
        let count = stream.read(room).await.map_err(|_| None)?;
        if count == 0 {
            return Err(None);
        }
        let end = room.iter().take(count).position(|byte| *byte == b'\n');
        if let Some(end) = end {
            line.end = line.filled.saturating_add(end);
        }
        line.filled = line.filled.saturating_add(count);
        if end.is_some() {
            return Ok(line);
        }
    }
}

impl Line {
    /// What it asks.
    ///
    /// # Errors
    /// A sentence for the client.
    pub(super) fn request(&self) -> Result<Request, String> {
        let text = self.bytes.get(..self.end).unwrap_or_default();
        serde_json::from_slice(text)
            .map_err(|_| String::from("unknown request: are both programs of the same version?"))
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.end.saturating_add(1)..self.filled).unwrap_or_default()
    }
}

/// Reads the bundle that follows a line. Only for who may change things: `one` lets one client at a time fill memory.
///
/// # Errors
/// A sentence for the client; `None` where it is gone.
pub(super) async fn bundle(
    stream: &mut UnixStream,
    line: &Line,
    length: usize,
    one: &Semaphore,
) -> Result<Zeroizing<Vec<u8>>, Option<String>> {
    if length > BUNDLE_LIMIT {
        return Err(Some(format!("the files are {length} bytes together, and {BUNDLE_LIMIT} are the most")));
    }
    let early = line.rest();
    if early.len() > length {
        return Err(Some(String::from("more bytes came than the request says")));
    }
    let _alone = one.acquire().await;
    let mut bytes = Zeroizing::new(vec![0; length]);
    let (head, tail) = bytes.split_at_mut(early.len());
    head.copy_from_slice(early);
    stream.read_exact(tail).await.map_err(|_| None)?;
    Ok(bytes)
}

/// Sends a response.
///
/// # Errors
/// The client is gone.
pub(super) async fn send(stream: &mut (impl AsyncWriteExt + Unpin), response: &Response) -> std::io::Result<()> {
    stream.write_all(&encoded(response)).await
}

/// Sends what fits without waiting, for who is turned away.
pub(super) fn send_at_once(stream: &UnixStream, response: &Response) {
    // Whoever does not read it is turned away without a word.
    let _ = stream.try_write(&encoded(response));
}

fn encoded(response: &Response) -> Vec<u8> {
    let mut line = serde_json::to_vec(response).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    async fn sent(bytes: &[u8]) -> Result<Line, Option<String>> {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let write = async {
            let _ = far.write_all(bytes).await;
        };
        tokio::join!(line(&mut near), write).0
    }

    // proves: T-60
    #[test]
    fn a_request_has_64_kib_and_no_byte_more() {
        run(async {
            for length in [REQUEST_LIMIT - 1, REQUEST_LIMIT] {
                let mut request = vec![b' '; length];
                request[..20].copy_from_slice(br#"{"command":"status"}"#);
                request[length - 1] = b'\n';
                assert_eq!(sent(&request).await.ok().unwrap().request(), Ok(Request::Status), "{length}");
            }
            let mut long = vec![b' '; REQUEST_LIMIT + 1];
            long[REQUEST_LIMIT] = b'\n';
            let why = sent(&long).await.err().flatten().unwrap();
            assert!(why.contains("65536"), "{why}");
        });
    }

    #[test]
    fn a_bundle_is_as_long_as_the_request_says() {
        run(async {
            let one = Semaphore::new(1);
            let (mut near, mut far) = UnixStream::pair().unwrap();
            far.write_all(b"{\"command\":\"tunnel-add\",\"bundle\":6}\nabc").await.unwrap();
            let line = line(&mut near).await.ok().unwrap();
            assert_eq!(line.request(), Ok(Request::TunnelAdd { bundle: 6 }));
            far.write_all(b"def").await.unwrap();
            assert_eq!(bundle(&mut near, &line, 6, &one).await.unwrap().as_slice(), b"abcdef");
            assert!(matches!(bundle(&mut near, &line, 2, &one).await, Err(Some(_))), "more came than said");
            drop(far);
            assert!(matches!(bundle(&mut near, &line, 6, &one).await, Err(None)), "it is gone before the end");
        });
    }

    // proves: T-60
    #[test]
    fn a_bundle_has_64_mib_and_no_byte_more() {
        run(async {
            let one = Semaphore::new(1);
            for (length, taken) in [(BUNDLE_LIMIT - 1, true), (BUNDLE_LIMIT, true), (BUNDLE_LIMIT + 1, false)] {
                let (mut near, mut far) = UnixStream::pair().unwrap();
                far.write_all(b"{}\n").await.unwrap();
                let line = line(&mut near).await.ok().unwrap();
                let bytes = vec![b'x'; length];
                let write = async {
                    let _ = far.write_all(&bytes).await;
                };
                let read = async {
                    let read = bundle(&mut near, &line, length, &one).await;
                    drop(near);
                    read.is_ok_and(|read| read.len() == length)
                };
                assert_eq!(tokio::join!(read, write).0, taken, "{length}");
            }
        });
    }

    #[test]
    fn any_bytes_are_no_request_and_no_panic() {
        run(async {
            for bytes in [&b"\n"[..], b"\xff\xfe\n", b"{\"command\":\"fly\"}\n", b"[]\n"] {
                assert!(sent(bytes).await.ok().unwrap().request().is_err(), "{bytes:?}");
            }
        });
    }
}
