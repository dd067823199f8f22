//! How the edge says no: one answer for each reason and kind of request, made here and nowhere else.
//!
//! A person gets a page, a script a problem document (RFC 9457), a service worker's fetch a worker that undoes itself.
//! Why a token was refused is not among the reasons: whoever holds a bad one learns nothing from the answer.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use pingora::Result;
use pingora::http::ResponseHeader;
use serde_json::json;

use super::failure::Failure;
use super::request_kind::RequestKind;
use crate::deployer::tunnel_pages::{PageBody, SERVICE_WORKER_RESET, TUNNEL_PAGE_HEADERS, TunnelPage};
use crate::wire::AppFault;

/// Why there is no answer from an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody is signed in.
    SignIn,
    /// A token that is no good.
    BadToken,
    /// Another site's doing.
    CrossSite,
    /// The desktop has not approved the device yet.
    Unapproved,
    /// A host that the edge does not serve.
    Misdirected,
    /// No such path under `/.patapim/`.
    NotFound,
    /// Not with this method, but with these.
    Method(&'static str),
    /// HTTP's rules were broken.
    BadRequest,
    /// More in the head than the edge takes.
    HeadTooLarge,
    /// A longer address than the edge takes.
    TargetTooLong,
    /// More requests than one visitor may send in a minute.
    TooMany,
    /// The way to the app failed.
    Failure(Failure),
    /// The store cannot be reached.
    Unavailable,
    /// The fault is ours.
    Internal,
}

/// An answer of the edge's own.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) head: ResponseHeader,
    pub(super) body: Bytes,
}

impl Reply {
    /// With what every answer of the edge carries.
    pub(super) fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Result<Self> {
        let mut head = ResponseHeader::build(status, Some(8))?;
        head.insert_header(CONTENT_TYPE, content_type)?;
        head.insert_header(CACHE_CONTROL, "no-store")?;
        head.insert_header("X-Content-Type-Options", "nosniff")?;
        head.insert_header("Referrer-Policy", "no-referrer")?;
        Ok(Self { head, body: body.into() })
    }

    /// A page for a person.
    pub(super) fn page(page: TunnelPage<'_>) -> Result<Self> {
        Self::rendered(page.render())
    }

    /// A page that was made already.
    pub(super) fn rendered(rendered: PageBody) -> Result<Self> {
        let mut head = ResponseHeader::build(rendered.status, Some(8))?;
        for (name, value) in TUNNEL_PAGE_HEADERS {
            head.insert_header(*name, *value)?;
        }
        head.insert_header(CONTENT_SECURITY_POLICY, rendered.csp)?;
        Ok(Self { head, body: rendered.html.into() })
    }

    /// To `location`, by GET.
    pub(super) fn see_other(location: &str) -> Result<Self> {
        let mut head = ResponseHeader::build(303, Some(6))?;
        head.insert_header("Location", location)?;
        head.insert_header(CACHE_CONTROL, "no-store")?;
        head.insert_header("Referrer-Policy", "no-referrer")?;
        Ok(Self { head, body: Bytes::new() })
    }
}

/// The answer to a request of `kind`. `sign_in` is where signing in begins, and leads back; for who waits for the desktop,
/// where to wait.
pub(super) fn reply(refusal: Refusal, kind: RequestKind, sign_in: &str) -> Result<Reply> {
    if kind == RequestKind::ServiceWorkerScript && refusal == Refusal::SignIn {
        return Reply::new(200, "text/javascript; charset=utf-8", SERVICE_WORKER_RESET);
    }
    let page = page_for(refusal, kind, sign_in);
    let status = match refusal {
        Refusal::Method(_) => 405,
        Refusal::Unavailable => 503,
        _ => page.status(),
    };
    // A host that is nobody's has one answer for all.
    let is_page = kind.wants_page() || refusal == Refusal::Misdirected;
    let mut reply = if is_page { Reply::page(page)? } else { problem_reply(refusal, status, page)? };
    reply.head.set_status(status)?;
    match status {
        401 => reply.head.insert_header(WWW_AUTHENTICATE, "Bearer")?,
        429 => reply.head.insert_header(RETRY_AFTER, "60")?,
        503 => reply.head.insert_header(RETRY_AFTER, "5")?,
        _ => {}
    }
    if let Refusal::Method(allowed) = refusal {
        reply.head.insert_header(ALLOW, allowed)?;
    }
    Ok(reply)
}

fn page_for(refusal: Refusal, kind: RequestKind, sign_in: &str) -> TunnelPage<'_> {
    match refusal {
        Refusal::SignIn if kind == RequestKind::FramedNavigation => TunnelPage::OpenInTab { url: sign_in },
        Refusal::SignIn => TunnelPage::SignIn { sign_in },
        Refusal::BadToken => TunnelPage::Refused { sign_in },
        Refusal::CrossSite => TunnelPage::CrossSite,
        Refusal::Unapproved => TunnelPage::Unapproved { waiting: sign_in },
        Refusal::Misdirected => TunnelPage::Misdirected,
        Refusal::NotFound => TunnelPage::NotFound,
        Refusal::Method(_) | Refusal::BadRequest | Refusal::Failure(Failure::Unsendable) => {
            TunnelPage::BadRequest
        }
        Refusal::HeadTooLarge => TunnelPage::TooLarge,
        Refusal::TargetTooLong => TunnelPage::TooLong,
        Refusal::TooMany => TunnelPage::TooMany,
        Refusal::Failure(Failure::Offline) => TunnelPage::Offline,
        Refusal::Failure(Failure::Outdated) => TunnelPage::Outdated,
        Refusal::Failure(Failure::Busy) => TunnelPage::Busy,
        Refusal::Failure(Failure::App(AppFault::BadRequest)) => TunnelPage::BadRequest,
        Refusal::Failure(Failure::App(_) | Failure::Broken | Failure::NotTaken) => TunnelPage::BadGateway,
        Refusal::Unavailable | Refusal::Internal => TunnelPage::Internal,
    }
}

