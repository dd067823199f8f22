//! Linking without a token: a desktop asks, shows a code, and waits until a person has decided (RFC 8628 in shape).
//!
//! Two codes part the roles. Whoever sees the [`UserCode`], on a screen, in an address, in a picture of it, can do no more
//! than decide, signed in as somebody; only the desktop, which holds the device code, hears the answer. The key to be
//! linked was named when the desktop asked, so neither code links another key.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use super::agents::{LinkTarget, NewDesktop};
use super::tunnels::{Tunnel, label_key};
use super::{AccountError, Accounts, encode};
use crate::clock::Timestamp;
use crate::names::{DeviceId, TunnelId, UserId};
use crate::proof::{Commitment, Evidence, Nonce, Path, Place, Proof};
use crate::secret::{Entropy, SecretText, base64url, from_base64url, random, sha256};
use crate::store::{Commit, Cond, Key, Revision, Tx};

/// How long a person has to decide.
const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// How long an answer that the desktop was given is kept for it to ask again: the first one may have been lost.
const REPEATED: Duration = Duration::from_secs(60);

/// How many desktops of one network may wait at once.
const MOST_WAITING: u32 = 8;

const NO_CODE: AccountError = AccountError::Gone("link code");

/// What a person reads on the desktop's screen and types, or scans: eight of 28 letters and digits, 38 bits. No vowel, so
/// that it spells nothing, and none of the pairs that are confused most.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserCode(String);

impl UserCode {
    const ALPHABET: &[u8; 28] = b"23456789BCDFGHJKMNPQRSTVWXYZ";
    const LENGTH: usize = 8;

    fn random(entropy: &dyn Entropy) -> Self {
        let mut code = String::with_capacity(Self::LENGTH);
        while code.len() < Self::LENGTH {
            let [byte] = random(entropy);
            // 252 is nine times 28: above it, some letters would come more often than others.
            if byte < 252 {
                code.push(char::from(Self::ALPHABET[usize::from(byte) % Self::ALPHABET.len()]));
            }
        }
        Self(code)
    }

    /// Reads what a person typed, in either case, grouped in any way.
    pub fn parse(text: &str) -> Option<Self> {
        let typed = text.chars().filter(|c| !matches!(c, ' ' | '-')).map(|c| c.to_ascii_uppercase());
        let code: String = typed.take(Self::LENGTH + 1).collect();
        let whole = code.len() == Self::LENGTH && code.bytes().all(|byte| Self::ALPHABET.contains(&byte));
        whole.then_some(Self(code))
    }
}

/// In two groups, as it is shown.
impl fmt::Display for UserCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (one, two) = self.0.split_at(Self::LENGTH / 2);
        write!(out, "{one}-{two}")
    }
}

/// It is no secret for long, but while it waits it is nobody's business.
impl fmt::Debug for UserCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("[redacted]")
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkAnswer {
    /// Nobody has decided yet.
    Pending,
    /// Somebody said no.
    Denied,
    /// The desktop's key is pinned.
    Approved {
        /// Who approved it: whose tunnel it serves.
        user: UserId,
        /// Which.
        tunnel: TunnelId,
        /// What they had signed in with.
        #[serde(default)]
        device: Option<DeviceId>,
        /// That they used it for this, for the desktop to check.
        #[serde(default)]
        proof: Option<Proof>,
    },
}

/// A desktop that asks to be linked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkRequest {
    /// SHA-256 of its key's SubjectPublicKeyInfo, base64url.
    pub pin: String,
    /// What it calls itself.
    pub desktop: String,
    /// Where it asked from.
    pub address: String,
    /// When it asked.
    pub requested_at: Timestamp,
    /// When it is too late to decide.
    pub expires_at: Timestamp,
    /// What became of it.
    pub answer: LinkAnswer,
    /// What a proof of its approval commits to.
    nonce: Nonce,
    code: UserCode,
    place: String,
}

/// What a desktop says of itself when it asks.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// SHA-256 of its key's SubjectPublicKeyInfo, base64url.
    pub pin: &'a str,
    /// What it calls itself.
    pub desktop: &'a str,
    /// Where it asks from.
    pub address: &'a str,
    /// What it wants a proof of its approval to commit to; one that says nothing wants none.
    pub nonce: Option<Nonce>,
}

/// Who approves, and what.
#[derive(Clone, Debug)]
pub struct Approval {
    /// Whose tunnel the desktop will serve.
    pub user: UserId,
    /// The passkey they approve it with.
    pub device: DeviceId,
    /// That they used it for this.
    pub evidence: Option<Evidence>,
    /// The tunnel whose desktop is to be replaced; none: a new tunnel.
    pub take_over: Option<TunnelId>,
}

fn request_key(device_code: &SecretText) -> Key {
    Key::new(format!("link-requests/{}", device_code.fingerprint()))
}

