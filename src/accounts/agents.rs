//! Desktops: which key may dial in for which tunnel, and the one-use tokens that link a headless one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tunnels::{Tunnel, TunnelKind, label_key, owned_key, tunnel_key};
use super::users::user_key;
use super::{AccountError, Accounts, encode};
use crate::clock::Timestamp;
use crate::names::{DeviceId, TunnelId, UserId};
use crate::secret::SecretText;
use crate::store::{Commit, Cond, Key, Tx};

const LINK_TOKEN_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// A linked desktop.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Agent {
    /// SHA-256 of its key's SubjectPublicKeyInfo, base64url: what the TLS handshake must prove.
    pub pin: String,
    /// Whose desktop it is.
    pub user: UserId,
    /// The tunnel it serves.
    pub tunnel: TunnelId,
    /// What it called itself when it was linked.
    pub name: String,
    /// When it was linked.
    pub linked_at: Timestamp,
    /// The passkey that approved it, for the desktop to trust; none: it came with a token.
    #[serde(default)]
    pub approved_by: Option<DeviceId>,
}

/// A desktop about to be linked.
pub(super) struct NewDesktop<'a> {
    pub(super) pin: &'a str,
    pub(super) name: &'a str,
    pub(super) approved_by: Option<DeviceId>,
}

/// Which tunnel a desktop is linked to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkTarget {
    /// A new one, under a label that is set aside for it.
    New(TunnelId),
    /// An existing one, whose desktop this one takes the place of.
    TakeOver(TunnelId),
}

/// What a link token is good for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkGrant {
    /// Whose desktop will be linked.
    pub user: UserId,
    /// The tunnel it will serve.
    pub tunnel: LinkTarget,
    /// When it ends.
    pub expires_at: Timestamp,
}

fn agent_key(pin: &str) -> Key {
    Key::new(format!("agents/{pin}"))
}

/// That a desktop serves a tunnel: the index by tunnel.
fn serving_key(tunnel: &TunnelId, pin: &str) -> Key {
    Key::new(format!("tunnel-agents/{tunnel}/{pin}"))
}

impl Agent {
    /// Adds to `tx` that this desktop's key is forgotten.
    pub(super) fn removed_in(&self, tx: Tx) -> Tx {
        tx.delete(agent_key(&self.pin)).delete(serving_key(&self.tunnel, &self.pin))
    }
}

fn link_token_key(token: &SecretText) -> Key {
    Key::new(format!("link-tokens/{}", token.fingerprint()))
}

impl Accounts {
    /// Makes a link token for one desktop of `user`; shown once, good once, for 15 minutes. With `tunnel`, the desktop
    /// takes over that tunnel, which must be the user's; without, a label is set aside for a new one.
    pub async fn make_link_token(
        &self,
        user: &UserId,
        tunnel: Option<TunnelId>,
    ) -> Result<(SecretText, TunnelId), AccountError> {
        let owner = self.active_user(user).await?;
        let mut tx = Tx::new().when(Cond::Present(user_key(user)));
        let (id, target) = match tunnel {
            Some(id) => {
                if self.tunnel(&id).await?.user != *user {
                    return Err(AccountError::Missing("such tunnel of that user"));
                }
                (id.clone(), LinkTarget::TakeOver(id))
            }
            None => {
                let id = self.unused_label(&owner.name).await?;
                tx = tx.when(Cond::Absent(label_key(&id))).put(label_key(&id), user.as_str().to_owned());
                (id.clone(), LinkTarget::New(id))
            }
        };
        let token = SecretText::random(&*self.entropy);
        let expires_at = self.clock.now() + LINK_TOKEN_LIFETIME;
        let grant = LinkGrant { user: user.clone(), tunnel: target, expires_at };
        tx = tx.put_until(link_token_key(&token), encode(&grant), Some(expires_at));
        match self.store.commit(tx).await? {
            Commit::Applied(_) => Ok((token, id)),
            Commit::Conflict => Err(AccountError::Contended),
        }
    }