fn problem_reply(refusal: Refusal, status: u16, page: TunnelPage<'_>) -> Result<Reply> {
    let words = page.words();
    let detail = match refusal {
        // The page speaks of a form to somebody who can sign in.
        Refusal::SignIn => {
            "There is no session here, or it has ended. Open the address in a browser and sign in, or send an access token."
                .to_owned()
        }
        _ => format!("{} {}", words.happened, words.next),
    };
    let problem = json!({
        "type": format!("/problems/{}", slug(refusal)),
        "title": words.title,
        "status": status,
        "detail": detail,
    });
    Reply::new(status, "application/problem+json", problem.to_string())
}

/// The last part of a problem's type; stable, for scripts rely on it.
const fn slug(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::SignIn => "sign-in-required",
        Refusal::BadToken => "refused",
        Refusal::CrossSite => "cross-site",
        Refusal::Unapproved => "approval-pending",
        Refusal::Misdirected => "misdirected",
        Refusal::NotFound => "not-found",
        Refusal::Method(_) => "method-not-allowed",
        Refusal::BadRequest | Refusal::Failure(Failure::Unsendable | Failure::App(AppFault::BadRequest)) => {
            "malformed"
        }
        Refusal::HeadTooLarge => "too-large",
        Refusal::TargetTooLong => "too-long",
        Refusal::TooMany => "too-many-requests",
        Refusal::Failure(Failure::Offline) => "offline",
        Refusal::Failure(Failure::Outdated) => "desktop-outdated",
        Refusal::Failure(Failure::Busy) => "busy",
        Refusal::Failure(_) => "bad-gateway",
        Refusal::Unavailable => "unavailable",
        Refusal::Internal => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "https://t.test/.patapim/begin?return_to=%2F";

    fn field<'r>(reply: &'r Reply, name: &str) -> &'r str {
        reply.head.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    #[test]
    fn people_get_a_page_and_scripts_a_problem_with_the_same_status() {
        for refusal in [
            Refusal::SignIn,
            Refusal::BadToken,
            Refusal::CrossSite,
            Refusal::Unapproved,
            Refusal::NotFound,
            Refusal::Method("GET"),
            Refusal::HeadTooLarge,
            Refusal::TargetTooLong,
            Refusal::TooMany,
            Refusal::Failure(Failure::Offline),
            Refusal::Failure(Failure::Outdated),
            Refusal::Failure(Failure::Broken),
            Refusal::Unavailable,
            Refusal::Internal,
        ] {
            let page = reply(refusal, RequestKind::FormNavigation, HERE).expect("a reply");
            let problem = reply(refusal, RequestKind::Script, HERE).expect("a reply");
            assert_eq!(page.head.status, problem.head.status, "{refusal:?}");
            assert_eq!(field(&page, "content-type"), "text/html; charset=utf-8");
            assert_eq!(field(&problem, "content-type"), "application/problem+json");
            let document: serde_json::Value = serde_json::from_slice(&problem.body).expect("JSON");
            assert_eq!(document["status"], page.head.status.as_u16());
            for reply in [&page, &problem] {
                assert_eq!(field(reply, "cache-control"), "no-store");
                assert!(!reply.head.headers.contains_key("set-cookie"));
            }
        }
    }

    #[test]
    fn a_script_without_a_session_is_challenged_and_never_sent_elsewhere() {
        let refused = reply(Refusal::SignIn, RequestKind::Script, HERE).expect("a reply");
        assert_eq!(refused.head.status, 401);
        assert_eq!(field(&refused, "www-authenticate"), "Bearer");
        let problem: serde_json::Value = serde_json::from_slice(&refused.body).expect("JSON");
        assert!(!problem["detail"].as_str().expect("a sentence").contains("form"), "{problem}");
        assert!(!refused.head.headers.contains_key("location"));
    }

    #[test]
    fn a_lost_service_worker_is_replaced_by_one_that_goes() {
        let worker = reply(Refusal::SignIn, RequestKind::ServiceWorkerScript, HERE).expect("a reply");
        assert_eq!(
            (worker.head.status.as_u16(), field(&worker, "content-type")),
            (200, "text/javascript; charset=utf-8")
        );
        assert!(String::from_utf8_lossy(&worker.body).contains("unregister"));
    }

    #[test]
    fn a_framed_page_is_offered_a_tab() {
        let page = reply(Refusal::SignIn, RequestKind::FramedNavigation, HERE).expect("a reply");
        assert!(String::from_utf8_lossy(&page.body).contains("target=\"_blank\""));
    }
}
