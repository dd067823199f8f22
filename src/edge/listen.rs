//! The sockets the edge listens on.
//!
//! They are bound before anything else starts, so that an address that is taken is told at once and with its name.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::handover::Inherited;
use super::{ListenSettings, Ready};

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

/// A socket that listens already: connections queue up in the kernel until somebody accepts them.
#[derive(Debug)]
pub(super) struct Bound {
    socket: TcpListener,
    /// Where, with the port that was really bound.
    pub(super) address: SocketAddr,
}

impl Bound {
    /// Listens on `address`.
    pub(super) fn to(address: SocketAddr) -> Result<Self, ListenError> {
        TcpListener::bind(address).and_then(Self::new).map_err(|cause| ListenError { address, cause })
    }

    fn new(socket: TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// One that another server listened on.
    pub(super) fn inherited(socket: OwnedFd) -> io::Result<Self> {
        Self::new(socket.into())
    }

    fn copy(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, address: self.address })
    }

    /// The same socket for whoever accepts on it. It listens until this and the original are both closed.
    pub(super) fn listener(&self) -> io::Result<tokio::net::TcpListener> {
        tokio::net::TcpListener::from_std(self.socket.try_clone()?)
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// All of an edge's.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) https: Vec<Bound>,
    pub(super) http: Vec<Bound>,
    pub(super) admin: Bound,
}

impl Sockets {
    /// Listens where `listen` says.
    pub(super) fn bind(listen: &ListenSettings) -> Result<Self, ListenError> {
        Self::adopt(listen, Inherited::default())
    }

    /// As [`Self::bind`], on those that another server listened on as far as they are the ones.
    pub(super) fn adopt(listen: &ListenSettings, inherited: Inherited) -> Result<Self, ListenError> {
        let Inherited { mut https, mut http, mut admin } = inherited;
        let all = |addresses: &[SocketAddr], from: &mut Vec<Bound>| {
            addresses.iter().map(|&address| take_or_bind(address, from)).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            https: all(&listen.https, &mut https)?,
            http: all(&listen.http, &mut http)?,
            admin: take_or_bind(listen.admin, &mut admin)?,
        })
    }

    /// The same once more.
    pub(super) fn copy(&self) -> io::Result<Self> {
        let all = |sockets: &[Bound]| sockets.iter().map(Bound::copy).collect::<io::Result<Vec<_>>>();
        Ok(Self { https: all(&self.https)?, http: all(&self.http)?, admin: self.admin.copy()? })
    }

    /// What a script that started the server is told.
    pub(super) fn ready(&self) -> Ready {
        let addresses = |sockets: &[Bound]| sockets.iter().map(|bound| bound.address).collect();
        Ready {
            ready: true,
            https: addresses(&self.https),
            http: addresses(&self.http),
            admin: self.admin.address,
        }
    }
}

/// Port 0 is whichever port the other server got.
fn take_or_bind(address: SocketAddr, from: &mut Vec<Bound>) -> Result<Bound, ListenError> {
    let is_it = |bound: &Bound| match address.port() {
        0 => bound.address.ip() == address.ip(),
        _ => bound.address == address,
    };
    match from.iter().position(is_it) {
        Some(at) => Ok(from.remove(at)),
        None => Bound::to(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_told_with_its_address() {
        let first = Bound::to(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        assert_ne!(first.address.port(), 0);
        let error = Bound::to(first.address).expect_err("taken").to_string();
        assert!(error.contains(&first.address.to_string()) && error.contains("has it already"), "{error}");
    }

    #[test]
    fn what_another_server_listened_on_is_taken_over_where_it_is_what_is_wanted() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let bound = || Bound::to(any).expect("a free port");
        let (https, other, admin) = (bound(), bound(), bound());
        let kept = [https.address, admin.address];
        let listen =
            ListenSettings { https: vec![kept[0]], http: vec![any], admin: any, admin_hosts: Vec::new() };
        let inherited = Inherited { https: vec![other, https], http: Vec::new(), admin: vec![admin] };
        let sockets = Sockets::adopt(&listen, inherited).expect("all there");
        assert_eq!([sockets.https[0].address, sockets.admin.address], kept);
        assert_ne!(sockets.http[0].address.port(), 0, "what was not there is bound");
    }
}
