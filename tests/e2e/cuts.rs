//! Whatever ends a session ends all that it has open, at once, and nothing of anybody else's (contract, section 5):
//! every order, over an agent and over a fixed upstream, over both kinds of HTTP, and for good.

use std::time::Instant;

use http::Method;
use serde_json::json;
use url::Url;

use crate::rig::agent::Desktop;
use crate::rig::app::App;
use crate::rig::authenticator::Authenticator;
use crate::rig::client::{Visitor, origin};
use crate::rig::edge::{Edge, Setup};
use crate::rig::held::{Held, STREAMS};
use crate::rig::journey::{Person, SESSION};
use crate::rig::process::Process;
use crate::rig::scene::TUNNEL;

/// What ends sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// `session revoke ID`
    RevokeOne,
    /// `DELETE /sessions/{id}`
    EndOne,
    /// `POST /.patapim/logout`
    LogOut,
    /// `DELETE /passkeys/{id}`
    RemovePasskey,
    /// `DELETE /sessions`
    EndAll,
    /// `session revoke --user`
    RevokePerson,
    /// `key rotate --now`
    RotateKeys,
    /// `user disable`
    DisableUser,
    /// `user remove`
    RemoveUser,
    /// `tunnel remove`
    RemoveTunnel,
    /// `DELETE /tunnels/{id}`
    DeleteTunnel,
}

impl Order {
    /// The person's session in another browser, with another passkey, goes on.
    fn spares_the_neighbour(self) -> bool {
        matches!(self, Self::RevokeOne | Self::EndOne | Self::LogOut | Self::RemovePasskey)
    }
}

/// After these the person can sign in again.
const REPEATABLE: [Order; 7] = [
    Order::RevokeOne,
    Order::EndOne,
    Order::LogOut,
    Order::RemovePasskey,
    Order::EndAll,
    Order::RevokePerson,
    Order::RotateKeys,
];

/// Which way the tunnel leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Agent,
    Fixed,
}

/// An edge, an app behind it, and its owner at two devices.
struct Owned {
    edge: Edge,
    app: App,
    tunnel: String,
    /// The owner with her first passkey: she gives the orders, and is the neighbour.
    ada: Person,
    _desktop: Option<(Desktop, Process)>,
}

/// The same person with a passkey of its own.
struct Elsewhere {
    person: Person,
    passkey: String,
}

impl Owned {
    async fn with(way: Way, setup: Setup) -> Self {
        let app = App::start("ada's app").await;
        let setup = match way {
            Way::Agent => setup,
            Way::Fixed => setup.upstream(TUNNEL, "ada", &app.url()),
        };
        let edge = setup.start().await;
        let ada = Person::enrolled(&edge, "ada").await;
        let desktop = match way {
            Way::Agent => {
                let desktop = Desktop::linked(&edge, "ada").await;
                let agent = desktop.run(&app.url()).await;
                Some((desktop, agent))
            }
            Way::Fixed => None,
        };
        let tunnel = desktop.as_ref().map_or(TUNNEL, |(desktop, _)| &desktop.tunnel).to_owned();
        Self { edge, app, tunnel, ada, _desktop: desktop }
    }

    fn page(&self, path: &str) -> Url {
        self.edge.tunnel(&self.tunnel, path)
    }

    /// Ada signs in anew, in a browser that knows nothing of the last.
    async fn sign_in(&mut self) {
        self.ada.browser = self.ada.browser.stranger();
        let page = self.page("/");
        self.ada.open(&page).await.must_be(200);
    }

    /// She registers another passkey and signs in with it elsewhere.
    async fn elsewhere(&self) -> Elsewhere {
        let begun = self.ada.begin_registration(&json!({"name": "Elsewhere"})).await;
        let mut person = Person::with_nothing(&self.edge, "ada");
        person.key = Authenticator::at(&origin(&self.edge.deployer("/")));
        let made = person.key.register(&begun["publicKey"]);
        let ceremony = begun["ceremony"].as_str().expect("an id");
        let added = self.ada.api_post(&format!("/passkeys/registration/{ceremony}"), &made).await;
        let passkey = added.must_be(201).json()["id"].as_str().expect("an id").to_owned();
        person.open(&self.page("/")).await.must_be(200);
        Elsewhere { person, passkey }
    }

    /// The session that was opened on the tunnel with this passkey.
    async fn session_of(&self, passkey: &str) -> String {
        let listed = self.edge.admin(&["session", "list"]).await;
        let mut sessions = listed.as_array().expect("an array").iter();
        let its = sessions.find(|one| one["tunnel"] == self.tunnel.as_str() && one["device"] == passkey);
        its.unwrap_or_else(|| panic!("none of {passkey}: {listed}"))["id"].as_str().expect("an id").to_owned()
    }

