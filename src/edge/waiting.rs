//! `/.patapim/waiting`: where a visitor waits for the desktop's approval.
//!
//! The page is made from how things stand at that moment. To a browser that asks for events the edge says, in a word, how they stand, and again whenever that changes; the page then asks for itself anew.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::ACCEPT;
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use tokio::time::{Instant, sleep_until};

use super::approval::{self, Withheld};
use super::refuse::{Refusal, Reply};
use super::request_kind::RequestKind;
use super::visit::Visit;
use super::{Edge, answer, sign_in};
use crate::access::gate::Verdict as Gated;
use crate::access::{Cause, Permit};
use crate::deployer::waiting_page::{Asked, WaitingPage};
use crate::tunnel::{Standing, Verdict, Watched};
use crate::wire::approval::PublicKey;

/// The page's path after `/.patapim/`.
pub(super) const PATH: &str = "waiting";

/// How long one stream of events lasts; the browser asks for the next by itself. Short, so that an edge that stops does
/// not wait for those who wait.
const EVENTS_LAST: Duration = Duration::from_secs(20);

/// As much of a device's id as is asked for on the desktop: 40 bits.
const SHORT_ID: usize = 8;

/// How it stands with an admitted visitor.
enum Wait {
    /// The app may be opened.
    Through,
    /// Nobody is there to be asked.
    Offline,
    /// As the agent says.
    Standing(Standing, Option<Watched>),
}

impl Wait {
    async fn of(edge: &Edge, permit: &Permit) -> Self {
        if edge.upstreams.is_fixed(permit) {
            return Self::Through;
        }
        let Some(link) = edge.upstreams.agent_now(permit) else { return Self::Offline };
        let mut watched = match link.known(permit) {
            Some(known) => known,
            None => match approval::ask(edge, &link, permit).await {
                Ok(asked) => asked,
                Err(Withheld::Over) => return Self::Standing(Standing::Decided(Verdict::Removed), None),
                Err(_) => return Self::Offline,
            },
        };
        match watched.standing().await {
            Standing::Decided(Verdict::Served | Verdict::Approved) => Self::Through,
            Standing::Unanswered | Standing::Asking => Self::Offline,
            standing => Self::Standing(standing, Some(watched)),
        }
    }

    /// What there is to see; nothing where the way is free.
    fn page<'a>(
        &self,
        words: &'a Words,
        now_minutes: impl Fn(crate::clock::Timestamp) -> u64,
    ) -> Option<WaitingPage<'a>> {
        let sign_in = &*words.sign_in;
        Some(match self {
            Self::Through => return None,
            Self::Offline => WaitingPage::Offline,
            Self::Standing(standing, _) => match standing {
                Standing::Waiting { number, until } => WaitingPage::Asked(Asked {
                    number: *number,
                    desktop: &words.desktop,
                    device: &words.device,
                    fingerprint: words.fingerprint.as_deref(),
                    short_id: words.id.get(..SHORT_ID).unwrap_or(&words.id),
                    minutes: now_minutes(*until),
                }),
                Standing::Crowded { .. } => WaitingPage::Crowded,
                Standing::Outdated => WaitingPage::Outdated,
                Standing::Decided(Verdict::Denied) => WaitingPage::Denied { sign_in },
                Standing::Decided(Verdict::Expired) => WaitingPage::Expired { sign_in },
                Standing::Decided(Verdict::Removed) => WaitingPage::Removed { sign_in },
                Standing::Decided(Verdict::Served | Verdict::Approved) => return None,
                Standing::Asking | Standing::Unanswered => WaitingPage::Offline,
            },
        })
    }
}

/// What a page is filled with.
struct Words {
    desktop: String,
    device: String,
    id: String,
    fingerprint: Option<String>,
    sign_in: String,
}

/// Whether the browser wants to be told rather than shown, and may be.
pub(super) fn waits_for_events(edge: &Edge, visit: &Visit<'_>, request: &RequestHeader) -> Option<Permit> {
    let kinds = request.headers.get(ACCEPT)?.as_bytes();
    if request.method != Method::GET || !kinds.starts_with(b"text/event-stream") {
        return None;
    }
    match visit.verdict(&edge.gate, edge.clock.now()) {
        Gated::Admit(permit) => Some(permit),
        _ => None,
    }
}

/// The page; or the way on; or why there is neither.
pub(super) async fn page(edge: &Edge, visit: &Visit<'_>, method: &Method) -> Result<Result<Reply, Refusal>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Ok(Err(Refusal::Method("GET, HEAD")));
    }
    let target =
        visit.target.decoded("return_to").filter(|target| is_own_path(target)).unwrap_or("/".to_owned());
    let sign_in = sign_in::begin_at(&edge.hosts, visit.tunnel, target.as_bytes());
    let permit = match visit.verdict(&edge.gate, edge.clock.now()) {
        Gated::Admit(permit) => permit,
        Gated::CrossSite => return Ok(Err(Refusal::CrossSite)),
        _ => return ended(edge, visit, &sign_in),
    };
    let wait = Wait::of(edge, &permit).await;
    let words = words(edge, &permit, sign_in).await;
    let now = edge.clock.now();
    match wait.page(&words, |until| until.since(now).as_secs().div_ceil(60)) {
        Some(page) => Reply::rendered(page.render()).map(Ok),
        None => Reply::see_other(&(edge.hosts.tunnel_origin(visit.tunnel) + &target)).map(Ok),
    }
}

