//! Where somebody who has just signed in goes.

use super::Site;
use super::grant::Grant;
use super::problem::Problem;
use super::return_to::ReturnTo;
use super::sign_in::Wanted;
use crate::access::SignIn;
use crate::access::cookies::BindHash;
use crate::access::sessions::SessionError;
use crate::accounts::AccountError;
use crate::names::TunnelId;

/// The list of tunnels, which says that the one asked for cannot be opened. Whether it exists is not said.
const NO_ACCESS: &str = "/?no-access";
/// The list of tunnels.
const LIST: &str = "/";

/// A place to go, and the grant to go with: there is one whenever the ceremony has not yielded its token yet.
pub(super) struct Destination {
    pub(super) redirect: String,
    pub(super) grant: Option<Grant>,
}

/// After the ceremony `who`, to what was `wanted`.
pub(super) async fn of(site: &Site, who: &SignIn, wanted: &Wanted) -> Result<Destination, Problem> {
    if let (Some(tunnel), Some(bind)) = (&wanted.tunnel, &wanted.bind)
        && let Some(redirect) = with_token(site, who, tunnel, bind, &wanted.return_to).await?
    {
        return Ok(Destination { redirect, grant: None });
    }
    let grant = Grant::of(site, who);
    let theirs = site.accounts.tunnels_of(&who.user).await?;
    let redirect = match (&wanted.tunnel, theirs.as_slice()) {
        (Some(tunnel), theirs) if theirs.iter().any(|one| one.id == *tunnel) => {
            grant.begin_at(site, tunnel, &wanted.return_to)
        }
        (Some(_), _) => NO_ACCESS.to_owned(),
        (None, [only]) => grant.begin_at(site, &only.id, &wanted.return_to),
        (None, _) => LIST.to_owned(),
    };
    Ok(Destination { redirect, grant: Some(grant) })
}

/// The tunnel's page with a token for it, or none if the tunnel is not theirs.
pub(super) async fn with_token(
    site: &Site,
    who: &SignIn,
    tunnel: &TunnelId,
    bind: &BindHash,
    return_to: &ReturnTo,
) -> Result<Option<String>, Problem> {
    for _ in 0..4 {
        let standing = match site.accounts.standing_on(&who.user, &who.device, tunnel).await {
            Ok(standing) => standing,
            Err(AccountError::Missing(_) | AccountError::Disabled) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match site.sessions.issue(who, tunnel, bind, standing.conds).await {
            Ok(token) => {
                let page = return_to.with_parameter("token", token.reveal());
                return Ok(Some(site.hosts.tunnel_origin(tunnel) + &page));
            }
            // The account was written meanwhile: see whether they are still who they were.
            Err(SessionError::Overtaken) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(SessionError::Overtaken.into())
}
