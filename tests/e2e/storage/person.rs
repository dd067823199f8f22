//! Somebody who does one thing after the other, notes what was acknowledged, and comes back to see whether it is so.

use http::Method;
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::ledger::{Ledger, Standing, Visit};
use crate::rig::answer::Answer;
use crate::rig::authenticator::Authenticator;
use crate::rig::client::{Outgoing, origin};
use crate::rig::edge::Edge;
use crate::rig::journey::{Person, SESSION, sign_in_request};
use crate::rig::post::Post;
use crate::rig::power::Dice;

const LINK: &str = "Your sign-in link";
/// Fewer than the ten wrong ones after which nobody listens any more.
const MOST_AGAIN: usize = 8;

/// The edge did not answer, or said that it could not.
#[derive(Debug)]
pub(super) struct Gone;

/// What the edge answers, if it does.
async fn answer(outgoing: Outgoing) -> Result<Answer, Gone> {
    let answer = outgoing.whole().await.map_err(|_| Gone)?;
    if answer.status == 503 { Err(Gone) } else { Ok(answer) }
}

/// The same, with this status and no other.
async fn good(outgoing: Outgoing, status: u16) -> Result<Answer, Gone> {
    Ok(answer(outgoing).await?.must_be(status))
}

/// Who acts.
pub(super) struct Busy {
    person: Person,
    tunnel: Url,
    post: Option<Post>,
    pub(super) ledger: Ledger,
    /// Where the visits, codes and so on begin that were not looked at again yet.
    looked_at: [usize; 4],
    /// Mails that the present process was asked for.
    mailed: usize,
    ended: CancellationToken,
}