/// Leads from a user code to its request. The code stands there as it is: a hash of 38 bits would hide nothing.
fn code_key(code: &UserCode) -> Key {
    Key::new(format!("link-codes/{}", code.0))
}

/// What counts as one place to come from: an address, or all of an IPv6 network, whose addresses cost nothing.
pub fn network_of(address: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_none() => {
            Ipv6Addr::from(u128::from(address) & (u128::MAX << 64)).to_string()
        }
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => address.to_owned(),
    }
}

impl LinkRequest {
    /// Its key as the desktop's terminal shows it.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(from_base64url(&self.pin).unwrap_or_default()))
    }

    /// What a passkey's challenge commits to when it is used to approve this one, and nothing else.
    pub fn commitment(&self, entropy: &dyn Entropy) -> Commitment {
        let place = Place::link(&self.pin, &self.code.to_string());
        Commitment::to(Path::default().root(&place, &self.nonce), entropy)
    }

    /// Adds to `tx` that nobody can decide it any more, and that its place is free.
    fn settled_in(&self, tx: Tx) -> Tx {
        tx.delete(code_key(&self.code)).delete(Key::new(self.place.clone()))
    }

    /// The transaction that decides it, if nobody was faster.
    fn decided(self, key: Key, revision: Revision, answer: LinkAnswer) -> Tx {
        let (decided, expires_at) = (Self { answer, ..self }, self.expires_at);
        let tx = Tx::new().when(Cond::AtRevision(key.clone(), revision));
        decided.settled_in(tx.put_until(key, encode(&decided), Some(expires_at)))
    }
}

impl Accounts {
    /// A desktop asks to be linked: gives the code for its person, and the one it asks for the answer with.
    ///
    /// # Errors
    /// [`AccountError::Crowded`] if enough desktops of that network are waiting.
    pub async fn ask_to_link(
        &self,
        candidate: Candidate<'_>,
    ) -> Result<(UserCode, SecretText, LinkRequest), AccountError> {
        let Candidate { pin, desktop, address, nonce } = candidate;
        let nonce = nonce.unwrap_or_else(|| Nonce::random(&*self.entropy));
        let places = format!("link-places/{}/", base64url(sha256(network_of(address))));
        for _ in 0..16 {
            let taken = self.store.range(&places).await?.entries;
            let place = (0..MOST_WAITING)
                .map(|number| Key::new(format!("{places}{number}")))
                .find(|place| taken.iter().all(|entry| entry.key != *place))
                .ok_or(AccountError::Crowded)?;
            let (code, device_code) = (UserCode::random(&*self.entropy), SecretText::random(&*self.entropy));
            let requested_at = self.clock.now();
            let expires_at = requested_at + LIFETIME;
            let request = LinkRequest {
                pin: pin.to_owned(),
                desktop: desktop.to_owned(),
                address: address.to_owned(),
                requested_at,
                expires_at,
                answer: LinkAnswer::Pending,
                nonce,
                code: code.clone(),
                place: place.to_string(),
            };
            let key = request_key(&device_code);
            let tx = Tx::new()
                .when(Cond::Absent(place.clone()))
                .when(Cond::Absent(code_key(&code)))
                .put_until(place, "", Some(expires_at))
                .put_until(code_key(&code), key.to_string(), Some(expires_at))
                .put_until(key, encode(&request), Some(expires_at));
            if let Commit::Applied(_) = self.store.commit(tx).await? {
                return Ok((code, device_code, request));
            }
        }
        Err(AccountError::Contended)
    }

    /// The request that a code is for, while it can be decided.
    pub async fn link_request(&self, code: &UserCode) -> Result<LinkRequest, AccountError> {
        self.undecided(code).await.map(|(_, request, _)| request)
    }

    async fn undecided(&self, code: &UserCode) -> Result<(Key, LinkRequest, Revision), AccountError> {
        let entry = self.store.get(&code_key(code)).await?.ok_or(NO_CODE)?;
        let key = Key::new(String::from_utf8_lossy(&entry.value).into_owned());
        let (request, revision) = self.read::<LinkRequest>(&key).await?.ok_or(NO_CODE)?;
        if request.answer == LinkAnswer::Pending { Ok((key, request, revision)) } else { Err(NO_CODE) }
    }

