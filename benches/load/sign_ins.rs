//! Sign-ins with passkeys: what one costs, and whether a thousand at once keep visitors waiting.

use std::time::Instant;

use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::contestant::{Contestant, Ours};
use super::figures::Fact;
use super::h2load::{Credentials, Load, quantile};
use super::{cpu, progress};
use crate::rig::client::{Connection, Visitor};
use crate::rig::edge::{Edge, Setup};
use crate::rig::journey::{Person, bind_hash, ceremony};

/// So many people at once, and so often each: a thousand in all.
const PEOPLE: usize = 20;
const TIMES: usize = 50;

/// What visitors ask for meanwhile.
const VISITS: Load =
    Load { options: "--h1 -c10 --rps=20", requests: 1_000, path: "/small", credentials: Credentials::Good };

/// What ceremonies cost, and what visitors feel of them.
pub(crate) async fn measure(origin: String) -> Vec<Fact> {
    let setup = (0..PEOPLE).fold(Setup::default(), |setup, number| {
        setup.upstream(&tunnel_of(number), &name_of(number), &origin)
    });
    let ours = Ours::with(setup, &origin).await;
    let visitors = ours.contestant("visitors");
    let edge = &ours.edge;
    let mut people = Vec::new();
    for number in 0..PEOPLE {
        people.push(Signer::enrolled(edge, number).await);
    }
    let quiet = p99(&visitors);

    let before = cpu::seconds(&ours.pids());
    let began = Instant::now();
    let mut people = storm(people).await;
    let took = began.elapsed().as_secs_f64();
    let each = (cpu::seconds(&ours.pids()) - before) / (PEOPLE * TIMES) as f64;

    let visits = tokio::task::spawn_blocking(move || p99(&visitors));
    let mut rounds = 0;
    while !visits.is_finished() {
        people = storm(people).await;
        rounds += 1;
    }
    let busy = visits.await.unwrap_or(f64::NAN);
    let cost = format!(
        "{:.0} (each {:.2} ms of the edge's processor time; {:.0}/s here, with the authenticators' own work on the same cores)",
        1.0 / each,
        each * 1e3,
        (PEOPLE * TIMES) as f64 / took,
    );
    let felt = format!("{busy:.1} ms against {quiet:.1} ms: {:.1} × ({rounds} bursts)", busy / quiet);
    progress(&format!("sign-ins: {cost}; {felt}"));
    vec![
        Fact { what: "sign-in ceremonies per second and core", found: cost, aim: "told" },
        Fact {
            what: "p99 of proxied requests at 200/s during bursts of 1,000 sign-ins",
            found: felt,
            aim: "≤ 2 ×",
        },
    ]
}

fn name_of(number: usize) -> String {
    format!("person-{number}")
}

fn tunnel_of(number: usize) -> String {
    format!("person-{number}-abc234")
}

fn p99(visitors: &Contestant) -> f64 {
    VISITS.run(visitors).map_or(f64::NAN, |loaded| quantile(&loaded.latencies, 0.99))
}

/// Everybody signs in over and over.
async fn storm(people: Vec<Signer>) -> Vec<Signer> {
    let all = people.into_iter().map(|mut one| {
        tokio::spawn(async move {
            for _ in 0..TIMES {
                one.sign_in().await;
            }
            one
        })
    });
    let mut back = Vec::new();
    for one in all.collect::<Vec<_>>() {
        back.push(one.await.expect("a sign-in"));
    }
    back
}

/// Somebody with a passkey, and a connection that stays open.
struct Signer {
    person: Person,
    browser: Visitor,
    connection: Connection,
    wanted: Value,
}

impl Signer {
    async fn enrolled(edge: &Edge, number: usize) -> Self {
        let name = name_of(number);
        let person = Person::enrolled(edge, &name).await;
        let browser = person.browser.h2();
        let connection = browser.connect(&person.deployer, None).await.expect("a connection");
        let wanted = json!({"tunnel": tunnel_of(number), "bind": bind_hash(&name), "return_to": "/"});
        Self { person, browser, connection, wanted }
    }

    async fn sign_in(&mut self) {
        let begun = self.post("/sign-in/passkey", &self.wanted.clone()).await;
        let asserted = self.person.key.assert(&begun["publicKey"]);
        let done = self.post(&format!("/sign-in/passkey/{}", ceremony(&begun)), &asserted).await;
        assert!(done["redirect"].as_str().is_some_and(|link| link.contains("token=")), "{done}");
    }

    async fn post(&mut self, path: &str, body: &Value) -> Value {
        let url = self.person.api(path);
        let answer = self.connection.send(self.browser.post(&url, body)).await.expect("an answer");
        self.browser.cookies.keep(&url, answer.headers());
        let body = answer.into_body().collect().await.expect("a whole answer").to_bytes();
        serde_json::from_slice(&body).expect("JSON")
    }
}