    /// Uses up a link token: pins the desktop's key to the tunnel it was made for, or to a new one.
    ///
    /// `pin` is the SHA-256 of its SubjectPublicKeyInfo, base64url. A tunnel that is taken over forgets its former key.
    pub async fn link_by_token(
        &self,
        token: &SecretText,
        pin: &str,
        desktop: &str,
    ) -> Result<(Agent, Tunnel), AccountError> {
        let key = link_token_key(token);
        let desktop = || NewDesktop { pin, name: desktop, approved_by: None };
        for _ in 0..16 {
            let (grant, revision) =
                self.read::<LinkGrant>(&key).await?.ok_or(AccountError::Gone("link token"))?;
            let spent = Tx::new().when(Cond::AtRevision(key.clone(), revision)).delete(key.clone());
            match self.link(spent, grant.user, grant.tunnel, desktop()).await {
                Err(AccountError::Contended) => {}
                answer => return answer,
            }
        }
        Err(AccountError::Contended)
    }

    /// Links a desktop in the transaction `tx`, whose conditions say by what right.
    pub(super) async fn link(
        &self,
        mut tx: Tx,
        user: UserId,
        target: LinkTarget,
        desktop: NewDesktop<'_>,
    ) -> Result<(Agent, Tunnel), AccountError> {
        let NewDesktop { pin, name, approved_by } = desktop;
        self.active_user(&user).await?;
        if self.store.get(&agent_key(pin)).await?.is_some() {
            return Err(AccountError::Taken("this desktop's key".to_owned()));
        }
        let tunnel = match target {
            LinkTarget::TakeOver(id) => {
                let (mut tunnel, revision) = self
                    .read::<Tunnel>(&tunnel_key(&id))
                    .await?
                    .filter(|(tunnel, _)| tunnel.user == user && tunnel.kind == TunnelKind::Agent)
                    .ok_or(AccountError::Missing("such tunnel"))?;
                tx = tx.when(Cond::AtRevision(tunnel_key(&id), revision));
                for former in self.agents_of(&id).await? {
                    tx = former.removed_in(tx);
                }
                tunnel.desktop = Some(name.to_owned());
                tunnel
            }
            LinkTarget::New(id) => {
                tx = tx.when(Cond::Absent(tunnel_key(&id)));
                self.new_tunnel(id, &user, Some(name.to_owned()))
            }
        };
        let agent = Agent {
            pin: pin.to_owned(),
            user: user.clone(),
            tunnel: tunnel.id.clone(),
            name: name.to_owned(),
            linked_at: self.clock.now(),
            approved_by,
        };
        let tx = tx
            .when(Cond::Present(user_key(&user)))
            .when(Cond::Absent(agent_key(pin)))
            .put(tunnel_key(&tunnel.id), encode(&tunnel))
            .put(owned_key(&user, &tunnel.id), "")
            .put(serving_key(&tunnel.id, pin), "")
            .put(agent_key(pin), encode(&agent));
        match self.store.commit(tx).await? {
            Commit::Applied(_) => Ok((agent, tunnel)),
            Commit::Conflict => Err(AccountError::Contended),
        }
    }

    /// The desktop whose key has this pin.
    pub async fn agent(&self, pin: &str) -> Result<Agent, AccountError> {
        self.read(&agent_key(pin)).await?.map(|(agent, _)| agent).ok_or(AccountError::Missing("such agent"))
    }

    /// The desktops of a tunnel; one, but for a moment of taking over.
    pub async fn agents_of(&self, tunnel: &TunnelId) -> Result<Vec<Agent>, AccountError> {
        let prefix = format!("tunnel-agents/{tunnel}/");
        let mut found = Vec::new();
        for entry in self.store.range(&prefix).await?.entries {
            let pin = entry.key.after(&prefix).unwrap_or_default();
            found.extend(self.read::<Agent>(&agent_key(pin)).await?.map(|(agent, _)| agent));
        }
        Ok(found)
    }

    /// Forgets a desktop's key. Its tunnel stays its owner's.
    pub async fn unlink(&self, pin: &str) -> Result<Agent, AccountError> {
        let agent = self.agent(pin).await?;
        match self.store.commit(agent.removed_in(Tx::new().when(Cond::Present(agent_key(pin))))).await? {
            Commit::Applied(_) => Ok(agent),
            Commit::Conflict => Err(AccountError::Missing("such agent")),
        }
    }
}
