//! An edge's memory when there are many: sessions and revocations, in a store that has nothing else.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use patapim_edge::access::assertion::Assertor;
use patapim_edge::access::cookies::{BindCookie, SessionCookie};
use patapim_edge::access::sessions::SessionSettings;
use patapim_edge::access::{Gate, KeyRing, Method, Sessions, SignIn, Visitor, token};
use patapim_edge::clock::{ManualClock, Timestamp};
use patapim_edge::names::{BaseDomain, DeviceId, PublicHosts, Scheme, TunnelId, UserId, UserName};
use patapim_edge::secret::{SecretText, SystemEntropy, base32, sha256};
use patapim_edge::store::sqlite::{SqliteFile, SqliteStore};
use patapim_edge::store::{
    BackupError, Change, Commit, Entry, Examination, Existing, Key, Revision, Snapshot, Store, StoreError, Tx,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
pub(crate) const ISSUER: &str = "https://deployer.patapim.test";
pub(crate) const TUNNEL: &str = "ada-abc234";

/// All of it, and Ada among them.
pub(crate) struct Crowd {
    pub(crate) hosts: PublicHosts,
    pub(crate) tunnel: TunnelId,
    pub(crate) cookie: SessionCookie,
    pub(crate) token: SecretText,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) gate: Gate,
    pub(crate) assertor: Assertor,
    pub(crate) disk: Arc<SqliteStore>,
    pub(crate) runtime: Runtime,
    pub(crate) revocations_mib: usize,
    pub(crate) sessions_mib: usize,
    _folder: TempDir,
}

impl Crowd {
    pub(crate) fn of(revocations: usize, sessions: usize) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let folder = TempDir::new().expect("a folder");
        let clock = ManualClock::at(NOW);
        let entropy = SystemEntropy::shared();
        let base = BaseDomain::parse("patapim.test").expect("a domain");
        let hosts = PublicHosts::new(Scheme::Https, base, "deployer", 443).expect("a label");
        let tunnel = TunnelId::parse(TUNNEL).expect("a label");
        let keys = Arc::new(KeyRing::open(folder.path(), &*clock, &*entropy).expect("keys"));
        let assertor = Assertor::open(folder.path(), hosts.clone(), &*clock, &*entropy).expect("keys");
        let disk = SqliteFile::open(&folder.path().join("edge.db")).expect("a file").start(clock.clone());
        let open = |store: Arc<dyn Store>| {
            let settings = SessionSettings::default();
            let opened = Sessions::open(
                store,
                clock.clone(),
                Arc::clone(&entropy),
                Arc::clone(&keys),
                ISSUER.to_owned(),
                settings,
            );
            runtime.block_on(opened).expect("sessions")
        };

        let real = open(disk.clone());
        let bind = BindCookie::random(&*entropy);
        let who = SignIn {
            user: UserId::random(&*entropy),
            user_name: UserName::parse("ada").expect("a name"),
            device: DeviceId::random(&*entropy),
            device_name: "Test key".to_owned(),
            method: Method::Passkey,
            at: NOW,
            evidence: None,
        };
        let issue = || runtime.block_on(real.issue(&who, &tunnel, &bind.hash(), Vec::new())).expect("issued");
        let checked = token::verify(&keys, ISSUER, &tunnel, issue().reveal(), NOW).expect("good");
        let visitor = Visitor { address: "192.0.2.7".to_owned(), user_agent: "Mozilla/5.0".to_owned() };
        let redeemed =
            runtime.block_on(real.redeem(&checked, Some(&bind), None, &visitor)).expect("redeemed");
        let hers = runtime.block_on(disk.range("live/session/")).expect("readable").entries.remove(0);

        let before = resident_mib();
        let ended = open(Arc::new(Still::of(revocations, None, 0)));
        let revocations_mib = resident_mib().saturating_sub(before);
        drop(ended);
        let before = resident_mib();
        let alone = open(Arc::new(Still::of(0, Some(hers.clone()), sessions)));
        let sessions_mib = resident_mib().saturating_sub(before);
        drop(alone);
        Self {
            gate: Gate::new(open(Arc::new(Still::of(revocations, Some(hers), sessions)))),
            token: issue(),
            cookie: redeemed.cookie,
            hosts,
            tunnel,
            keys,
            assertor,
            disk,
            revocations_mib,
            sessions_mib,
            runtime,
            _folder: folder,
        }
    }
}

fn entry(key: String, value: Vec<u8>) -> Entry {
    let until = Some(NOW + std::time::Duration::from_secs(86_400));
    Entry { key: Key::new(key), value: value.into(), revision: Revision(1), expires_at: until }
}

/// What this program holds in memory.
fn resident_mib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a known field");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") / 1024
}

/// A store in which nothing changes, and whose entries are made when they are read: so many revocations, Ada's session, and
/// copies of that.
struct Still {
    revocations: usize,
    hers: Option<Entry>,
    sessions: usize,
    /// How many have been read.
    read: AtomicUsize,
}

impl Still {
    fn of(revocations: usize, hers: Option<Entry>, sessions: usize) -> Self {
        Self { revocations, hers, sessions, read: AtomicUsize::new(0) }
    }

    fn entry(&self, number: usize) -> Option<Entry> {
        let id = base32(&sha256(number.to_be_bytes())[..16]);
        if number < self.revocations {
            let value = serde_json::json!({"at": NOW, "cause": "person"}).to_string();
            return Some(entry(format!("live/revoked/session/{id}"), value.into_bytes()));
        }
        let hers = self.hers.as_ref().filter(|_| number < self.revocations + self.sessions)?;
        let copy = || entry(format!("live/session/{id}"), hers.value.to_vec());
        Some(if number == self.revocations { hers.clone() } else { copy() })
    }
}

#[async_trait]
impl Store for Still {
    async fn get(&self, _: &Key) -> Result<Option<Entry>, StoreError> {
        Ok(None)
    }

    async fn range(&self, prefix: &str) -> Result<Snapshot, StoreError> {
        self.page(prefix, None, usize::MAX).await
    }

    /// Goes on where it ended, and is asked for one prefix.
    async fn page(&self, _: &str, after: Option<&Key>, most: usize) -> Result<Snapshot, StoreError> {
        if after.is_none() {
            self.read.store(0, Ordering::Relaxed);
        }
        let first = self.read.load(Ordering::Relaxed);
        let entries: Vec<Entry> = (first..).map_while(|number| self.entry(number)).take(most).collect();
        self.read.fetch_add(entries.len(), Ordering::Relaxed);
        Ok(Snapshot { revision: Revision(1), entries })
    }

    async fn commit(&self, _: Tx) -> Result<Commit, StoreError> {
        Ok(Commit::Conflict)
    }

    async fn watch(
        &self,
        _: &str,
        _: Revision,
    ) -> Result<BoxStream<'static, Result<Change, StoreError>>, StoreError> {
        Ok(stream::pending().boxed())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn examine(&self) -> Result<Examination, StoreError> {
        Err(StoreError::Read("nothing to examine".to_owned()))
    }

    async fn backup_to(&self, _: &Path, _: Existing) -> Result<u64, BackupError> {
        Ok(0)
    }
}
