//! Argon2id, a memory-hard function (RFC 9106): what a password is stored as, and judged with.
//!
//! It is slow and large on purpose, so few run at once: [`TURNS`] on threads of their own, [`PLACES`] in all with those
//! that wait, and whoever comes then is sent away. Each turn has its memory, which is kept for the next: an allocator would
//! hold on to some for every thread that ever had a turn.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::{Output, ParamsString, PasswordHash, SaltString};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::AccountError;
use crate::secret::{SecretText, same};

/// 19 MiB and two passes: what OWASP's Password Storage Cheat Sheet asks for at least (as of 2026).
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
/// How many run at once.
const TURNS: usize = 2;
/// How many run or wait.
const PLACES: usize = 16;

/// A password's hash with its salt and parameters, in PHC string format.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Hash(String);

impl Hash {
    /// Judged where there is no password, for the same work: of random bytes, so that nothing is known to match it.
    pub(super) fn nobodys() -> Self {
        Self(
            "$argon2id$v=19$m=19456,t=2,p=1$2bQ0cGZKYfZp3FMjVjQm0A$8e0tXkLw3uJ1oS5fT7bVnC2yHdR9qZ4aMgPi6xEjKlU"
                .to_owned(),
        )
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("[redacted]")
    }
}

/// The few turns there are.
#[derive(Clone)]
pub(super) struct Argon {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
    memories: Arc<Mutex<Vec<Vec<Block>>>>,
}

impl Default for Argon {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(TURNS)),
            places: Arc::new(Semaphore::new(PLACES)),
            memories: Arc::default(),
        }
    }
}

impl Argon {
    /// Hashes `password`.
    pub(super) async fn hash(&self, password: SecretText, salt: [u8; 16]) -> Result<Hash, AccountError> {
        let hashed = self.turn(move |memory| {
            let params = Params::new(MEMORY_KIB, PASSES, 1, None).ok()?;
            let output = computed(&params, &password, &salt, memory)?;
            let salt = SaltString::encode_b64(&salt).ok()?;
            let hash = PasswordHash {
                algorithm: ARGON2ID_IDENT,
                version: Some(Version::V0x13.into()),
                params: ParamsString::try_from(&params).ok()?,
                salt: Some(salt.as_salt()),
                hash: Some(Output::new(&output).ok()?),
            };
            Some(Hash(hash.to_string()))
        });
        hashed.await?.ok_or(AccountError::Busy)
    }

    /// Whether `hash` is of `password`. Whatever `hash` is, it takes the same work.
    pub(super) async fn verify(&self, password: SecretText, hash: Hash) -> Result<bool, AccountError> {
        let judged = self.turn(move |memory| {
            let hash = PasswordHash::new(&hash.0).ok().filter(|hash| hash.algorithm == ARGON2ID_IDENT)?;
            let mut salt = [0; 64];
            let salt = hash.salt?.decode_b64(&mut salt).ok()?;
            let output = computed(&Params::try_from(&hash).ok()?, &password, salt, memory)?;
            Some(same(&output, hash.hash?.as_bytes()))
        });
        Ok(judged.await? == Some(true))
    }

    /// Does `work` on a thread for such work. Its place and its turn are its own until it is done, also when nobody waits
    /// for it any more.
    async fn turn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
    ) -> Result<T, AccountError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| AccountError::Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| AccountError::Busy)?;
        let memories = Arc::clone(&self.memories);
        let done = tokio::task::spawn_blocking(move || {
            let kept = || memories.lock().unwrap_or_else(PoisonError::into_inner);
            let mut memory = kept().pop().unwrap_or_default();
            let done = work(&mut memory);
            // What the password was mixed into does not lie around.
            memory.fill(Block::default());
            kept().push(memory);
            drop((turn, place));
            done
        });
        done.await.map_err(|_| AccountError::Busy)
    }
}

fn computed(
    params: &Params,
    password: &SecretText,
    salt: &[u8],
    memory: &mut Vec<Block>,
) -> Option<[u8; 32]> {
    memory.resize(params.block_count(), Block::default());
    let function = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let mut output = [0; 32];
    let password = password.reveal().as_bytes();
    function.hash_password_into_with_memory(password, salt, &mut output, memory).ok()?;
    Some(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::PasswordVerifier as _;
    use futures_util::future::join_all;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn secret(text: &str) -> SecretText {
        SecretText::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_hash_knows_its_password_and_says_how_it_was_made() {
        let argon = Argon::default();
        let hash = argon.hash(secret("correct horse battery"), [7; 16]).await.expect("a hash");
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.0);
        // Any other program agrees.
        let parsed = PasswordHash::new(&hash.0).expect("in PHC string format");
        assert!(Argon2::default().verify_password(b"correct horse battery", &parsed).is_ok());
        assert!(argon.verify(secret("correct horse battery"), hash.clone()).await.expect("a judgement"));
        assert!(!argon.verify(secret("correct horse batter"), hash.clone()).await.expect("a judgement"));
        assert_eq!(format!("{hash:?}"), "[redacted]");
    }

    #[tokio::test]
    async fn nobodys_hash_is_one_that_takes_the_same_work() {
        let (nobody, one) =
            (Hash::nobodys(), Argon::default().hash(secret("x"), [1; 16]).await.expect("a hash"));
        let (nobody, one) = (PasswordHash::new(&nobody.0), PasswordHash::new(&one.0));
        let (nobody, one) = (nobody.expect("a hash"), one.expect("a hash"));
        assert_eq!(
            (nobody.algorithm, nobody.version, nobody.params),
            (one.algorithm, one.version, one.params)
        );
        assert_eq!(nobody.hash.map(|hash| hash.len()), one.hash.map(|hash| hash.len()));
    }

    #[tokio::test]
    async fn never_more_than_two_run_and_never_on_the_thread_that_serves() {
        let (argon, serving) = (Argon::default(), std::thread::current().id());
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        // Each waits for another: so two do run at once, and whoever else could run would be seen to.
        let pair = Arc::new(Barrier::new(2));
        let all = (0..PLACES).map(|_| {
            let (running, most, pair) = (Arc::clone(&running), Arc::clone(&most), Arc::clone(&pair));
            argon.turn(move |_| {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                pair.wait();
                running.fetch_sub(1, Ordering::SeqCst);
                std::thread::current().id()
            })
        });
        for thread in join_all(all).await {
            assert_ne!(thread.expect("a turn"), serving);
        }
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn of_fifty_at_once_two_run_a_few_wait_and_the_others_are_sent_away() {
        let argon = Argon::default();
        let all = join_all((0..50).map(|_| argon.verify(secret("x"), Hash::nobodys()))).await;
        let sent_away = all.iter().filter(|one| matches!(one, Err(AccountError::Busy))).count();
        assert_eq!(sent_away, 50 - PLACES);
        assert!(!argon.verify(secret("x"), Hash::nobodys()).await.expect("room again"));
    }
}
