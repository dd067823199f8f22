//! The way to the deployer and back: the addresses and cookies of a sign-in, as a tunnel's host writes them.

use std::time::Duration;

use http::header::SET_COOKIE;
use pingora::Result;
use url::form_urlencoded::byte_serialize;

use super::refuse::Reply;
use super::visit::Visit;
use crate::access::Redeemed;
use crate::access::cookies::{BIND, BindCookie, SESSION};
use crate::names::{PublicHosts, TunnelId};
use crate::secret::Entropy;

/// How long a bind cookie lasts (contract §4.1).
const BIND_LASTS: Duration = Duration::from_secs(3600);

/// The longest target that the deployer leads back to (contract §5).
const LONGEST_RETURN: usize = 2048;

/// `target` for a query. The deployer would take a longer one for `/`, and could not even be asked with the longest: three
/// times as long when it is written out, they are more than a target may have.
fn return_to(target: &[u8]) -> String {
    byte_serialize(if target.len() <= LONGEST_RETURN { target } else { b"/" }).collect()
}

/// Where signing in begins on a tunnel's own host, and leads back to `target`.
pub(super) fn begin_at(hosts: &PublicHosts, tunnel: &TunnelId, target: &[u8]) -> String {
    format!("{}/.patapim/begin?return_to={}", hosts.tunnel_origin(tunnel), return_to(target))
}

/// Where a visitor waits for the desktop on a tunnel's own host, to be led on to `target`.
pub(super) fn wait_at(hosts: &PublicHosts, tunnel: &TunnelId, target: &[u8]) -> String {
    format!("{}/.patapim/waiting?return_to={}", hosts.tunnel_origin(tunnel), return_to(target))
}

/// Sends a navigation to the deployer, with the hash of the browser's bind cookie. One that it has is used as it is, so
/// that two tabs that sign in at once do not undo each other.
pub(super) fn to_deployer(hosts: &PublicHosts, visit: &Visit<'_>, entropy: &dyn Entropy) -> Result<Reply> {
    send(hosts, visit, entropy, &format!("&return_to={}", return_to(visit.target.whole())))
}

/// As [`to_deployer`], for who comes from there to get a bind cookie: what it sent along goes back as it came.
pub(super) fn back_to_deployer(
    hosts: &PublicHosts,
    visit: &Visit<'_>,
    entropy: &dyn Entropy,
) -> Result<Reply> {
    let mut rest = String::new();
    for name in ["state", "return_to"] {
        let value = visit.target.raw_value(name).and_then(|value| std::str::from_utf8(value).ok());
        if let Some(value) = value.filter(|value| value.bytes().all(|byte| byte.is_ascii_graphic())) {
            rest.push_str(&format!("&{name}={value}"));
        }
    }
    send(hosts, visit, entropy, &rest)
}

fn send(hosts: &PublicHosts, visit: &Visit<'_>, entropy: &dyn Entropy, rest: &str) -> Result<Reply> {
    let (bind, is_new) = match &visit.bind() {
        Some(bind) => (bind.clone(), false),
        None => (BindCookie::random(entropy), true),
    };
    let (deployer, tunnel, hash) = (hosts.deployer_origin(), visit.tunnel, bind.hash());
    let mut reply =
        Reply::see_other(&format!("{deployer}/auth?tunnel={tunnel}&bind={}{rest}", hash.as_str()))?;
    without_twins(&mut reply, visit)?;
    if is_new {
        reply.head.append_header(SET_COOKIE, cookie(BIND, bind.value().reveal(), BIND_LASTS))?;
    }
    Ok(reply)
}

/// Back to the address that the token came with, without it, and with the session's cookie.
pub(super) fn redeemed(hosts: &PublicHosts, visit: &Visit<'_>, redeemed: &Redeemed) -> Result<Reply> {
    let mut location = hosts.tunnel_origin(visit.tunnel).into_bytes();
    location.extend_from_slice(&visit.target_without_token());
    let mut reply = Reply::see_other("/")?;
    reply.head.insert_header("Location", location)?;
    without_twins(&mut reply, visit)?;
    reply.head.append_header(SET_COOKIE, session_cookie(redeemed.cookie.to_value().reveal()))?;
    Ok(reply)
}

/// The session's `Set-Cookie`, the same to the letter however often the link is repeated. Its end is kept here, not in
/// the browser.
fn session_cookie(value: &str) -> String {
    format!("{SESSION}={value}; Path=/; Secure; HttpOnly; SameSite=Lax")
}

/// Takes away what stands beside our cookies under their names. A page of the app can plant one that is kept for this
/// site alone (CHIPS): the browser sends it with ours, so that neither counts, and forgets it only for a `Set-Cookie` of
/// its own kind. To be said before ours is set anew: a browser that knows no such kinds forgets ours.
pub(super) fn without_twins(reply: &mut Reply, visit: &Visit<'_>) -> Result<()> {
    for name in visit.doubled() {
        let twin = cookie(name, "", Duration::ZERO) + "; Partitioned";
        reply.head.append_header(SET_COOKIE, twin)?;
    }
    Ok(())
}

/// A `Set-Cookie` of the edge's; with nothing to last for it takes the cookie away.
pub(super) fn cookie(name: &str, value: &str, lasts: Duration) -> String {
    format!("{name}={value}; Path=/; Max-Age={}; Secure; HttpOnly; SameSite=Lax", lasts.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_too_long_to_come_back_to_is_not_sent_along() {
        assert_eq!(return_to(b"/a?b=%2F&c"), "%2Fa%3Fb%3D%252F%26c");
        let longest = vec![b'/'; LONGEST_RETURN];
        assert_eq!(return_to(&longest), "%2F".repeat(LONGEST_RETURN));
        assert_eq!(return_to(&[&longest[..], b"x"].concat()), "%2F");
    }
}
