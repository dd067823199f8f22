//! One session: what is kept of it, and what of that changes while it lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::assertion::Assertion;
use super::cookies::SessionCookie;
use super::revocation::{Lineage, OpenedBy};
use crate::clock::Timestamp;
use crate::names::{DeviceId, SessionId, TokenId, TunnelId, UserId, UserName};
use crate::proof::Proof;
use crate::secret::from_base64url;

/// Where a session is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Realm {
    /// At the deployer.
    Deployer,
    /// On one tunnel.
    Tunnel(TunnelId),
}

impl Realm {
    /// The tunnel, if it is one.
    pub fn tunnel(&self) -> Option<&TunnelId> {
        match self {
            Self::Deployer => None,
            Self::Tunnel(tunnel) => Some(tunnel),
        }
    }
}

/// How the person signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// With a passkey.
    Passkey,
    /// With a backup code.
    BackupCode,
    /// With a link sent by mail.
    MagicLink,
    /// With a password.
    Password,
    /// Not at all: a script, with an access token that a person made for it.
    AccessToken,
}

impl Method {
    /// Whether it stands in for a passkey. Each such sign-in is a device of its own, and may do less.
    pub const fn is_fallback(self) -> bool {
        matches!(self, Self::BackupCode | Self::MagicLink | Self::Password)
    }
}

/// A session as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SessionRecord {
    pub(super) realm: Realm,
    pub(super) user: UserId,
    pub(super) user_name: UserName,
    pub(super) device: DeviceId,
    pub(super) device_name: String,
    pub(super) method: Method,
    pub(super) signed_in_at: Timestamp,
    pub(super) created_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) address: String,
    pub(super) user_agent: String,
    /// SHA-256 of the cookie's secret, base64url.
    pub(super) secret: String,
    /// The token whose redemption opened it.
    pub(super) token: Option<TokenId>,
    /// What an access token is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// When a desktop of the person's approved the device; for a passkey nobody asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) approved_at: Option<Timestamp>,
    /// What its desktop is shown of the sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) proof: Option<Proof>,
}

/// A live session.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    record: SessionRecord,
    secret_sha256: [u8; 32],
    expires_at: AtomicU64,
    /// In milliseconds; 0: not.
    approved_at: AtomicU64,
    /// In milliseconds; 0: never.
    last_used: AtomicU64,
    /// What the store says of it.
    last_used_kept: AtomicU64,
    /// It has ended, for whatever reason.
    over: AtomicBool,
    /// Fires when what is open under it has to end; then there is another for what is opened after that.
    switch: ArcSwap<CancellationToken>,
    /// Not told since the store is read anew.
    doubted: AtomicBool,
    /// In milliseconds; 0: it was not revoked.
    revoked_at: AtomicU64,
    proof: ArcSwapOption<Proof>,
    /// Who is visiting, signed for the app; kept here while it is fresh.
    assertion: ArcSwapOption<Assertion>,
}

impl Session {
    pub(super) fn new(id: SessionId, record: SessionRecord) -> Option<Self> {
        Some(Self {
            id,
            secret_sha256: from_base64url(&record.secret)?.try_into().ok()?,
            expires_at: AtomicU64::new(record.expires_at.millis()),
            approved_at: AtomicU64::new(record.approved_at.unwrap_or_default().millis()),
            last_used: AtomicU64::new(0),
            last_used_kept: AtomicU64::new(0),
            over: AtomicBool::new(false),
            switch: ArcSwap::default(),
            doubted: AtomicBool::new(false),
            revoked_at: AtomicU64::new(0),
            proof: ArcSwapOption::new(record.proof.clone().map(Arc::new)),
            assertion: ArcSwapOption::empty(),
            record,
        })
    }

    /// Its id; not a secret.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// Where it is good.
    pub fn realm(&self) -> &Realm {
        &self.record.realm
    }

    /// Whose it is.
    pub fn user(&self) -> &UserId {
        &self.record.user
    }

    /// The person's name.
    pub fn user_name(&self) -> &UserName {
        &self.record.user_name
    }

    /// The device that opened it.
    pub fn device(&self) -> &DeviceId {
        &self.record.device
    }

    /// The device's display name at sign-in.
    pub fn device_name(&self) -> &str {
        &self.record.device_name
    }

    /// What the person calls it, if it is an access token.
    pub fn access_token_name(&self) -> Option<&str> {
        self.record.name.as_deref()
    }

    /// How the person signed in.
    pub fn method(&self) -> Method {
        self.record.method
    }

    /// When the person completed the ceremony it rests on.
    pub fn signed_in_at(&self) -> Timestamp {
        self.record.signed_in_at
    }

    /// When it was opened.
    pub fn created_at(&self) -> Timestamp {
        self.record.created_at
    }

