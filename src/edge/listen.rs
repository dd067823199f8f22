//! The sockets the edge listens on.
//!
//! We bind them ourselves, before anything else starts, and hand them to Pingora's services by their address. Pingora
//! would bind later, retry for half a minute when an address is taken, and never tell which port it got.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd as _;
use std::sync::Arc;

use pingora::server::{Fds, ListenFds};

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", explained(.cause))]
pub struct ListenError {
    address: SocketAddr,
    cause: io::Error,
}

fn explained(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::AddrInUse => "another program, or another patapim-edge, has it already; stop that one, or choose another address under [listen]"
            .to_owned(),
        io::ErrorKind::PermissionDenied => {
            format!("{cause}; ports below 1024 need CAP_NET_BIND_SERVICE")
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => cause.to_string(),
    }
}

/// A socket that listens already: connections queue up in the kernel until a service takes them.
#[derive(Debug)]
pub(super) struct Bound {
    listener: TcpListener,
    /// Where, with the port that was really bound.
    pub(super) address: SocketAddr,
}

/// Listens on every one of `addresses`.
pub(super) fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<Bound>, ListenError> {
    addresses.iter().map(|&address| bind(address)).collect()
}

/// Listens on `address`.
pub(super) fn bind(address: SocketAddr) -> Result<Bound, ListenError> {
    let bound = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Bound { listener, address })
    };
    bound().map_err(|cause| ListenError { address, cause })
}

impl Bound {
    /// The socket for a tokio loop of our own.
    pub(super) fn into_std(self) -> TcpListener {
        self.listener
    }
}

/// Sockets in the shape in which Pingora's services look them up, and the keys to look them up by.
pub(super) struct Handed {
    pub(super) keys: Vec<String>,
    pub(super) table: ListenFds,
}

/// Hands `sockets` over. The service that takes a socket closes it.
pub(super) fn hand_over(sockets: Vec<Bound>) -> Handed {
    let mut table = Fds::new();
    let keys = sockets.into_iter().map(|bound| {
        let key = bound.address.to_string();
        table.add(key.clone(), bound.listener.into_raw_fd());
        key
    });
    Handed { keys: keys.collect(), table: Arc::new(table.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_told_with_its_address() {
        let first = bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        assert_ne!(first.address.port(), 0);
        let error = bind(first.address).expect_err("taken").to_string();
        assert!(error.contains(&first.address.to_string()) && error.contains("has it already"), "{error}");
    }

    #[test]
    fn two_sockets_on_port_zero_are_two_sockets() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let handed = hand_over(bind_all(&[any, any]).expect("free ports"));
        assert_ne!(handed.keys[0], handed.keys[1]);
        let table = handed.table.lock();
        assert_ne!(table.get(&handed.keys[0]), table.get(&handed.keys[1]));
    }
}
