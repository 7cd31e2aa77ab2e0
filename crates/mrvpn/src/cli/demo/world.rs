//! The demo's world, made and held: places, cables, servers, and who answers there. What it looks like is
//! [`super::map`]'s; the client's tunnels are [`super::tunnels`]'s. All of it vanishes with the process, however it ends.

use std::net::Ipv4Addr;
use std::time::Duration;

use mrvpn_region::place::{End, Place, Responder};
use mrvpn_region::{Authority, Farewell, Listen, Region, RegionSpec};

use super::map::{
    CABLE_LENGTH, CLIENT, INTERNET, LAN_LENGTH, OPENVPN_PORT, PUBLIC, ROUTER, SPOTS, STOPPED, Spot, ports, within,
};
use crate::failure::Failure;

/// What a server pushes besides an address: it offers to carry everything, as the servers of most providers do.
const PUSHED: &str = "redirect-gateway def1";

/// 2 s and 10 s: a server that dies without a word is noticed while somebody watches.
const PING: Duration = Duration::from_secs(2);
const PING_RESTART: Duration = Duration::from_secs(10);

/// The world around the client, which is the calling thread's network namespace.
pub(super) struct World {
    /// Those that run, in the order of the file; `None` where one is stopped.
    servers: Vec<Option<Region>>,
    specs: Vec<RegionSpec>,
    // Whoever answers is told to stop before its place ends.
    internet: Responder,
    _answering: Vec<Responder>,
    places: Vec<Place>,
    _outside: Place,
}

impl World {
    /// Builds it around the calling thread and starts the servers.
    pub(super) fn build() -> Result<Self, Failure> {
        let outside = Place::new(INTERNET).map_err(failed)?;
        let here = End { device: String::from("eth0"), address: within(CLIENT, LAN_LENGTH) };
        outside
            .join(&here, &End { device: String::from("lan"), address: within(ROUTER, LAN_LENGTH) })
            .map_err(failed)?;
        lead_out().map_err(|error| Failure::failed(format!("giving the client a default route: {error}")))?;
        let internet = answering(&outside)?;
        let (mut places, mut answers, mut specs) = (Vec::new(), Vec::new(), Vec::new());
        for spot in &SPOTS {
            let place = Place::new(spot.name).map_err(failed)?;
            join(&place, spot)?;
            answers.push(answering(&place)?);
            places.push(place);
            specs.push(spec(spot)?);
        }
        let servers = places.iter().zip(&specs).map(|(place, spec)| started(place, spec).map(Some));
        let servers = servers.collect::<Result<Vec<_>, Failure>>()?;
        Ok(Self { servers, specs, internet, _answering: answers, places, _outside: outside })
    }

    /// A profile for each region, by name.
    pub(super) fn profiles(&self) -> Result<Vec<(&'static str, String)>, Failure> {
        let one = |(spot, spec): (&Spot, &RegionSpec)| Ok((spot.name, spec.profile("demo").map_err(failed)?));
        SPOTS.iter().zip(&self.specs).map(one).collect()
    }

    /// The address that each server says it gave to its client, in the order of the file.
    pub(super) fn given(&self) -> Vec<Option<Ipv4Addr>> {
        let only = |server: &Option<Region>| Some(server.as_ref()?.clients().first()?.address);
        self.servers.iter().map(only).collect()
    }

    /// Questions that reached `internet`, so: without a tunnel.
    pub(super) fn in_clear(&self) -> u64 {
        self.internet.asked()
    }

    /// Stops a server, which tells its clients so.
    pub(super) fn stop_server(&mut self) {
        if let Some(server) = self.servers.get_mut(STOPPED).and_then(Option::take) {
            server.stop(Farewell::Restart(String::new()));
        }
    }

    /// Starts it again.
    pub(super) fn start_server(&mut self) -> Result<(), Failure> {
        let (place, spec) = (self.places.get(STOPPED), self.specs.get(STOPPED));
        let (place, spec) = place.zip(spec).ok_or_else(|| Failure::failed("the demo has no such region"))?;
        let server = started(place, spec)?;
        if let Some(seat) = self.servers.get_mut(STOPPED) {
            *seat = Some(server);
        }
        Ok(())
    }
}

/// What the client's routes do not know goes to `internet`.
fn lead_out() -> std::io::Result<()> {
    let mut wiring = mrvpn_host::Wiring::open()?;
    wiring.bring_up("lo")?;
    wiring.add_default_route(ROUTER)
}

fn join(place: &Place, spot: &Spot) -> Result<(), Failure> {
    let here = End { device: format!("to-{}", spot.name), address: within(spot.client, CABLE_LENGTH) };
    let there = End { device: String::from("eth0"), address: within(spot.server, CABLE_LENGTH) };
    place.join(&here, &there).map_err(failed)
}

fn answering(place: &Place) -> Result<Responder, Failure> {
    place.own(PUBLIC).map_err(failed)?;
    place.respond(PUBLIC, &ports()).map_err(failed)
}

fn spec(spot: &Spot) -> Result<RegionSpec, Failure> {
    let (network, length) = spot.network;
    let address = (spot.server, OPENVPN_PORT).into();
    let authority = Authority::new().map_err(failed)?;
    Ok(RegionSpec {
        listen: vec![Listen { address, transport: spot.transport }],
        push: vec![String::from(PUSHED)],
        clients: 8,
        ping: PING,
        ping_restart: PING_RESTART,
        ..RegionSpec::new(spot.name, address, within(network, length), authority)
    })
}

fn started(place: &Place, spec: &RegionSpec) -> Result<Region, Failure> {
    let spec = spec.clone();
    place.inside(move || Region::start(spec)).map_err(failed)?.map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::failed(error.to_string())
}
