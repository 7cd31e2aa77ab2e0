//! The region server: the server half of `mrvpn-proto` made runnable, with sockets, threads and a TUN. It is a tool for
//! demos, tests and benchmarks and no server for the open net: it has no management, no log of who used it and no limits
//! on what a client may cost.