    /// Links the desktop that a code is for, in one commit that holds only while the person may sign in with the device
    /// they approve with. A tunnel that is taken over forgets its former key.
    pub async fn approve_link(
        &self,
        code: &UserCode,
        approval: &Approval,
    ) -> Result<(LinkRequest, Tunnel), AccountError> {
        for _ in 0..16 {
            let standing = self.standing(&approval.user, &approval.device).await?;
            let (key, request, revision) = self.undecided(code).await?;
            let (target, label) = match approval.take_over.clone() {
                Some(id) => (LinkTarget::TakeOver(id.clone()), id),
                None => {
                    let id = self.unused_label(&standing.user.name).await?;
                    (LinkTarget::New(id.clone()), id)
                }
            };
            let user = approval.user.clone();
            let device = Some(approval.device.clone());
            // It rests on its own root: no path leads there.
            let proof = approval.evidence.as_ref().map(|evidence| evidence.along(Path::default()));
            let answer = LinkAnswer::Approved { user: user.clone(), tunnel: label.clone(), device, proof };
            let mut tx = request.clone().decided(key, revision, answer);
            tx.conds.extend(standing.conds);
            if let LinkTarget::New(_) = target {
                let label = label_key(&label);
                tx = tx.when(Cond::Absent(label.clone())).put(label, user.as_str().to_owned());
            }
            let approved_by = Some(approval.device.clone());
            let desktop = NewDesktop { pin: &request.pin, name: &request.desktop, approved_by };
            match self.link(tx, user, target, desktop).await {
                Err(AccountError::Contended) => {}
                other => return other.map(|(_, tunnel)| (request, tunnel)),
            }
        }
        Err(AccountError::Contended)
    }

    /// Says no to the desktop that a code is for.
    pub async fn deny_link(&self, code: &UserCode) -> Result<LinkRequest, AccountError> {
        for _ in 0..16 {
            let (key, request, revision) = self.undecided(code).await?;
            let tx = request.clone().decided(key, revision, LinkAnswer::Denied);
            if let Commit::Applied(_) = self.store.commit(tx).await? {
                return Ok(request);
            }
        }
        Err(AccountError::Contended)
    }

    /// What became of a desktop's request. What was decided is told for one more minute.
    pub async fn link_answer(&self, device_code: &SecretText) -> Result<LinkAnswer, AccountError> {
        let key = request_key(device_code);
        let (request, revision) =
            self.read::<LinkRequest>(&key).await?.ok_or(AccountError::Gone("device code"))?;
        let until = self.clock.now() + REPEATED;
        if request.answer != LinkAnswer::Pending && request.expires_at > until {
            let told = LinkRequest { expires_at: until, ..request.clone() };
            let tx = Tx::new().when(Cond::AtRevision(key.clone(), revision));
            // Another poll may have been faster; the answer is the same.
            self.store.commit(tx.put_until(key, encode(&told), Some(until))).await?;
        }
        Ok(request.answer)
    }

    /// The desktop waits no longer: nobody can approve it any more. What was decided stays so.
    pub async fn withdraw_link(&self, device_code: &SecretText) -> Result<(), AccountError> {
        let key = request_key(device_code);
        match self.read::<LinkRequest>(&key).await? {
            Some((request, revision)) if request.answer == LinkAnswer::Pending => {
                let tx = Tx::new().when(Cond::AtRevision(key.clone(), revision)).delete(key);
                self.store.commit(request.settled_in(tx)).await?;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SystemEntropy;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        let code = UserCode::random(&*SystemEntropy::shared());
        let shown = code.to_string();
        assert_eq!(shown.len(), 9);
        for typed in [shown.clone(), shown.to_lowercase(), shown.replace('-', ""), shown.replace('-', " - ")]
        {
            assert_eq!(UserCode::parse(&typed), Some(code.clone()), "{typed}");
        }
        for wrong in ["", "BCDF-234", "BCDF-23456", "BCDF-234O", "BCDF-234ß", "BCDF_2345"] {
            assert_eq!(UserCode::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_code_is_hard_to_guess_and_each_letter_as_likely_as_the_next() {
        let bits = (UserCode::ALPHABET.len() as f64).log2() * UserCode::LENGTH as f64;
        assert!(bits >= 38.0, "{bits}");
        struct Counting(std::sync::atomic::AtomicU8);
        impl Entropy for Counting {
            fn fill(&self, out: &mut [u8]) {
                out.fill_with(|| self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            }
        }
        let entropy = Counting(0.into());
        // 252 of 256 bytes count: 63 codes out of two rounds of all bytes.
        let codes: String = (0..63).map(|_| UserCode::random(&entropy).0).collect();
        for letter in UserCode::ALPHABET {
            assert_eq!(codes.bytes().filter(|byte| byte == letter).count(), 18, "{}", char::from(*letter));
        }
    }

    #[test]
    fn a_network_is_one_place_to_come_from() {
        assert_eq!(network_of("192.0.2.7"), "192.0.2.7");
        assert_eq!(network_of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network_of("2001:db8:1:2:3:4:5:6"), network_of("2001:db8:1:2::1"));
        assert_ne!(network_of("2001:db8:1:2::1"), network_of("2001:db8:1:3::1"));
    }
}
