//! The ways into a house: for visitors and agents, through TLS; for the operator; and for whoever still says http.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::admin_socket::AdminSocket;
use super::agents::Agents;
use super::connection::TlsFront;
use super::handover::Passing;
use super::house::House;
use super::listen::Bound;
use super::{CertificateStore, EdgeError, Ready, Settings, admin, redirect, tls};
use crate::tunnel::{TunnelSettings, client_cert};
use crate::wire;

/// Visitors and agents, told apart by what they offer in the handshake.
pub(super) fn for_tls(
    house: &House,
    settings: &Settings,
    certificates: &Arc<CertificateStore>,
    passing: Arc<Passing>,
) -> Result<TlsFront, EdgeError> {
    let agents = Agents::new(
        house.accounts.clone(),
        house.edge.hosts.clone(),
        Arc::clone(&house.registry),
        Arc::clone(house.edge.sessions.nonces()),
        Arc::clone(&house.edge.clock),
        TunnelSettings { hello_deadline: settings.limits.handshake, ..settings.tunnel },
        Arc::clone(&house.edge.verdicts),
    );
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let for_agents = client_cert::server_config(provider, Arc::clone(certificates) as _)?;
    let for_visitors = tls::for_visitors(Arc::clone(certificates))?;
    let door = Box::new(move |stream, peer| -> BoxFuture<'static, ()> {
        let agents = Arc::clone(&agents);
        Box::pin(async move { agents.receive(stream, peer).await })
    });
    Ok(TlsFront::new(for_visitors, Arc::new(for_agents), wire::ALPN, door, passing))
}

/// Commands over the socket in the data directory, until `stop`.
pub(super) fn for_commands(
    house: &House,
    settings: &Settings,
    ready: &Ready,
    stop: &CancellationToken,
) -> Result<(), EdgeError> {
    let socket = AdminSocket::bind(&settings.data_dir)?;
    tokio::spawn(socket.serve(Arc::new(house.commands(settings, ready.clone())), stop.clone()));
    Ok(())
}

/// Numbers and health, until `stop`.
pub(super) fn for_the_operator(
    house: &House,
    settings: &Settings,
    socket: &Bound,
    stop: &CancellationToken,
) -> Result<(), EdgeError> {
    let (readiness, sessions) = (Arc::clone(&house.readiness), Arc::clone(&house.edge.sessions));
    let hosts = settings.listen.admin_hosts.clone();
    tokio::spawn(admin::serve(socket.listener()?, hosts, readiness, sessions, stop.clone()));
    Ok(())
}

/// Redirects to https, until `stop`.
pub(super) fn for_plain_http(
    house: &House,
    sockets: &[Bound],
    stop: &CancellationToken,
) -> Result<(), EdgeError> {
    for bound in sockets {
        let (hosts, entrance) = (house.edge.hosts.clone(), Arc::clone(&house.edge.entrance));
        tokio::spawn(redirect::serve(bound.listener()?, hosts, entrance, stop.clone()));
    }
    Ok(())
}
