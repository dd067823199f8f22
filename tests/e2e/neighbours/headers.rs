//! What the evil app says in its answers' headers, and what of it a browser gets to hear.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::{HINTING, Neighbourhood};
use crate::rig::edge::Setup;
use crate::rig::journey::{DEPLOYER, Person, SESSION};
use crate::rig::scene::TUNNEL;

/// Each answer comes once to a page that asks for it, and once as a page.
pub(super) async fn speak_for_nobody_else(hood: &Neighbourhood) {
    let base = hood.stage.edge.base();
    let (tab, edge) = (&hood.stage.tab, &hood.stage.edge);
    let (victim, deployer, own) = (hood.stage.page("/"), edge.deployer("/"), hood.evil_page("/"));
    let sessions = async || {
        let (a, b) = (hood.cookie(&victim, SESSION).await, hood.cookie(&own, SESSION).await);
        (
            a.expect("a session"),
            b.expect("a session"),
            hood.cookie(&deployer, DEPLOYER).await.expect("signed in"),
        )
    };
    // And once more before it is there: a hint of what the page will need.
    let hint = hood.stage.page("/write/hint");
    hood.parrot.says(format!(
        "HTTP/1.1 103 Early Hints\r\nLink: <{hint}>; rel=preload; as=image\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Type: text/html\r\n\r\nThe app"
    ));
    hood.sign_in(&edge.tunnel(HINTING, "/")).await;
    hood.go_evil().await;
    let before = sessions().await;

    let tunnels = format!("tunnel.{base}");
    let clearing = |kinds: &'static str| ("clear-site-data", kinds);
    let hostile: Vec<Vec<(&str, String)>> = vec![
        vec![
            ("set-cookie", "own=1; Path=/".into()),
            ("set-cookie", format!("wide=1; Path=/; Secure; Domain={base}")),
            ("set-cookie", format!("wide=1; Path=/; Secure; Domain=.{tunnels}; SameSite=None")),
            ("set-cookie", format!("{SESSION}=evil; Secure; Path=/")),
            ("set-cookie", format!("{SESSION}=evil; Secure; Path=/; Partitioned")),
            ("set-cookie", format!("={SESSION}=evil; Secure; Path=/")),
            ("set-cookie", format!("{SESSION}=; Secure; Path=/; Max-Age=0")),
            ("set-cookie", "__Host-patapim-bind=evil; Secure; Path=/".into()),
        ],
        vec![clearing("\"cookies\""), clearing("\"cache\", \"*\"")].into_iter().map(owned).collect(),
        vec![clearing("\"executionContexts\", \"cookies\", \"clientHints\"")]
            .into_iter()
            .map(owned)
            .collect(),
        vec![
            ("strict-transport-security", "max-age=31536000; includeSubDomains; preload".into()),
            ("alt-svc", "h3=\":1\"; ma=31536000, h2=\":1\"; persist=1".into()),
            ("public-key-pins", "pin-sha256=\"AAAA\"; max-age=9999; includeSubDomains".into()),
            ("expect-ct", "max-age=9999, enforce".into()),
            ("access-control-allow-origin", "*".into()),
            ("access-control-allow-credentials", "true".into()),
            ("service-worker-allowed", "/".into()),
            ("link", format!("<{victim}write/preload>; rel=preload; as=image, <{victim}>; rel=preconnect")),
            ("refresh", format!("9999; url={victim}")),
            ("content-security-policy", "sandbox".into()),
            ("permissions-policy", "publickey-credentials-get=*".into()),
            ("cross-origin-opener-policy", "unsafe-none".into()),
            ("origin-agent-cluster", "?0".into()),
        ],
    ];
    for (number, headers) in hostile.iter().enumerate() {
        let path = format!("/hostile/{number}");
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        hood.evil.answer(&path, &headers);
        hood.attack(
            "({ url }) => fetch(url).then((answer) => answer.text()).then(() => true)",
            json!({"url": path}),
        )
        .await;
        tab.go(&hood.evil_page(&path)).await;
        assert_eq!(sessions().await, before, "after {path}");
    }
    tab.go(&edge.tunnel(HINTING, "/again")).await;
    hood.go_evil().await;
    assert_eq!(sessions().await, before, "after hints");
    assert_eq!(hood.stage.app.count(), 0, "nothing reaches the app: {:?}", hood.stage.app.seen());
    for neighbour in [&victim, &deployer] {
        assert_eq!(hood.cookie(neighbour, "wide").await, None, "{neighbour}");
    }
    assert_eq!(
        hood.cookie(&own, "own").await.as_deref(),
        Some("1"),
        "of its own host it may say what it likes"
    );
}

/// An app that says the same to whoever asks, word for word, and hangs up.
pub(super) struct Parrot {
    address: SocketAddr,
    words: Arc<Mutex<String>>,
    server: AbortHandle,
}

impl Parrot {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let words = Arc::<Mutex<String>>::default();
        let said = Arc::clone(&words);
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut heard = [0; 4096];
                let _ = stream.read(&mut heard).await;
                let words = said.lock().expect("whole").clone();
                let _ = stream.write_all(words.as_bytes()).await;
            }
        });
        Self { address, words, server: server.abort_handle() }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn says(&self, words: String) {
        *self.words.lock().expect("whole") = words;
    }
}

impl Drop for Parrot {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn owned((name, value): (&'static str, &str)) -> (&'static str, String) {
    (name, value.to_owned())
}

/// What comes before an answer is an answer too: an app that says `103` says no more by it than by `200`.
#[tokio::test]
async fn an_early_hint_is_held_to_the_same_rules() {
    const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nSet-Cookie: wide=1; Domain=patapim.localhost\r\n\
        Set-Cookie: __Host-patapim-session=evil; Secure; Path=/\r\nAlt-Svc: h3=\":1\"\r\n\
        Clear-Site-Data: \"cookies\"\r\nStrict-Transport-Security: max-age=9; includeSubDomains\r\n\
        Link: </style.css>; rel=preload; as=style\r\n\r\n\
        HTTP/1.1 200 OK\r\nNEL: {\"report_to\": \"evil\", \"max_age\": 9, \"success_fraction\": 1}\r\n\
        Report-To: {\"group\": \"evil\", \"max_age\": 9, \"endpoints\": [{\"url\": \"https://evil.test/\"}]}\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok";
    let parrot = Parrot::start().await;
    parrot.says(HINTS.to_owned());
    let edge = Setup::default().upstream(TUNNEL, "ada", &parrot.url()).start().await;
    let mut ada = Person::enrolled(&edge, "ada").await;
    let page = edge.tunnel(TUNNEL, "/");
    ada.open(&page).await.must_be(200);
    let cookies = ada.browser.cookies.header(&page).expect("a session");
    let host = &page[url::Position::BeforeHost..url::Position::AfterPort];
    let mut stream = ada.browser.dial(&page, None).await.expect("a connection");
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nCookie: {cookies}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut heard = String::new();
    let _ = stream.read_to_string(&mut heard).await;
    let lower = heard.to_ascii_lowercase();
    assert!(lower.ends_with("ok"), "{heard}");
    for gone in ["set-cookie", "alt-svc", "clear-site-data", "includesubdomains", "\nnel:"] {
        assert!(!lower.contains(gone), "{gone} in {heard}");
    }
}