impl Busy {
    /// Enrols at `edge`, where `tunnel` is theirs.
    pub(super) async fn enrolled(edge: &Edge, name: &str, tunnel: &str, post: Option<Post>) -> Self {
        let link = edge.invite_at(name, &format!("{name}@mail.test")).await;
        let mut person = Person::with_nothing(edge, name);
        person.enrol(&link).await.must_be(201);
        let switched = person.browser.fetch(Method::PUT, &person.api("/fallbacks/magic-link"));
        if post.is_some() {
            switched.json(&json!({"enabled": true})).await.must_be(200);
        }
        let tunnel = edge.tunnel(tunnel, "/");
        Self {
            person,
            tunnel,
            post,
            ledger: Ledger::default(),
            looked_at: [0; 4],
            mailed: 0,
            ended: CancellationToken::new(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.person.name
    }

    /// One thing.
    pub(super) async fn act(&mut self, dice: &mut Dice) -> Result<(), Gone> {
        match dice.roll(10) {
            0 | 1 => self.registers(dice).await,
            2..=4 => self.signs_in().await,
            5 | 6 => self.signs_out(dice).await,
            7 => self.uses_a_code().await,
            8 => self.links_a_desktop().await,
            _ => self.uses_a_mailed_link().await,
        }
    }

    fn api(&self, path: &str) -> Url {
        self.person.api(path)
    }

    async fn post_json(&self, path: &str, body: &Value) -> Result<Answer, Gone> {
        answer(self.person.browser.post(&self.api(path), body)).await
    }

    async fn registers(&mut self, dice: &mut Dice) -> Result<(), Gone> {
        let name = format!("key {:08x}", dice.roll(1 << 32));
        let begun =
            self.post_json("/passkeys/registration", &json!({"name": name})).await?.must_be(200).json();
        let made = Authenticator::at(&origin(&self.person.deployer)).register(&begun["publicKey"]);
        let path = format!("/passkeys/registration/{}", begun["ceremony"].as_str().expect("an id"));
        self.post_json(&path, &made).await?.must_be(201);
        self.ledger.passkeys.push(name);
        Ok(())
    }

    async fn signs_in(&mut self) -> Result<(), Gone> {
        let browser = self.person.browser.stranger();
        let auth = good(browser.navigate(&self.tunnel), 303).await?.location();
        let begun = browser.post(&self.api("/sign-in/passkey"), &sign_in_request(&auth));
        let begun = good(begun, 200).await?.json();
        let signed = self.person.key.assert(&begun["publicKey"]);
        let path = format!("/sign-in/passkey/{}", begun["ceremony"].as_str().expect("an id"));
        let signed = good(browser.post(&self.api(&path), &signed), 200).await?.json();
        let link = Url::parse(signed["redirect"].as_str().expect("a link")).expect("a link");
        let standing = Standing::RedemptionInDoubt;
        self.ledger.visits.push(Visit { browser, link, cookie: String::new(), standing });
        self.redeems(self.ledger.visits.len() - 1).await
    }

    async fn redeems(&mut self, visit: usize) -> Result<(), Gone> {
        let visit = &mut self.ledger.visits[visit];
        let redeemed = good(visit.browser.navigate(&visit.link), 303).await?;
        visit.cookie = redeemed.sets(SESSION).expect("a session").value;
        visit.browser.cookies.set(&visit.link, SESSION, &visit.cookie);
        visit.standing = Standing::Open;
        Ok(())
    }

    async fn signs_out(&mut self, dice: &mut Dice) -> Result<(), Gone> {
        let open = self.ledger.visits.iter().enumerate().filter(|(_, one)| one.standing == Standing::Open);
        let open: Vec<_> = open.map(|(at, _)| at).collect();
        let chosen = usize::try_from(dice.roll(open.len() as u64)).expect("a place");
        match open.get(chosen) {
            // Some stay signed in, to be found so.
            Some(visit) if open.len() > 2 => self.ends(*visit).await,
            _ => self.signs_in().await,
        }
    }

    async fn ends(&mut self, visit: usize) -> Result<(), Gone> {
        let logout = self.tunnel.join("/.patapim/logout").expect("a path");
        let visit = &mut self.ledger.visits[visit];
        visit.standing = Standing::EndInDoubt;
        let carried = visit.browser.with(&logout, SESSION, &visit.cookie);
        good(carried.fetch(Method::POST, &logout), 204).await?;
        visit.standing = Standing::Ended;
        Ok(())
    }

    async fn uses_a_code(&mut self) -> Result<(), Gone> {
        let Some(code) = self.ledger.codes_left.pop() else { return self.has_new_codes().await };
        self.ledger.codes_in_doubt_of_set += 1;
        let body = json!({"user": self.name(), "code": code});
        let stranger = self.person.browser.stranger();
        good(stranger.post(&self.api("/sign-in/backup-code"), &body), 200).await?;
        self.ledger.codes_in_doubt_of_set -= 1;
        self.ledger.codes_used_of_set += 1;
        self.ledger.codes_used.push(code);
        Ok(())
    }

    async fn has_new_codes(&mut self) -> Result<(), Gone> {
        // Should the answer be lost, nobody knows the new ones.
        self.ledger.codes_in_doubt_of_set = 10;
        let made = self.post_json("/fallbacks/backup-codes", &json!({})).await?.must_be(201).json();
        self.ledger.codes_left = serde_json::from_value(made["codes"].clone()).expect("codes");
        (self.ledger.codes_used_of_set, self.ledger.codes_in_doubt_of_set) = (0, 0);
        Ok(())
    }

    async fn links_a_desktop(&mut self) -> Result<(), Gone> {
        let key = KeyPair::generate().expect("a key").subject_public_key_info();
        let key = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, key);
        let stranger = self.person.browser.stranger();
        let asked = stranger.post(&self.api("/link"), &json!({"name": "Desk", "public_key": key}));
        let asked = answer(asked).await?;
        if asked.status == 429 {
            // Those whose answers were lost still wait.
            return Ok(());
        }
        let asked = asked.must_be(200).json();
        let code = asked["user_code"].as_str().expect("a code").to_owned();
        let approved = self.post_json("/link/approve", &json!({"user_code": code})).await?.must_be(200);
        let tunnel = approved.json()["tunnel"].as_str().expect("a tunnel").to_owned();
        self.ledger.desktops.push((code, tunnel));
        Ok(())
    }

    async fn uses_a_mailed_link(&mut self) -> Result<(), Gone> {
        // A fourth within a quarter of an hour is not sent.
        let Some(post) = self.post.as_ref().filter(|_| self.mailed < 3) else { return self.signs_in().await };
        self.mailed += 1;
        let before = post.so_far().iter().filter(|mail| mail.header("Subject") == LINK).count();
        let browser = self.person.browser.stranger();
        let asked = json!({"email": format!("{}@mail.test", self.name())});
        good(browser.post(&self.api("/sign-in/magic-link"), &asked), 202).await?;
        // It is sent after the answer, so perhaps never.
        let mail = tokio::select! {
            mails = post.about(LINK, before + 1) => mails.into_iter().nth(before),
            () = self.ended.cancelled() => None,
        };
        let token = mail.ok_or(Gone)?.token();
        good(browser.post(&self.api("/sign-in/magic-link/redeem"), &json!({"token": token})), 200).await?;
        self.ledger.magic_links_used.push((browser, token));
        Ok(())
    }

    /// The edge runs anew; `ended` tells when it does no more.
    pub(super) fn begins_anew(&mut self, ended: CancellationToken) {
        (self.ended, self.mailed) = (ended, 0);
    }

    /// Holds what the edge says now against the ledger, and settles what was in doubt.
    pub(super) async fn looks(&mut self) {
        let [visits, codes, mails, desktops] = self.looked_at;
        let listed = self.person.api_get("/passkeys").await.must_be(200).text();
        for name in &self.ledger.passkeys {
            assert!(listed.contains(name.as_str()), "the passkey {name} was acknowledged and is lost");
        }
        for visit in 0..self.ledger.visits.len() {
            // What was looked at before is looked at again now and then.
            if visit >= visits || visit % 7 == visits % 7 {
                self.looks_at_visit(visit, visit >= visits).await;
            }
        }
        let used = self.ledger.codes_used.iter().skip(codes).take(MOST_AGAIN);
        for code in used {
            let again = json!({"user": self.name(), "code": code});
            let stranger = self.person.browser.stranger();
            stranger.post(&self.api("/sign-in/backup-code"), &again).await.must_be(401);
        }
        let fallbacks = self.person.api_get("/fallbacks").await.must_be(200).json();
        let left = fallbacks["backup_codes"]["left"].as_u64().expect("a count");
        let used = self.ledger.codes_used_of_set as u64;
        let doubt = self.ledger.codes_in_doubt_of_set as u64;
        if doubt < 10 {
            assert!(
                left <= 10 - used && left + used + doubt >= 10 || used + left == 0,
                "{left} left, {used} used, {doubt} in doubt"
            );
        }
        for (browser, token) in self.ledger.magic_links_used.iter().skip(mails) {
            let again = json!({"token": token});
            browser.post(&self.api("/sign-in/magic-link/redeem"), &again).await.must_be(401);
        }
        let tunnels = self.person.api_get("/tunnels").await.must_be(200).text();
        for (_, tunnel) in &self.ledger.desktops {
            assert!(
                tunnels.contains(tunnel.as_str()),
                "the desktop on {tunnel} was acknowledged and is lost"
            );
        }
        for (code, _) in self.ledger.desktops.iter().skip(desktops).take(MOST_AGAIN) {
            let again = self.person.api_post("/link/approve", &json!({"user_code": code})).await.must_be(403);
            assert!(again.problem().ends_with("link-code-refused"), "{again:?}");
        }
        let Ledger { visits, codes_used, magic_links_used, desktops, .. } = &self.ledger;
        self.looked_at = [visits.len(), codes_used.len(), magic_links_used.len(), desktops.len()];
    }

    async fn looks_at_visit(&mut self, at: usize, is_recent: bool) {
        let visit = &self.ledger.visits[at];
        let (session, standing) = (visit.link.join("/.patapim/session").expect("a path"), visit.standing);
        let carried = visit.browser.with(&session, SESSION, &visit.cookie);
        let seen = async || carried.fetch(Method::GET, &session).await;
        match standing {
            // Its own browser gets a session, and of the same token nobody another.
            Standing::RedemptionInDoubt if is_recent => {
                self.redeems(at).await.expect("an answer");
                self.is_bound(at).await;
            }
            Standing::RedemptionInDoubt => {}
            Standing::Open => {
                seen().await.must_be(200);
                if is_recent {
                    self.is_bound(at).await;
                }
            }
            Standing::EndInDoubt if seen().await.status == 200 => self.ends(at).await.expect("an answer"),
            Standing::EndInDoubt | Standing::Ended => {
                seen().await.must_be(401);
                visit.browser.navigate(&visit.link).await.must_be(401);
            }
        }
    }

    /// The link is good in the browser that has it, for the session that it opened, and in no other.
    async fn is_bound(&self, at: usize) {
        let Visit { browser, link, cookie, .. } = &self.ledger.visits[at];
        let lost_its_cookie = browser.clone();
        lost_its_cookie.cookies.forget(link, SESSION);
        let again = lost_its_cookie.navigate(link).await.must_be(303);
        assert_eq!(again.sets(SESSION).map(|cookie| cookie.value).as_ref(), Some(cookie), "another session");
        browser.stranger().navigate(link).await.must_be(401);
    }
}
