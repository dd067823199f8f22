//! Tunnels: public names and whose they are.

use serde::{Deserialize, Serialize};

use super::users::user_key;
use super::{AccountError, Accounts, encode};
use crate::clock::Timestamp;
use crate::names::{TunnelId, UserId, UserName};
use crate::store::{Commit, Cond, Key, Tx};

/// Who answers for a tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TunnelKind {
    /// An agent that dialed in.
    Agent,
    /// A fixed address from the configuration.
    Fixed,
}

/// A tunnel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tunnel {
    /// Its label.
    pub id: TunnelId,
    /// Whose it is; nobody else gets a token for it.
    pub user: UserId,
    /// What its owner calls it.
    pub name: Option<String>,
    /// The desktop's own name, from linking.
    pub desktop: Option<String>,
    /// Who answers.
    pub kind: TunnelKind,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its agent was last seen connected.
    pub last_seen: Option<Timestamp>,
    /// Origins that may call it from their own pages; none by default.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
}

impl Tunnel {
    /// Adds to `tx` that this tunnel is gone; its label stays given away.
    pub(super) fn removed_in(&self, tx: Tx) -> Tx {
        tx.delete(tunnel_key(&self.id)).delete(owned_key(&self.user, &self.id))
    }
}

pub(super) fn tunnel_key(id: &TunnelId) -> Key {
    Key::new(format!("tunnels/{id}"))
}

/// That a label was given away, and to whom; kept for ever.
pub(super) fn label_key(id: &TunnelId) -> Key {
    Key::new(format!("labels/{id}"))
}

/// That a person has a tunnel: the index by owner.
pub(super) fn owned_key(user: &UserId, id: &TunnelId) -> Key {
    Key::new(format!("user-tunnels/{user}/{id}"))
}

impl Accounts {
    /// A label for a person's new tunnel that was never given away.
    pub(super) async fn unused_label(&self, name: &UserName) -> Result<TunnelId, AccountError> {
        for _ in 0..16 {
            let id = TunnelId::made_up(name, &*self.entropy);
            if self.store.get(&label_key(&id)).await?.is_none() {
                return Ok(id);
            }
        }
        Err(AccountError::Contended)
    }

    /// A new tunnel of an agent.
    pub(super) fn new_tunnel(&self, id: TunnelId, user: &UserId, desktop: Option<String>) -> Tunnel {
        Tunnel {
            id,
            user: user.clone(),
            name: None,
            desktop,
            kind: TunnelKind::Agent,
            created_at: self.clock.now(),
            last_seen: None,
            allowed_origins: Vec::new(),
        }
    }

    /// Gives `user` the label `id` for a fixed upstream of the configuration; again and again is fine.
    ///
    /// # Errors
    /// [`AccountError::Taken`] if it was ever somebody else's.
    pub async fn claim_fixed_tunnel(&self, id: &TunnelId, user: &UserId) -> Result<Tunnel, AccountError> {
        if let Some(owner) = self.store.get(&label_key(id)).await?
            && owner.value != user.as_str().as_bytes()
        {
            return Err(AccountError::Taken(format!("the tunnel {id}")));
        }
        if let Some((tunnel, _)) = self.read::<Tunnel>(&tunnel_key(id)).await? {
            return Ok(tunnel);
        }
        let tunnel = Tunnel {
            id: id.clone(),
            user: user.clone(),
            name: None,
            desktop: None,
            kind: TunnelKind::Fixed,
            created_at: self.clock.now(),
            last_seen: None,
            allowed_origins: Vec::new(),
        };
        let tx = Tx::new()
            .when(Cond::Absent(tunnel_key(id)))
            .when(Cond::Present(user_key(user)))
            .put(label_key(id), user.as_str().to_owned())
            .put(owned_key(user, id), "")
            .put(tunnel_key(id), encode(&tunnel));
        match self.store.commit(tx).await? {
            Commit::Applied(_) => Ok(tunnel),
            Commit::Conflict => Err(AccountError::Contended),
        }
    }

    /// A tunnel by its label.
    pub async fn tunnel(&self, id: &TunnelId) -> Result<Tunnel, AccountError> {
        self.read(&tunnel_key(id))
            .await?
            .map(|(tunnel, _)| tunnel)
            .ok_or(AccountError::Missing("such tunnel"))
    }

    /// A person's tunnels, by label.
    pub async fn tunnels_of(&self, user: &UserId) -> Result<Vec<Tunnel>, AccountError> {
        let prefix = format!("user-tunnels/{user}/");
        let mut found = Vec::new();
        for entry in self.store.range(&prefix).await?.entries {
            let id = TunnelId::parse(entry.key.after(&prefix).unwrap_or_default())?;
            found.extend(self.read::<Tunnel>(&tunnel_key(&id)).await?.map(|(tunnel, _)| tunnel));
        }
        Ok(found)
    }

    /// All tunnels, by label.
    pub async fn tunnels(&self) -> Result<Vec<Tunnel>, AccountError> {
        self.read_all("tunnels/").await
    }

    /// Changes what an owner may change.
    pub async fn change_tunnel(
        &self,
        user: &UserId,
        id: &TunnelId,
        name: Option<String>,
        allowed_origins: Option<Vec<String>>,
    ) -> Result<Tunnel, AccountError> {
        self.update::<Tunnel, _>(tunnel_key(id), "such tunnel", |tunnel| {
            if tunnel.user != *user {
                return Err(AccountError::Missing("such tunnel"));
            }
            if let Some(name) = &name {
                tunnel.name = Some(name.clone()).filter(|name| !name.is_empty());
            }
            if let Some(origins) = &allowed_origins {
                tunnel.allowed_origins.clone_from(origins);
            }
            Ok(())
        })
        .await
    }

    /// Notes that a tunnel's agent is, or was until now, connected.
    pub async fn tunnel_seen(&self, id: &TunnelId) -> Result<(), AccountError> {
        let now = self.clock.now();
        self.update::<Tunnel, _>(tunnel_key(id), "such tunnel", |tunnel| {
            tunnel.last_seen = Some(now);
            Ok(())
        })
        .await
        .map(drop)
    }

    /// Removes a tunnel and unlinks its agents. Its label is never given to another.
    pub async fn remove_tunnel(&self, id: &TunnelId) -> Result<Tunnel, AccountError> {
        let tunnel = self.tunnel(id).await?;
        let mut tx = tunnel.removed_in(Tx::new().when(Cond::Present(tunnel_key(id))));
        for agent in self.agents_of(id).await? {
            tx = agent.removed_in(tx);
        }
        match self.store.commit(tx).await? {
            Commit::Applied(_) => Ok(tunnel),
            Commit::Conflict => Err(AccountError::Missing("such tunnel")),
        }
    }
}
