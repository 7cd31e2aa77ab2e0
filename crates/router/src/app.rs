//! Whose a flow is: the program, as far as the platform tells, and who takes a share of the flow table for it. Who is over
//! its share is `flow_table.rs`'s matter; when the platform is asked at all is `questions.rs`'s.

use std::net::IpAddr;

use crate::TunnelId;

/// A program of the host, as the kernel knows the owner of a socket. Two programs of one user in one control group are one
/// app here: a desktop and a service manager give each a group of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AppId {
    /// The user.
    pub uid: u32,
    /// The control group's number (`INET_DIAG_CGROUP_ID`, linux/inet_diag.h); 0 where the kernel has none.
    pub cgroup: u64,
}

/// Who a flow counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// A program of this host.
    App(AppId),
    /// The host at this address, where nobody knows the program: forwarded packets, echoes, sockets that are gone.
    Address(IpAddr),
    /// The far side of a tunnel, for what `accept` lets in: a server's flood takes nothing from the other tunnels.
    Tunnel(TunnelId),
}
