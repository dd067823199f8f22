//! More cookies than fit into a request, and how their owner gets rid of them.
//!
//! A page behind one tunnel can plant cookies on the domain above all tunnels: 180 of 4 KiB, and a browser then sends them
//! with every request to every tunnel and to the sign-in site. So nothing that the edge answers itself minds them: over a
//! bound, all cookies but its own are thrown away unread. Only an app cannot be asked with them. Then the answer is 431, and
//! it undoes what was planted: such a cookie can only be a parent domain's, its path leads to where it was sent, and its
//! name is known. The app's own cookies stay, and so do all sessions. Who is refused a second time loses the app's as well.

use std::collections::BTreeSet;

use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};

use super::cookies;
use crate::clock::Timestamp;

/// The largest head of a request, as RFC 9113 §6.5.2 counts it, that goes on to an app.
pub(super) const LARGEST_HEAD: usize = 64 * 1024;
/// From so many bytes of cookies on, an app may find them too many; most take 8 KiB of header, or 16.
const SUSPICIOUS: usize = 4 * 1024;
/// How much of an answer's head may undo cookies. Browsers take 256 KiB.
const ROOM: usize = 96 * 1024;
/// What takes a cookie away.
const PLAIN: &[u8] = b"; Max-Age=0; Secure";
/// The same for one that is kept for one site alone, beside its namesake. A browser keeps some ten KiB of these, so by
/// themselves they are never too many for us, but they may be for an app.
const PARTITIONED: &[u8] = b"; Max-Age=0; Secure; Partitioned";
/// Says for a while that cookies were undone here.
const UNDONE: &str = "__Host-patapim-undone";

/// The cookies that came with a request, when they were many.
#[derive(Debug)]
pub(super) struct Crowd {
    names: BTreeSet<Vec<u8>>,
    /// All that a cookie's path can be which came along.
    paths: Vec<Vec<u8>>,
    is_too_large: bool,
    is_back: bool,
}

impl Crowd {
    /// Looks at a request's cookies; `None` where they are few. When they make it too large they are gone afterwards, but for
    /// those of the edge.
    pub(super) fn thin_out(request: &mut RequestHeader) -> Result<Option<Self>> {
        let bytes: usize = request.headers.get_all(COOKIE).iter().map(|field| field.len()).sum();
        if bytes < SUSPICIOUS {
            return Ok(None);
        }
        let crowd = Self {
            names: cookies::names_of_the_app(&request.headers),
            paths: paths_to(request.uri.path().as_bytes()),
            is_too_large: size(&request.headers) > LARGEST_HEAD,
            is_back: cookies::only(&request.headers, UNDONE).is_some(),
        };
        if crowd.is_too_large {
            let ours = cookies::of_the_edge(&request.headers);
            request.remove_header(&COOKIE);
            if let Some(ours) = ours {
                request.insert_header(COOKIE, ours)?;
            }
        }
        Ok(Some(crowd))
    }

    /// Whether no app can be asked with them.
    pub(super) fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    /// Undoes them by what `head` says to the browser at `own_host`, a tunnel's. Where not all has room, it goes on with the
    /// next refusal, from another path on.
    pub(super) fn undo(&self, head: &mut ResponseHeader, own_host: &str, now: Timestamp) -> Result<()> {
        let parents = own_host.match_indices('.').map(|(dot, _)| &own_host[dot + 1..]);
        let parents = parents.filter(|domain| domain.contains('.'));
        let mut domains: Vec<String> = parents.map(|domain| format!("Domain={domain}; ")).collect();
        if self.is_back {
            domains.extend([String::new(), format!("Domain={own_host}; ")]);
        }
        let mut paths: Vec<&[u8]> = self.paths.iter().map(Vec::as_slice).collect();
        let turn = usize::try_from(now.secs()).unwrap_or_default() % paths.len().max(1);
        paths.rotate_left(turn);
        // Nearly all of them are here, for a page that plants them for all addresses has no other choice.
        paths.insert(0, b"/");
        let mut places: Vec<(&[u8], &[u8])> = paths.into_iter().map(|path| (path, PLAIN)).collect();
        if self.is_back {
            places.insert(1, (b"/", PARTITIONED));
        }
        let mut room = ROOM;
        for (number, (path, kind)) in places.into_iter().enumerate() {
            for name in &self.names {
                for domain in &domains {
                    // A cookie without a name is one only with a value.
                    let undoing = [name, &b"=x; "[..], domain.as_bytes(), b"Path=", path, kind].concat();
                    let Some(left) = room.checked_sub(undoing.len()) else {
                        return self.remember(head, number == 0);
                    };
                    room = left;
                    head.append_header(SET_COOKIE, undoing)?;
                }
            }
        }
        self.remember(head, false)
    }

