//! People.

use serde::{Deserialize, Serialize};

use super::passkeys::credential_key;
use super::tunnels::tunnel_key;
use super::{AccountError, Accounts, encode};
use crate::clock::Timestamp;
use crate::names::{DeviceId, EmailAddress, TunnelId, UserId, UserName};
use crate::secret::{base64url, sha256};
use crate::store::{Commit, Cond, Key, Tx};

/// Whether a person may sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserState {
    /// May sign in.
    Active,
    /// May not, nor may their desktops dial in.
    Disabled,
}

/// A person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    /// Opaque; the token's `sub` and the WebAuthn user handle.
    pub id: UserId,
    /// Unique among present users.
    pub name: UserName,
    /// Where sign-in links and notices are sent, if anywhere.
    pub email: Option<EmailAddress>,
    /// Whether they may sign in.
    pub state: UserState,
    /// When they were added.
    pub created_at: Timestamp,
}

/// That a person may sign in, and the conditions under which it stays true.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The person.
    pub user: User,
    /// To be added to what is committed on the strength of it.
    pub conds: Vec<Cond>,
}

pub(super) fn user_key(id: &UserId) -> Key {
    Key::new(format!("users/{id}"))
}

fn name_key(name: &UserName) -> Key {
    Key::new(format!("user-names/{name}"))
}

/// Whose an address is: one address, one person, so that a mail goes to nobody else.
fn email_key(email: &EmailAddress) -> Key {
    Key::new(format!("user-emails/{}", base64url(sha256(email.folded()))))
}

impl Accounts {
    /// Adds a person who has no passkey yet: invite them next.
    pub async fn add_user(&self, name: UserName, email: Option<EmailAddress>) -> Result<User, AccountError> {
        let user = User {
            id: UserId::random(&*self.entropy),
            name,
            email,
            state: UserState::Active,
            created_at: self.clock.now(),
        };
        let mut tx = Tx::new()
            .when(Cond::Absent(name_key(&user.name)))
            .put(name_key(&user.name), user.id.as_str().to_owned())
            .put(user_key(&user.id), encode(&user));
        if let Some(email) = &user.email {
            let key = email_key(email);
            tx = tx.when(Cond::Absent(key.clone())).put(key, user.id.as_str().to_owned());
        }
        match self.store.commit(tx).await? {
            Commit::Applied(_) => Ok(user),
            Commit::Conflict if self.store.get(&name_key(&user.name)).await?.is_none() => {
                Err(AccountError::Taken("this e-mail address".to_owned()))
            }
            Commit::Conflict => Err(AccountError::Taken(format!("the user name {:?}", user.name.as_str()))),
        }
    }

    /// A person by id.
    pub async fn user(&self, id: &UserId) -> Result<User, AccountError> {
        self.read(&user_key(id)).await?.map(|(user, _)| user).ok_or(AccountError::Missing("such user"))
    }

    /// A person by id who may sign in.
    pub async fn active_user(&self, id: &UserId) -> Result<User, AccountError> {
        let user = self.user(id).await?;
        match user.state {
            UserState::Active => Ok(user),
            UserState::Disabled => Err(AccountError::Disabled),
        }
    }

    /// A person by their address, in any spelling of it.
    pub async fn user_at(&self, email: &EmailAddress) -> Result<User, AccountError> {
        let entry = self.store.get(&email_key(email)).await?.ok_or(AccountError::Missing("such user"))?;
        self.user(&UserId::parse(std::str::from_utf8(&entry.value).unwrap_or_default())?).await
    }

    /// A person who may sign in with `device`, and the conditions under which that stays true: added to the commit
    /// that makes a token, they close the race with a removal.
    pub async fn standing(&self, id: &UserId, device: &DeviceId) -> Result<Standing, AccountError> {
        let (user, revision) =
            self.read::<User>(&user_key(id)).await?.ok_or(AccountError::Missing("such user"))?;
        if user.state == UserState::Disabled {
            return Err(AccountError::Disabled);
        }
        let mut conds = match self.passkey(device).await {
            Ok(passkey) if passkey.user == *id => vec![Cond::Present(credential_key(device))],
            Ok(_) => return Err(AccountError::Missing("such passkey")),
            Err(AccountError::Missing(_)) => self.fallback_standing(id, device).await?,
            Err(error) => return Err(error),
        };
        conds.push(Cond::AtRevision(user_key(id), revision));
        Ok(Standing { user, conds })
    }

    /// As [`Self::standing`], for a person whose tunnel this is. A tunnel that is not there and one that is somebody
    /// else's are told apart by nothing.
    pub async fn standing_on(
        &self,
        id: &UserId,
        device: &DeviceId,
        tunnel: &TunnelId,
    ) -> Result<Standing, AccountError> {
        let mut standing = self.standing(id, device).await?;
        if self.tunnel(tunnel).await?.user != *id {
            return Err(AccountError::Missing("such tunnel"));
        }
        // A label has one owner for ever: that the tunnel is still there is all that can change.
        standing.conds.push(Cond::Present(tunnel_key(tunnel)));
        Ok(standing)
    }

    /// A person by name.
    pub async fn user_named(&self, name: &UserName) -> Result<User, AccountError> {
        let entry = self.store.get(&name_key(name)).await?.ok_or(AccountError::Missing("such user"))?;
        let id = std::str::from_utf8(&entry.value).unwrap_or_default();
        self.user(&UserId::parse(id)?).await
    }

    /// All people, by id.
    pub async fn users(&self) -> Result<Vec<User>, AccountError> {
        self.read_all("users/").await
    }

    /// Disables or enables a person. Ending their sessions and agents is the caller's next step.
    pub async fn set_user_state(&self, id: &UserId, state: UserState) -> Result<User, AccountError> {
        self.update::<User, _>(user_key(id), "such user", |user| {
            user.state = state;
            Ok(())
        })
        .await
    }

    /// Removes a person with their passkeys, tunnels and desktops. Their tunnels' labels are never given away again;
    /// an invitation or link token of theirs is of no use without them.
    pub async fn remove_user(&self, id: &UserId) -> Result<User, AccountError> {
        for _ in 0..16 {
            let (user, revision) =
                self.read::<User>(&user_key(id)).await?.ok_or(AccountError::Missing("such user"))?;
            let mut tx = Tx::new()
                .when(Cond::AtRevision(user_key(id), revision))
                .delete(user_key(id))
                .delete(name_key(&user.name));
            for passkey in self.passkeys_of(id).await? {
                tx = passkey.removed_in(tx);
            }
            tx = self.fallbacks_removed_in(tx, id).await?;
            if let Some(email) = &user.email {
                tx = tx.delete(email_key(email));
            }
            for tunnel in self.tunnels_of(id).await? {
                for agent in self.agents_of(&tunnel.id).await? {
                    tx = agent.removed_in(tx);
                }
                tx = tunnel.removed_in(tx);
            }
            if let Commit::Applied(_) = self.store.commit(tx).await? {
                return Ok(user);
            }
        }
        Err(AccountError::Contended)
    }
}
