//! A store that another process serves is a store like any other; and who runs goes on when a successor fails.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::lent::Lent;
use super::line::Line;
use super::*;
use crate::clock::{Clock, ManualClock, SystemClock, Timestamp};
use crate::edge::listen::{Bound, Sockets};
use crate::edge::{ListenSettings, store_file};
use crate::store::sqlite::SqliteFile;
use crate::store::{Commit, Key, MAX_VALUE, Store, Tx, conformance};
use crate::trail::{Act, Event, Trail};
use crate::tunnel::Registry;

const SOON: Duration = Duration::from_secs(30);

/// A store, and those who serve it to us.
struct Elsewhere {
    store: Arc<dyn Store>,
    behind: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    _heir: Heir,
    _folder: TempDir,
}

async fn lent() -> Elsewhere {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = ManualClock::at(Timestamp::from_secs(1_790_000_000));
    let behind: Arc<dyn Store> =
        SqliteFile::open(&folder.path().join("edge.db")).expect("a store").start(clock.clone());
    // A store of its own for the trail, which would be seen by tests that look at all there is.
    let beside: Arc<dyn Store> =
        SqliteFile::open(&folder.path().join("beside.db")).expect("a store").start(clock.clone());
    let trail = Trail::open(folder.path(), beside, clock.clone()).await.expect("a trail");
    let heir = serve(folder.path(), &behind, trail);
    let store = Arc::new(Lent { heir: heir_in(folder.path()) });
    Elsewhere { store, behind, clock, _heir: heir, _folder: folder }
}

fn serve(folder: &Path, store: &Arc<dyn Store>, trail: Arc<Trail>) -> Heir {
    Heir::serve(folder, Arc::clone(store), trail, Arc::new(|_, _| Box::pin(async {}))).expect("a socket")
}

async fn trail(folder: &Path, store: &Arc<dyn Store>, clock: Arc<dyn Clock>) -> Arc<Trail> {
    Trail::open(folder, Arc::clone(store), clock).await.expect("a trail")
}

#[async_trait]
impl conformance::Subject for Elsewhere {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    async fn forget(&self) {
        for n in 0..40 {
            let tx = Tx::new().put(Key::new(format!("filler/{}", n % 2)), vec![0; MAX_VALUE]);
            self.behind.commit(tx).await.expect("written");
        }
    }
}

conformance::suite!(crate::edge::handover::tests::lent);

/// A server that runs, as far as a successor sees it.
struct Runs {
    estate: Arc<Estate>,
    awaiting: AbortOnDropHandle<Result<HandedOver, HandoverError>>,
    folder: TempDir,
}

impl Runs {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, clock) = store_file::open(folder.path()).expect("a store");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listen =
            ListenSettings { https: vec![any, any], http: vec![any], admin: any, admin_hosts: Vec::new() };
        let estate = Arc::new(Estate {
            data_dir: folder.path().to_owned(),
            trail: Trail::open(folder.path(), Arc::clone(&store) as _, Arc::clone(&clock))
                .await
                .expect("a trail"),
            store,
            clock,
            registry: Registry::new(),
            passing: Arc::default(),
            sockets: Mutex::new(Some(Sockets::bind(&listen).expect("free ports"))),
        });
        let socket = estate.listen().expect("a socket");
        let awaiting = tokio::spawn({
            let estate = Arc::clone(&estate);
            async move {
                let alone = CancellationToken::new();
                alone.cancel();
                estate.await_successor(&socket, &alone).await
            }
        });
        Self { estate, awaiting: AbortOnDropHandle::new(awaiting), folder }
    }

    async fn has_its_store_back(&self) {
        let back = async {
            // Until it is noticed that the successor is gone, calls fail.
            while self.estate.store.ready().await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, back).await.expect("soon");
        self.takes_writes().await;
    }

    async fn takes_writes(&self) {
        let tx = Tx::new().put(Key::new("k"), "v");
        let written = timeout(SOON, self.estate.store.commit(tx)).await.expect("soon").expect("written");
        assert!(matches!(written, Commit::Applied(_)));
        let event = Event::new(Act::Started);
        timeout(SOON, self.estate.trail.record(event)).await.expect("soon").expect("written down");
    }
}