    /// `all`: there were too many to be named even once. What is left then signs the person out, but lets them in again.
    fn remember(&self, head: &mut ResponseHeader, all: bool) -> Result<()> {
        if all {
            head.append_header("Clear-Site-Data", "\"cookies\"")?;
        }
        let remembered = format!("{UNDONE}=1; Path=/; Max-Age=300; Secure; HttpOnly; SameSite=Lax");
        head.append_header(SET_COOKIE, remembered).map(drop)
    }
}

/// The size of a head, as RFC 9113 §6.5.2 counts it.
pub(super) fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

/// Every path but `/` that a cookie sent to `path` can have (RFC 6265 §5.1.4).
fn paths_to(path: &[u8]) -> Vec<Vec<u8>> {
    let slashes = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let mut paths: Vec<Vec<u8>> =
        slashes.flat_map(|at| [path[..at].to_vec(), path[..=at].to_vec()]).collect();
    if path.len() > 1 && !path.ends_with(b"/") {
        paths.push(path.to_vec());
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, cookies: &str) -> RequestHeader {
        let mut request = RequestHeader::build("GET", path.as_bytes(), None).expect("a request");
        request.insert_header(COOKIE, cookies).expect("cookies");
        request
    }

    fn planted(count: usize, length: usize) -> String {
        (0..count).map(|at| format!("evil{at}={}; ", "x".repeat(length))).collect()
    }

    fn undone(request: &mut RequestHeader) -> (Vec<String>, bool) {
        let crowd = Crowd::thin_out(request).expect("thinned out").expect("a crowd");
        let mut head = ResponseHeader::build(431, None).expect("a head");
        crowd.undo(&mut head, "ada.tunnel.patapim.test", Timestamp::default()).expect("undone");
        let text = |value: &http::HeaderValue| value.to_str().expect("text").to_owned();
        let cookies: Vec<_> = head.headers.get_all(SET_COOKIE).iter().map(text).collect();
        assert!(cookies.iter().map(String::len).sum::<usize>() < ROOM + 200);
        (cookies, head.headers.contains_key("clear-site-data"))
    }

    #[test]
    fn what_was_planted_is_undone_and_the_apps_and_our_own_stay() {
        let ours = "__Host-patapim-session=s";
        let mut request = request("/a/b", &format!("{}{ours}; own=1; =x; y", planted(180, 1300)));
        let (cookies, all) = undone(&mut request);
        assert_eq!(request.headers[COOKIE], ours);
        for wanted in [
            "evil0=x; Domain=patapim.test; Path=/; Max-Age=0; Secure",
            "evil179=x; Domain=tunnel.patapim.test; Path=/; Max-Age=0; Secure",
            "=x; Domain=patapim.test; Path=/; Max-Age=0; Secure",
            "evil7=x; Domain=patapim.test; Path=/a; Max-Age=0; Secure",
            "evil7=x; Domain=patapim.test; Path=/a/b; Max-Age=0; Secure",
        ] {
            assert!(cookies.iter().any(|cookie| cookie == wanted), "{wanted}");
        }
        let kept = |cookie: &&String| !cookie.contains("Domain=");
        assert_eq!(cookies.iter().filter(kept).count(), 1, "our own note alone is for this very host");
        assert!(!cookies.iter().any(|cookie| cookie.starts_with("__Host-patapim-session")));
        assert!(!all, "nobody is signed out");
    }

    #[test]
    fn who_comes_back_loses_the_apps_own_too() {
        let mut request = request("/", &format!("{}{UNDONE}=1", planted(180, 1300)));
        let (cookies, all) = undone(&mut request);
        assert!(!all, "nobody is signed out");
        for wanted in [
            "evil0=x; Path=/; Max-Age=0; Secure",
            "evil179=x; Domain=patapim.test; Path=/; Max-Age=0; Secure; Partitioned",
            "evil0=x; Path=/; Max-Age=0; Secure; Partitioned",
        ] {
            assert!(cookies.iter().any(|cookie| cookie == wanted), "{wanted}");
        }
    }

    #[test]
    fn names_that_have_no_room_are_wiped_with_all_others() {
        let names: String = (0..180).map(|at| format!("{at}{}=; ", "n".repeat(4000))).collect();
        assert!(undone(&mut request("/", &names)).1);
    }

    #[test]
    fn few_cookies_are_nobodys_business_and_many_pass_while_there_is_room() {
        assert!(Crowd::thin_out(&mut request("/", "a=1; b=2")).expect("looked at").is_none());
        let many = planted(10, 1000);
        let mut request = request("/", &many);
        assert!(!Crowd::thin_out(&mut request).expect("looked at").expect("a crowd").is_too_large());
        assert_eq!(request.headers[COOKIE], many);
    }

    #[test]
    fn a_cookies_path_is_a_beginning_of_the_requests() {
        let paths = |path: &str| -> Vec<String> {
            paths_to(path.as_bytes()).into_iter().map(|one| String::from_utf8(one).expect("text")).collect()
        };
        assert_eq!(paths("/a/b"), ["/a", "/a/", "/a/b"]);
        assert_eq!(paths("/a/"), ["/a", "/a/"]);
        assert!(paths("/").is_empty());
    }
}