/// The session is over: its browser is told what ended it, if that was the desktop.
fn ended(edge: &Edge, visit: &Visit<'_>, sign_in: &str) -> Result<Result<Reply, Refusal>> {
    let cause = visit.session().and_then(|cookie| edge.sessions.ended_by(cookie, visit.tunnel));
    let page = match cause {
        Some(Cause::Denied) => WaitingPage::Denied { sign_in },
        Some(Cause::Unanswered) => WaitingPage::Expired { sign_in },
        Some(Cause::Untrusted) => WaitingPage::Removed { sign_in },
        _ if visit.kind == RequestKind::Navigation && visit.may_be_sent_away() => {
            return Reply::see_other(sign_in).map(Ok);
        }
        _ => return Ok(Err(Refusal::SignIn)),
    };
    Reply::rendered(page.render()).map(Ok)
}

async fn words(edge: &Edge, permit: &Permit, sign_in: String) -> Words {
    let session = permit.session();
    let desktop = edge.upstreams.agent_now(permit).map(|link| link.desktop().to_owned());
    let passkey = edge.accounts.passkey(session.device()).await.ok();
    Words {
        desktop: desktop.unwrap_or_default(),
        device: passkey.as_ref().map_or_else(|| session.device_name().to_owned(), |one| one.name.clone()),
        id: session.device().to_string(),
        fingerprint: passkey.and_then(|one| Some(PublicKey::parse(&one.public_key)?.fingerprint())),
        sign_in,
    }
}

/// Only the tunnel's own pages; its origin is put before it.
fn is_own_path(target: &str) -> bool {
    target.starts_with('/')
        && !target.starts_with("/.patapim/")
        && target.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Tells the browser how things stand, until it leaves, there is nothing more to tell, or the stream has lasted.
pub(super) async fn events(edge: &Edge, session: &mut Session, permit: &Permit) -> Result<()> {
    let mut head = Reply::new(200, "text/event-stream", "")?.head;
    head.insert_header("X-Accel-Buffering", "no")?;
    if !answer::send_head(session, head).await? {
        return session.write_response_body(None, true).await;
    }
    session.write_response_body(Some(Bytes::from_static(b"retry: 1000\n\n")), false).await?;
    let end = Instant::now() + EVENTS_LAST;
    let mut told = String::new();
    loop {
        let mut wait = Wait::of(edge, permit).await;
        let (words, live) = (silent(), permit.session().is_live(edge.clock.now()));
        let state = match wait.page(&words, |_| 0) {
            _ if !live => "over".to_owned(),
            Some(page) => page.state(),
            None => "through".to_owned(),
        };
        if state != told {
            session.write_response_body(Some(format!("data: {state}\n\n").into()), false).await?;
            told = state;
        }
        if matches!(&*told, "over" | "through") {
            break;
        }
        tokio::select! {
            () = changed(edge, permit, &mut wait) => {}
            () = sleep_until(end) => break,
            // Nothing more comes from the browser, so whatever it does now is to leave.
            left = session.read_body_or_idle(true) => { left?; }
        }
    }
    session.write_response_body(None, true).await
}

async fn changed(edge: &Edge, permit: &Permit, wait: &mut Wait) {
    match wait {
        Wait::Standing(Standing::Crowded { until }, _) => {
            let patience = until.since(edge.clock.now()).clamp(Duration::from_secs(1), EVENTS_LAST);
            tokio::time::sleep(patience).await;
        }
        Wait::Standing(_, Some(watched)) => watched.changed().await,
        Wait::Through => {}
        // The desktop's word is here before the session's end is.
        Wait::Standing(_, None) => permit.session().over().await,
        Wait::Offline => {
            // One that did not answer is asked again in a while, one that is away when it is back.
            if edge.upstreams.agent_now(permit).is_some() {
                tokio::time::sleep(Duration::from_secs(2)).await;
            } else {
                edge.upstreams.agent_within(permit, EVENTS_LAST).await;
            }
        }
    }
}

/// For a state, nothing is filled in.
fn silent() -> Words {
    let none = String::new;
    Words { desktop: none(), device: none(), id: none(), fingerprint: None, sign_in: none() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_the_tunnels_own_is_returned_to() {
        for good in ["/", "/a?b=%2F&c", "//evil.test/", "/\\evil.test"] {
            // The origin stands before it, so that these stay on the tunnel.
            assert!(is_own_path(good), "{good}");
        }
        for bad in ["", "a", "https://evil.test/", "/.patapim/waiting", "/a\r\nb: c", "/ä"] {
            assert!(!is_own_path(bad), "{bad}");
        }
    }
}
