//! One place of a small world: a network namespace with a thread in it, that other places are joined to by cables. What
//! runs in a place, a region server or a [`Responder`], is started by that thread and so is there with all its threads. It
//! knows nothing of tunnels. A place ends when it is dropped and nothing of it is left then: it has no name in the system.

mod responder; // who is asking?

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use ipnet::Ipv4Net;
use mrvpn_host::own_network::{self, NoNetwork};
use mrvpn_host::wiring::Wiring;
use thiserror::Error;

pub use responder::{REQUEST, Responder, Seen};

/// The device that every network namespace has.
const LOOPBACK: &str = "lo";

/// A place.
#[derive(Debug)]
pub struct Place {
    name: String,
    network: File,
    /// What its thread is to do; it ends when nobody can ask any more.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

type Job = Box<dyn FnOnce() + Send>;

/// One end of a cable: the device that it becomes, 15 bytes at most, and its address with the network of the cable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Name of the device.
    pub device: String,
    /// Its address.
    pub address: Ipv4Net,
}

/// Why a place cannot be made or joined.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// No network namespace.
    #[error("{place}: {source}")]
    Network {
        /// Which place.
        place: String,
        /// Why not.
        #[source]
        source: NoNetwork,
    },
    /// The system refuses a thread, a device, an address or a socket.
    #[error("{place}: {what}: {source}")]
    System {
        /// Which place.
        place: String,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// What was to be done there did not come to its end.
    #[error("{place}: its thread has ended")]
    Ended {
        /// Which place.
        place: String,
    },
}

impl Place {
    /// Makes a place with `lo` up and nothing else.
    ///
    /// # Errors
    /// The process may not make a network namespace, or the system refuses a thread.
    pub fn new(name: &str) -> Result<Self, PlaceError> {
        let (jobs, work) = mpsc::channel::<Job>();
        let (ready, made) = mpsc::channel();
        let life = move || {
            let network = arrive();
            let there = network.is_ok();
            if ready.send(network).is_ok() && there {
                work.iter().for_each(|job| job());
            }
        };
        let started = thread::Builder::new().name(format!("place-{name}")).spawn(life);
        let thread = started.map_err(|source| refused(name, "starting a thread", source))?;
        let network = made.recv().map_err(|_| PlaceError::Ended { place: String::from(name) })?;
        let network = network.map_err(|arrival| arrival.of(name))?;
        Ok(Self { name: String::from(name), network, jobs: Some(jobs), thread: Some(thread) })
    }

    /// Does something there and waits for it; threads that it starts stay there.
    ///
    /// # Errors
    /// It did not come to its end.
    pub fn inside<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, PlaceError> {
        let ended = || PlaceError::Ended { place: self.name.clone() };
        let (done, result) = mpsc::channel();
        let job: Job = Box::new(move || drop(done.send(job())));
        self.jobs.as_ref().ok_or_else(ended)?.send(job).map_err(|_| ended())?;
        result.recv().map_err(|_| ended())
    }

    /// Joins the network namespace of the calling thread to this place.
    ///
    /// # Errors
    /// A device of that name is on either side already, or the process may not.
    pub fn join(&self, here: &End, there: &End) -> Result<(), PlaceError> {
        let cable = || -> io::Result<()> {
            let mut wiring = Wiring::open()?;
            wiring.join(&here.device, &there.device, self.network.as_fd())?;
            plug(&mut wiring, here)
        };
        let what = "joining it by a cable";
        cable().map_err(|source| refused(&self.name, what, source))?;
        let there = there.clone();
        self.inside(move || plug(&mut Wiring::open()?, &there))?.map_err(|source| refused(&self.name, what, source))
    }

    /// Gives the place an address that is its own and on no cable.
    ///
    /// # Errors
    /// It has it already, or the process may not.
    pub fn own(&self, address: Ipv4Addr) -> Result<(), PlaceError> {
        let give = move || Wiring::open()?.add_address(LOOPBACK, Ipv4Net::from(address));
        self.inside(give)?.map_err(|source| refused(&self.name, "giving it an address", source))
    }

    /// Starts a [`Responder`] there that listens on `address` at each of `ports`.
    ///
    /// # Errors
    /// The place does not have the address, or a port is taken.
    pub fn respond(&self, address: Ipv4Addr, ports: &[u16]) -> Result<Responder, PlaceError> {
        let (name, ports) = (self.name.clone(), ports.to_vec());
        let started = self.inside(move || Responder::start(&name, address, &ports))?;
        started.map_err(|source| refused(&self.name, "answering at an address", source))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A job that panicked has told so by its result.
            let _ = thread.join();
        }
    }
}

/// Why a thread is not where it should be.
enum Arrival {
    Network(NoNetwork),
    System(io::Error),
}

impl Arrival {
    fn of(self, place: &str) -> PlaceError {
        match self {
            Self::Network(source) => PlaceError::Network { place: String::from(place), source },
            Self::System(source) => refused(place, "bringing lo up", source),
        }
    }
}

/// Moves the calling thread into a network namespace of its own.
fn arrive() -> Result<File, Arrival> {
    own_network::enter().map_err(Arrival::Network)?;
    Wiring::open().and_then(|mut wiring| wiring.bring_up(LOOPBACK)).map_err(Arrival::System)?;
    own_network::descriptor().map_err(Arrival::System)
}

/// One end of a cable becomes usable.
fn plug(wiring: &mut Wiring, end: &End) -> io::Result<()> {
    wiring.add_address(&end.device, end.address)?;
    wiring.bring_up(&end.device)
}

fn refused(place: &str, what: &'static str, source: io::Error) -> PlaceError {
    PlaceError::System { place: String::from(place), what, source }
}
