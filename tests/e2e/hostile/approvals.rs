//! Agents that answer the edge's questions about sessions wrongly, or speak of sessions that are not theirs.

use http::Method;

use super::Beside;
use crate::rig::client::Visitor;
use crate::rig::edge::Edge;
use crate::rig::fake_agent::Manners;
use crate::rig::journey::SESSION;
use crate::rig::process::within;

async fn session_on(edge: &Edge, tunnel: &str) -> String {
    let listed = edge.admin(&["session", "list"]).await;
    let sessions = listed.as_array().expect("an array");
    let here = sessions.iter().find(|session| session["tunnel"] == tunnel).expect("a session");
    here["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_desktop_has_no_say_in_the_sessions_of_another() {
    let beside = Beside::start(Manners::default()).await;
    let edge = &beside.linked.edge;
    let adas = session_on(edge, &beside.linked.desktop.tunnel).await;
    let eves = session_on(edge, &beside.desktop.tunnel).await;
    for event in ["denied", "expired", "removed", "approved"] {
        beside.agent.say(&format!(r#"{{"event":"{event}","session":"{adas}"}}"#));
    }
    beside.agent.say(&format!(r#"{{"event":"denied","session":"{eves}"}}"#));
    // What she says of her own counts, and it was said last.
    within("Eve's own session to end", async {
        while beside.eve.browser.fetch(Method::GET, &beside.page("/")).await.status != 401 {}
    })
    .await;
    beside.ada_is_well().await;
    assert_eq!(session_on(edge, &beside.linked.desktop.tunnel).await, adas);
}

#[tokio::test]
async fn an_answer_that_is_no_leave_is_none() {
    let mut beside = Beside::start(Manners::default()).await;
    for answer in [
        "",
        "approved",
        "true",
        r#"{"answer":"Approved"}"#,
        r#"{"answer":"approve"}"#,
        r#"{"answer":["approved"]}"#,
        r#"{"answer":"granted","approved":true}"#,
        r#"{"answer":"pending"}"#,
        r#"{"answer":"pending","number":4000,"until":1}"#,
        r#"{"answer":"approved""#,
    ] {
        let manners = Manners::default().doorkeeper(move |_| answer.to_owned());
        let _agent = beside.dials(manners).await;
        let status = beside.eve.browser.fetch(Method::GET, &beside.page("/")).await.status;
        assert_eq!(status, 503, "{answer}");
    }
    let long = format!(r#"{{"answer":"approved","because":"{}"}}"#, "x".repeat(1 << 20));
    let _agent = beside.dials(Manners::default().doorkeeper(move |_| long.clone())).await;
    assert_eq!(beside.eve.browser.fetch(Method::GET, &beside.page("/")).await.status, 503, "a book");

    // A leave that comes with nobody having asked is none for whoever comes later.
    let agent = beside.dials(Manners::default().doorkeeper(|_| r#"{"answer":"denied"}"#.to_owned())).await;
    let eves = session_on(&beside.linked.edge, &beside.desktop.tunnel).await;
    agent.say(&format!(r#"{{"event":"approved","session":"{eves}"}}"#));
    agent.say(r#"{"event":"approved","session":"aaaaaaaaaaaaaaaaaaaaaaaaaa"}"#);
    within("the desktop's no to be heard", async {
        while beside.eve.browser.fetch(Method::GET, &beside.page("/")).await.status != 401 {}
    })
    .await;
    let _agent = beside.dials(Manners::default()).await;
    let page = beside.page("/");
    assert_eq!(beside.eve.open(&page).await.must_be(200).text(), "well", "a new sign-in, and a yes");
    beside.ada_is_well().await;
}

#[tokio::test]
async fn a_yes_that_comes_after_a_sessions_end_revives_nothing() {
    let pending = r#"{"answer":"pending","number":42,"until":9999999999999}"#;
    let mut beside = Beside::start(Manners::default()).await;
    beside.linked.edge.admin(&["session", "revoke", "--user", "eve"]).await;
    let agent = beside.dials(Manners::default().doorkeeper(move |_| pending.to_owned())).await;
    for how in ["by its person", "by the operator", "by the desktop"] {
        let (ended, session) = beside.eve_waits().await;
        let edge = &beside.linked.edge;
        let cookie = ended.cookies.get(&beside.page("/"), SESSION).expect("a session");
        match how {
            "by its person" => {
                drop(ended.fetch(Method::POST, &beside.page("/.patapim/logout")).await.must_be(204));
            }
            "by the operator" => drop(edge.admin(&["session", "revoke", &session]).await),
            _ => agent.say(&format!(r#"{{"event":"denied","session":"{session}"}}"#)),
        }
        let ended = ended.with(&beside.page("/"), SESSION, &cookie);
        within("the session's end", async {
            while ended.fetch(Method::GET, &beside.page("/")).await.status != 401 {}
        })
        .await;

        let before = edge.approvals();
        agent.say(&format!(r#"{{"event":"approved","session":"{session}"}}"#));
        // Heard after the other: once this one is in, the late yes has done whatever it does.
        let (later, alive) = beside.eve_waits().await;
        agent.say(&format!(r#"{{"event":"approved","session":"{alive}"}}"#));
        within("the other session's leave", async {
            while later.fetch(Method::GET, &beside.page("/")).await.status != 200 {}
        })
        .await;
        let asked = agent.asked("/");
        ended.fetch(Method::GET, &beside.page("/")).await.must_be(401);
        assert_eq!(agent.asked("/"), asked, "ended {how}");
        beside.linked.edge.hears_of_approval(before).await;
        let trail = beside.linked.edge.trail();
        let of_it = trail.lines().filter(|line| line.contains(&session));
        assert!(!of_it.clone().any(|line| line.contains("\"device-approved\"")), "ended {how}: {trail}");
        beside.linked.edge.admin(&["session", "revoke", &alive]).await;
    }
    beside.ada_is_well().await;
}

impl Beside {
    /// Eve signs in with a browser that knows nothing of earlier ones, and waits for her desktop; gives her session.
    async fn eve_waits(&mut self) -> (Visitor, String) {
        self.eve.browser = self.linked.edge.visitor();
        let page = self.page("/");
        let shown = self.eve.open(&page).await.must_be(200);
        assert_eq!(shown.url.path(), "/.patapim/waiting");
        (self.eve.browser.clone(), session_on(&self.linked.edge, &self.desktop.tunnel).await)
    }
}
