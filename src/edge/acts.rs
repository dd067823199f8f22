//! What visitors do on tunnels, on its way to the audit trail and to the numbers.

use std::net::IpAddr;

use super::Edge;
use crate::access::{Permit, Redeemed, Refused};
use crate::metrics::{TokenCheck, metrics};
use crate::names::TunnelId;
use crate::trail::{Act, By, Event, TrailError};

/// A token opened a session, which is good for nothing before this is written down.
///
/// A browser whose answer was lost, perhaps with the server and its line, repeats the link: as long as the session was
/// never used, its opening may not have been written.
pub(super) async fn session_opened(
    edge: &Edge,
    tunnel: &TunnelId,
    redeemed: &Redeemed,
    client: IpAddr,
) -> Result<(), TrailError> {
    let session = &redeemed.session;
    metrics().token_check(if redeemed.first { TokenCheck::Ok } else { TokenCheck::Repeat });
    if !redeemed.first && session.last_used().is_some() {
        return Ok(());
    }
    let event = Event::new(Act::SessionOpened).by(By::Person).of(session.user(), session.user_name());
    let event = event.tunnel(tunnel).session(session.id()).from(&client.to_string());
    edge.trail.record(event.device(session.device(), session.device_name())).await
}

/// The visitor of `permit` signed out on a tunnel.
pub(super) async fn signed_out(edge: &Edge, permit: &Permit) -> Result<(), TrailError> {
    let session = permit.session();
    let event = Event::new(Act::SignedOut).by(By::Person).of(session.user(), session.user_name());
    edge.trail.record(event.tunnel(permit.tunnel()).session(session.id())).await
}

/// A token was no good. The log, the trail and the metric are told why; the visitor is not.
pub(super) fn token_refused(edge: &Edge, tunnel: &TunnelId, reason: Refused, client: IpAddr) {
    metrics().token_check(match reason {
        Refused::Signature => TokenCheck::Signature,
        Refused::Expired => TokenCheck::Expired,
        Refused::Revoked => TokenCheck::Revoked,
        Refused::Unknown => TokenCheck::Unknown,
        Refused::Bind => TokenCheck::Bind,
        Refused::Late => TokenCheck::Late,
        Refused::Bound => TokenCheck::Bound,
        Refused::Audience => TokenCheck::Audience,
    });
    let event = Event::new(Act::TokenRefused).tunnel(tunnel).because(reason.to_string());
    edge.trail.note(event.from(&client.to_string()));
}

/// Another site tried to use a visitor's session.
pub(super) fn cross_site_refused(edge: &Edge, tunnel: &TunnelId, client: IpAddr) {
    edge.trail.note(Event::new(Act::CrossSiteRefused).tunnel(tunnel).from(&client.to_string()));
}