    /// When it ends by itself.
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_millis(self.expires_at.load(Ordering::Relaxed))
    }

    /// When a desktop of the person's approved the device that opened it, if one did.
    pub fn approved_at(&self) -> Option<Timestamp> {
        match self.approved_at.load(Ordering::Relaxed) {
            0 => None,
            at => Some(Timestamp::from_millis(at)),
        }
    }

    /// What its desktop is shown of the sign-in it rests on, or of the last one that joined it.
    pub fn proof(&self) -> Option<Arc<Proof>> {
        self.proof.load_full()
    }

    /// The store has another record of it. Its end and its proof change when a later sign-in joins it, and a desktop may
    /// approve its device.
    pub(super) fn changed(&self, record: SessionRecord) {
        self.expires_at.store(record.expires_at.millis(), Ordering::Relaxed);
        self.approved(record.approved_at.unwrap_or_default());
        self.proof.store(record.proof.map(Arc::new));
    }

    /// A desktop approved its device.
    pub(super) fn approved(&self, at: Timestamp) {
        self.approved_at.fetch_max(at.millis(), Ordering::Relaxed);
    }

    /// When it was last used; its opening counts.
    pub fn last_seen(&self) -> Timestamp {
        self.created_at().max(self.last_used().unwrap_or_default())
    }

    /// When it was last used after its opening, if it was.
    pub fn last_used(&self) -> Option<Timestamp> {
        match self.last_used.load(Ordering::Relaxed) {
            0 => None,
            at => Some(Timestamp::from_millis(at)),
        }
    }

    /// Notes a use. It is written down [within a minute](super::last_seen).
    pub fn seen(&self, now: Timestamp) {
        self.last_used.fetch_max(now.millis(), Ordering::Relaxed);
    }

    /// The last use, if the store does not know of it yet.
    pub(super) fn use_to_keep(&self) -> Option<Timestamp> {
        self.last_used().filter(|at| at.millis() > self.last_used_kept.load(Ordering::Relaxed))
    }

    /// The store knows of a use at `at`.
    pub(super) fn use_kept(&self, at: Timestamp) {
        self.last_used_kept.fetch_max(at.millis(), Ordering::Relaxed);
        self.seen(at);
    }

    /// From where it was opened.
    pub fn address(&self) -> &str {
        &self.record.address
    }

    /// The browser that opened it.
    pub fn user_agent(&self) -> &str {
        &self.record.user_agent
    }

    /// Fires when the session ends, for whatever reason, or is about to. Every stream that it has open watches this.
    pub(super) fn switch(&self) -> Arc<CancellationToken> {
        self.switch.load_full()
    }

    /// Whether it has ended, for whatever reason but its time.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Resolves when it has ended, for whatever reason.
    pub async fn over(&self) {
        loop {
            let switch = self.switch();
            if self.is_over() {
                return;
            }
            switch.cancelled().await;
        }
    }

    /// When it was revoked, if that is how it ended; for measuring how long its streams outlived it.
    pub fn revoked_at(&self) -> Option<Timestamp> {
        let at = self.revoked_at.load(Ordering::Relaxed);
        (at > 0).then(|| Timestamp::from_millis(at))
    }

    /// Ends what is open under it, and not the session itself: it is being revoked as of `at`.
    pub(super) fn cut_streams(&self, at: Timestamp) {
        self.revoked_at.store(at.millis(), Ordering::Relaxed);
        self.switch.swap(Arc::default()).cancel();
        if self.is_over() {
            // It ended in this moment, and whoever ended it may have known the former switch only.
            self.switch().cancel();
        }
    }

    /// It was revoked.
    pub(super) fn revoke(&self, at: Timestamp) {
        self.revoked_at.store(at.millis(), Ordering::Relaxed);
        self.end();
    }

    /// It is in the store no more.
    pub(super) fn expire(&self) {
        if !self.is_over() {
            // Where it was to be revoked and the store would not take it, that is not why it ends.
            self.revoked_at.store(0, Ordering::Relaxed);
            self.end();
        }
    }

    /// It is over.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.switch().cancel();
    }

    /// Whether it is good at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.is_over() && now < self.expires_at()
    }

    pub(super) fn doubt(&self, doubted: bool) {
        self.doubted.store(doubted, Ordering::Relaxed);
    }

    pub(super) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Relaxed)
    }

    pub(super) fn assertion(&self) -> &ArcSwapOption<Assertion> {
        &self.assertion
    }

    pub(super) fn secret_sha256(&self) -> [u8; 32] {
        self.secret_sha256
    }

    pub(super) fn matches(&self, cookie: &SessionCookie) -> bool {
        cookie.id == self.id && cookie.matches(&self.secret_sha256)
    }

    pub(super) fn record(&self) -> &SessionRecord {
        &self.record
    }

    pub(super) fn lineage(&self) -> Lineage<'_> {
        Lineage {
            session: Some(&self.id),
            device: &self.record.device,
            user: &self.record.user,
            tunnel: self.record.realm.tunnel(),
            opened_by: match (self.record.method, &self.record.token) {
                (Method::AccessToken, _) => OpenedBy::AccessToken,
                (_, Some(_)) => OpenedBy::SignedToken,
                (_, None) => OpenedBy::Ceremony,
            },
            signed_in_at: self.record.signed_in_at,
        }
    }
}