#[tokio::test]
async fn a_successor_gets_every_socket_and_the_store_and_the_server_works_on_its_store() {
    let runs = Runs::start().await;
    let (mut met, inherited) = Predecessor::meet(runs.folder.path()).await.expect("met").expect("one runs");
    let addresses = |sockets: &[Bound]| sockets.iter().map(|bound| bound.address).collect::<Vec<_>>();
    let ready = runs.estate.sockets.lock().expect("whole").as_ref().expect("kept").ready();
    assert_eq!(addresses(&inherited.https), ready.https);
    assert_eq!(addresses(&inherited.http), ready.http);
    assert_eq!(addresses(&inherited.admin), [ready.admin]);

    met.give_store().await.expect("given");
    let clock = SystemClock::not_before(Timestamp::default());
    let store: Arc<dyn Store> =
        SqliteFile::open(&runs.folder.path().join("edge.db")).expect("it is free").start(clock.clone());
    let _heir = serve(runs.folder.path(), &store, trail(runs.folder.path(), &store, clock).await);
    met.move_agents(&Registry::new()).await;
    runs.takes_writes().await;
    assert!(store.get(&Key::new("k")).await.expect("readable").is_some(), "it is one store");

    let lines = std::fs::read_to_string(runs.folder.path().join("audit.jsonl")).expect("a trail");
    assert_eq!(lines.lines().count(), 1, "and one trail");

    tokio::spawn(met.accepting_until_its_end());
    timeout(SOON, runs.awaiting).await.expect("soon").expect("no panic").expect("handed over");
}

#[tokio::test]
async fn a_successor_that_ends_half_way_leaves_all_as_it_was() {
    let runs = Runs::start().await;
    for step in [Request::Store, Request::Serving] {
        let (mut met, _) = Predecessor::meet(runs.folder.path()).await.expect("met").expect("one runs");
        met.give_store().await.expect("given");
        let waits = tokio::spawn({
            let store = Arc::clone(&runs.estate.store);
            async move { store.get(&Key::new("k")).await }
        });
        if step == Request::Serving {
            let clock = SystemClock::not_before(Timestamp::default());
            let store: Arc<dyn Store> = SqliteFile::open(&runs.folder.path().join("edge.db"))
                .expect("it is free")
                .start(clock.clone());
            let heir = serve(runs.folder.path(), &store, trail(runs.folder.path(), &store, clock).await);
            met.move_agents(&Registry::new()).await;
            runs.takes_writes().await;
            drop((heir, store));
        }
        drop(met);
        if step == Request::Store {
            timeout(SOON, waits).await.expect("soon").expect("no panic").expect("readable");
        }
        runs.has_its_store_back().await;
        assert!(!runs.awaiting.is_finished(), "the next successor is welcome");
    }
    let verified = runs.estate.trail.verify().await.expect("readable");
    assert!(verified.first_flaw.is_none(), "whoever wrote it: {verified:?}");
}

#[tokio::test]
async fn a_successor_of_another_version_is_refused_with_a_reason() {
    let runs = Runs::start().await;
    let mut line = Line::dial(&socket_in(runs.folder.path())).await.expect("heard");
    line.say(&Request::Listeners { version: VERSION + 1 }).await.expect("said");
    let reply = line.hear::<Reply>().await.expect("well").expect("an answer");
    assert!(matches!(reply, Reply::Refused(why) if why.contains("version")));
    runs.takes_writes().await;
}

#[tokio::test]
async fn where_nobody_runs_there_is_nobody_to_meet() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(Predecessor::meet(folder.path()).await.expect("no fault").is_none());
    drop(std::os::unix::net::UnixListener::bind(socket_in(folder.path())).expect("a socket"));
    assert!(
        Predecessor::meet(folder.path()).await.expect("no fault").is_none(),
        "left by one that was killed"
    );
}