    async fn give(&self, order: Order, to: &Elsewhere) {
        let operator = |words: &'static [&'static str]| self.edge.admin(words);
        let api = |path: String| async move {
            let answer = self.ada.api_delete(&path).await;
            assert!(answer.status.is_success(), "{path}: {answer:?}");
        };
        match order {
            Order::RevokeOne => {
                let id = self.session_of(&to.passkey).await;
                self.edge.admin(&["session", "revoke", &id]).await;
            }
            Order::EndOne => api(format!("/sessions/{}", self.session_of(&to.passkey).await)).await,
            Order::LogOut => {
                // From a copy of the browser, which does not lose its cookie.
                let page = self.page("/");
                let cookie = to.person.browser.cookies.get(&page, SESSION).expect("a session");
                let copy = to.person.browser.with(&page, SESSION, &cookie);
                let answer = copy.fetch(Method::POST, &self.page("/.patapim/logout")).await;
                assert!(answer.status.is_success() || answer.is_redirect(), "{answer:?}");
            }
            Order::RemovePasskey => api(format!("/passkeys/{}", to.passkey)).await,
            Order::EndAll => api("/sessions".into()).await,
            Order::RevokePerson => drop(operator(&["session", "revoke", "--user", "ada"]).await),
            Order::RotateKeys => drop(operator(&["key", "rotate", "--now"]).await),
            Order::DisableUser => drop(operator(&["user", "disable", "ada"]).await),
            Order::RemoveUser => drop(operator(&["user", "remove", "ada"]).await),
            Order::RemoveTunnel => drop(self.edge.admin(&["tunnel", "remove", &self.tunnel]).await),
            Order::DeleteTunnel => api(format!("/tunnels/{}", self.tunnel)).await,
        }
    }

    /// Opens everything, gives the order, and sees it all end. Gives the browser that is shut out now.
    async fn see(&mut self, order: Order) -> Visitor {
        self.sign_in().await;
        let to = self.elsewhere().await;
        let name = format!("{order:?}");
        let mut held = Held::open(&self.app, &to.person.browser, &name, |path| self.page(path)).await;
        let beside = format!("{name}-beside");
        let stream = self.ada.browser.h2().fetch(Method::GET, &self.page(&format!("/events/{beside}")));
        let mut neighbour = held.beside(stream).await;
        self.app.streaming(&beside).await;
        held.lives().await;

        self.give(order, &to).await;
        let answered = Instant::now();
        held.cut().await;
        assert!(answered.elapsed().as_secs_f64() < 1.0, "{order:?}: {:?}", answered.elapsed());
        to.person.browser.curl(&self.page("/")).await.must_be(401);
        if order.spares_the_neighbour() {
            self.app.tick(&beside, "still here");
            assert_eq!(neighbour.text().await, "data: still here\n\n", "{order:?}");
        } else {
            assert!(neighbour.broke_off().await, "{order:?} is for all of the person's");
        }
        let stranger = to.person.browser.stranger().h2();
        let asked = held.beside(stranger.curl(&self.page("/"))).await;
        assert_eq!(asked.status, 401, "{order:?}: the connection itself goes on");
        to.person.browser
    }

    /// How many streams were cut, and how many of them within a second, as the operator is told.
    async fn measured(&self) -> (usize, usize) {
        let metrics = self.edge.visitor().curl(&self.edge.operator("/metrics")).await.must_be(200).text();
        let number = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)).expect("its line");
            line.trim().parse().expect("a number")
        };
        (
            number("patapim_edge_revocation_cut_seconds_count"),
            number("patapim_edge_revocation_cut_seconds_bucket{le=\"1\"}"),
        )
    }
}

async fn every_order_cuts_for_good(way: Way) {
    let mut owned = Owned::with(way, Setup::default()).await;
    let mut shut_out = Vec::new();
    for order in REPEATABLE {
        shut_out.push((order, owned.see(order).await));
    }
    let (cut, within_a_second) = owned.measured().await;
    assert!(cut >= REPEATABLE.len() * STREAMS, "{cut} were cut");
    assert_eq!(cut, within_a_second);

    owned.edge.kill().await;
    owned.edge.start_again().await;
    for (order, browser) in shut_out {
        let answer = browser.curl(&owned.page("/")).await;
        assert_eq!(answer.status, 401, "{order:?} is forgotten after a restart");
    }
}

#[tokio::test]
async fn every_order_that_ends_a_session_cuts_all_it_has_open_over_an_agent_for_good() {
    every_order_cuts_for_good(Way::Agent).await;
}

#[tokio::test]
async fn every_order_that_ends_a_session_cuts_all_it_has_open_over_a_fixed_upstream_for_good() {
    every_order_cuts_for_good(Way::Fixed).await;
}

#[tokio::test]
async fn the_end_of_a_person_and_of_a_tunnel_cuts_all_that_is_open_for_good() {
    for (order, way) in [
        (Order::DisableUser, Way::Agent),
        (Order::DisableUser, Way::Fixed),
        (Order::RemoveUser, Way::Agent),
        (Order::RemoveUser, Way::Fixed),
        (Order::RemoveTunnel, Way::Agent),
        (Order::DeleteTunnel, Way::Agent),
    ] {
        let mut owned = Owned::with(way, Setup::default()).await;
        let browser = owned.see(order).await;
        owned.edge.kill().await;
        owned.edge.start_again().await;
        let answer = browser.curl(&owned.page("/")).await;
        assert_eq!(answer.status, 401, "{order:?}, {way:?} is forgotten after a restart");
    }
}

async fn streams_end_with_the_token(way: Way) {
    const TTL: f64 = 10.0;
    let setup = Setup::default().with(&format!("[session]\ntoken_ttl = \"{TTL}s\""));
    let mut owned = Owned::with(way, setup).await;
    let began = Instant::now();
    owned.sign_in().await;
    let browser = owned.ada.browser.clone();
    let mut held = Held::open(&owned.app, &browser, "until-exp", |path| owned.page(path)).await;
    held.lives().await;
    held.cut().await;
    let lasted = began.elapsed().as_secs_f64();
    assert!((TTL - 1.0..TTL + 4.0).contains(&lasted), "{way:?}: {lasted} s");
    browser.curl(&owned.page("/")).await.must_be(401);
}

#[tokio::test]
async fn streams_over_an_agent_end_when_the_token_does_that_opened_their_session() {
    streams_end_with_the_token(Way::Agent).await;
}

#[tokio::test]
async fn streams_over_a_fixed_upstream_end_when_the_token_does_that_opened_their_session() {
    streams_end_with_the_token(Way::Fixed).await;
}
