//! A person with a browser and a passkey, and the two journeys: enrolling, and signing in to a tunnel.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use url::Url;

use super::answer::Answer;
use super::authenticator::Authenticator;
use super::client::{Visitor, origin};
use super::edge::Edge;

/// The cookies of the edge, by name.
pub(crate) const BIND: &str = "__Host-patapim-bind";
pub(crate) const SESSION: &str = "__Host-patapim-session";
pub(crate) const DEPLOYER: &str = "__Host-patapim-deployer";

/// Somebody with an account.
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) browser: Visitor,
    pub(crate) key: Authenticator,
    pub(crate) deployer: Url,
}

impl Person {
    /// Is invited and enrols, in a browser of their own.
    pub(crate) async fn enrolled(edge: &Edge, name: &str) -> Self {
        let link = edge.invite(name).await;
        let mut person = Self::with_nothing(edge, name);
        person.enrol(&link).await.must_be(201);
        person
    }

    /// A browser and an authenticator that nobody knows yet.
    pub(crate) fn with_nothing(edge: &Edge, name: &str) -> Self {
        let deployer = edge.deployer("/");
        let key = Authenticator::at(&origin(&deployer));
        Self { name: name.to_owned(), browser: edge.visitor(), key, deployer }
    }

    /// Takes up an invitation, as the page at `link` does.
    pub(crate) async fn enrol(&mut self, link: &Url) -> Answer {
        self.browser.navigate(link).await.must_be(200);
        let ticket = query(link, "ticket").expect("a ticket in the link");
        let begun = self.begin_registration(&json!({"name": "Test key", "ticket": ticket})).await;
        let made = self.key.register(&begun["publicKey"]);
        self.api_post(&format!("/passkeys/registration/{}", ceremony(&begun)), &made).await
    }

    /// Begins to register a passkey.
    pub(crate) async fn begin_registration(&self, body: &Value) -> Value {
        self.api_post("/passkeys/registration", body).await.must_be(200).json()
    }

    /// Begins a sign-in with a passkey.
    pub(crate) async fn begin_sign_in(&self, body: &Value) -> Value {
        self.api_post("/sign-in/passkey", body).await.must_be(200).json()
    }

    /// Finishes it.
    pub(crate) async fn finish_sign_in(&self, begun: &Value, answer: &Value) -> Answer {
        self.api_post(&format!("/sign-in/passkey/{}", ceremony(begun)), answer).await
    }

    /// One tap: begins, asserts, finishes; returns where it leads.
    pub(crate) async fn tap(&mut self, body: &Value) -> Url {
        let begun = self.begin_sign_in(body).await;
        let asserted = self.key.assert(&begun["publicKey"]);
        let answer = self.finish_sign_in(&begun, &asserted).await.must_be(200);
        let redirect = answer.json()["redirect"].as_str().expect("a redirect").to_owned();
        self.deployer.join(&redirect).expect("a link")
    }

    /// Opens a page of a tunnel without a session, signs in, and stops in front of the tunnel with a token.
    pub(crate) async fn token_for(&mut self, page: &Url) -> Url {
        let sent_away = self.browser.navigate(page).await.must_be(303);
        let auth = sent_away.location();
        self.browser.navigate(&auth).await.must_be(200);
        self.tap(&sign_in_request(&auth)).await
    }

    /// Opens a page of a tunnel, signing in on the way.
    pub(crate) async fn open(&mut self, page: &Url) -> Answer {
        let link = self.token_for(page).await;
        self.browser.follow(&link).await.pop().expect("at least one answer")
    }

    /// Posts to the deployer's API as its own pages do.
    pub(crate) async fn api_post(&self, path: &str, body: &Value) -> Answer {
        self.browser.post(&self.api(path), body).await
    }

    /// Reads from the deployer's API.
    pub(crate) async fn api_get(&self, path: &str) -> Answer {
        self.browser.fetch(Method::GET, &self.api(path)).await
    }

    /// Deletes through the deployer's API.
    pub(crate) async fn api_delete(&self, path: &str) -> Answer {
        self.browser.fetch(Method::DELETE, &self.api(path)).await
    }

    /// A path of the API as a URL.
    pub(crate) fn api(&self, path: &str) -> Url {
        self.deployer.join(&format!("/api/v1{path}")).expect("a path")
    }
}

/// What the page at `/auth` asks the API for, from its own address.
pub(crate) fn sign_in_request(auth: &Url) -> Value {
    let members = ["tunnel", "bind", "return_to"];
    let known = members.iter().filter_map(|name| Some(((*name).to_owned(), query(auth, name)?.into())));
    Value::Object(known.collect())
}

pub(crate) fn ceremony(begun: &Value) -> &str {
    begun["ceremony"].as_str().unwrap_or_else(|| panic!("no ceremony: {begun}"))
}

/// A query parameter, decoded.
pub(crate) fn query(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// What stands for a bind cookie in addresses and tokens.
pub(crate) fn bind_hash(cookie: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, cookie.as_bytes()))
}

/// A JWT's header, claims and signature, unverified.
pub(crate) fn jwt_parts(token: &str) -> (Value, Value, Vec<u8>) {
    let parts: Vec<_> =
        token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url")).collect();
    assert_eq!(parts.len(), 3, "three parts: {token}");
    let json = |bytes: &[u8]| serde_json::from_slice(bytes).expect("JSON");
    (json(&parts[0]), json(&parts[1]), parts[2].clone())
}
