use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;
use crate::clock::{ManualClock, Timestamp};
use crate::names::UserName;
use crate::secret::SystemEntropy;
use crate::store::sqlite::SqliteFile;

/// A data directory that outlives the trails opened in it.
struct Desk {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = ManualClock::at(Timestamp::from_secs(1_800_000_000));
        let store =
            SqliteFile::open(&folder.path().join("edge.db")).expect("a database").start(clock.clone());
        Self { folder, store, clock }
    }

    async fn open(&self) -> Arc<Trail> {
        Trail::open(self.folder.path(), Arc::clone(&self.store), self.clock.clone()).await.expect("a trail")
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.path()).expect("a file").lines().map(str::to_owned).collect()
    }

    fn write(&self, lines: &[String]) {
        fs::write(self.path(), lines.iter().map(|line| format!("{line}\n")).collect::<String>())
            .expect("written");
    }

    /// Waits until the store knows of all that `trail` has written.
    async fn kept(&self, trail: &Trail) {
        let end = *trail.head.borrow();
        let mut changes = self.store.watch(HEAD, Default::default()).await.expect("a feed");
        loop {
            use futures_util::StreamExt as _;
            let entry = self.store.get(&Key::new(HEAD)).await.expect("read");
            let kept = entry.and_then(|entry| serde_json::from_slice::<Head>(&entry.value).ok());
            if kept.is_some_and(|kept| kept.seq >= end.seq) {
                return;
            }
            changes.next().await.expect("a change").expect("a change");
        }
    }
}

async fn ten(trail: &Trail) {
    for n in 0..10 {
        trail.record(Event::new(Act::UserAdded).by(By::Operator).count(n)).await.expect("recorded");
    }
}

async fn flaw(trail: &Trail) -> Option<Flaw> {
    trail.verify().await.expect("verified").first_flaw
}

#[tokio::test]
async fn what_was_recorded_is_there_and_whole_and_for_our_eyes_only() {
    let desk = Desk::new();
    let trail = desk.open().await;
    ten(&trail).await;
    assert_eq!(trail.verify().await.expect("verified"), Verified { entries: 10, first_flaw: None });
    let line: serde_json::Value = serde_json::from_str(&desk.lines()[3]).expect("JSON");
    assert_eq!(
        (&line["seq"], &line["event"], &line["by"]),
        (&4.into(), &"user-added".into(), &"operator".into())
    );
    assert_eq!(fs::metadata(desk.path()).expect("a file").permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn any_touch_is_found_and_the_first_bad_line_named() {
    let desk = Desk::new();
    let trail = desk.open().await;
    ten(&trail).await;
    let good = desk.lines();
    type Touch = fn(&mut Vec<String>);
    let cases: [(Touch, u64, FlawKind); 9] = [
        (|lines| lines[4] = lines[4].replace("operator", "person"), 5, FlawKind::Changed { seq: 5 }),
        (|lines| lines[9] = lines[9].replace("operator", "person"), 10, FlawKind::Changed { seq: 10 }),
        (|lines| drop(lines.remove(4)), 5, FlawKind::Missing { first: 5, last: 5 }),
        (|lines| drop(lines.drain(..3)), 1, FlawKind::Missing { first: 1, last: 3 }),
        (|lines| lines.swap(4, 5), 5, FlawKind::Missing { first: 5, last: 5 }),
        (|lines| lines.insert(5, lines[4].clone()), 6, FlawKind::Misplaced { expected: 6, found: 5 }),
        (|lines| lines.insert(5, "{}".to_owned()), 6, FlawKind::Unreadable),
        (|lines| lines.truncate(7), 8, FlawKind::CutOff { first: 8, last: 10 }),
        (|lines| lines.push(lines[9].clone()), 11, FlawKind::Foreign),
    ];
    for (touch, line, kind) in cases {
        let mut touched = good.clone();
        touch(&mut touched);
        desk.write(&touched);
        assert_eq!(flaw(&trail).await, Some(Flaw { line, kind }));
    }
    fs::remove_file(desk.path()).expect("removed");
    assert_eq!(flaw(&trail).await.map(|flaw| flaw.kind), Some(FlawKind::CutOff { first: 1, last: 10 }));
    desk.write(&good);
    assert_eq!(flaw(&trail).await, None);
}

#[tokio::test]
async fn another_history_with_a_sound_chain_is_found_by_its_end() {
    let desk = Desk::new();
    let trail = desk.open().await;
    ten(&trail).await;
    let (mut forged, mut head) = (Vec::new(), Head::default());
    for n in 0..10 {
        let event = Event::new(Act::UserAdded).by(By::Person).count(n);
        head = chain::seal(&mut forged, &head, head.end, Timestamp::default(), &event, None).expect("a line");
    }
    fs::write(desk.path(), forged).expect("written");
    assert_eq!(flaw(&trail).await, Some(Flaw { line: 10, kind: FlawKind::Rewritten { seq: 10 } }));
}

#[tokio::test]
async fn a_torn_line_is_set_aside_at_start_and_the_chain_goes_on() {
    let desk = Desk::new();
    let trail = desk.open().await;
    ten(&trail).await;
    drop(trail);
    let torn = r#"{"seq":11,"at":"2030"#;
    fs::write(desk.path(), format!("{}\n{torn}", desk.lines().join("\n"))).expect("written");

    let trail = desk.open().await;
    assert_eq!(flaw(&trail).await, None);
    let lines = desk.lines();
    assert!(lines.len() == 11 && lines[10].contains(r#""event":"trail-repaired""#), "{lines:?}");
    let aside = fs::read_to_string(desk.path().with_extension("torn")).expect("set aside");
    assert_eq!(aside.trim_end(), torn);
}

#[tokio::test]
async fn what_a_power_cut_left_of_lines_that_were_not_synced_is_set_aside() {
    let desk = Desk::new();
    let trail = desk.open().await;
    ten(&trail).await;
    desk.kept(&trail).await;
    let known = desk.store.get(&Key::new(HEAD)).await.expect("read").expect("there").value;
    ten(&trail).await;
    desk.kept(&trail).await;
    drop(trail);
    // The power went before the store knew of the last ten.
    desk.store.commit(Tx::new().put(Key::new(HEAD), known)).await.expect("written");
    // A sector of it did not come to the disk; what is behind it did.
    let mut bytes = fs::read(desk.path()).expect("a file");
    let line = desk.lines()[..16].iter().map(|line| line.len() + 1).sum::<usize>();
    bytes[line + 30..line + 90].fill(0);
    fs::write(desk.path(), &bytes).expect("written");

    let trail = desk.open().await;
    trail.record(Event::new(Act::UserAdded)).await.expect("recorded");
    assert_eq!(flaw(&trail).await, None);
    let lines = desk.lines();
    assert!(lines.len() == 18 && lines[16].contains("trail-repaired"), "{lines:?}");
    let aside = fs::read(desk.path().with_extension("torn")).expect("set aside");
    assert_eq!(aside[..aside.len() - 1], bytes[line..]);
}

#[tokio::test]
async fn a_trail_whose_file_was_removed_refuses_acts_and_says_so_before() {
    let desk = Desk::new();
    let trail = desk.open().await;
    trail.ready().await.expect("ready");
    fs::remove_file(desk.path()).expect("there");
    assert!(matches!(trail.ready().await, Err(TrailError::Unwritten(_))));
    assert!(trail.trusted().is_ok(), "nothing was tried yet");
    assert!(matches!(trail.record(Event::new(Act::UserAdded)).await, Err(TrailError::Unwritten(_))));
    assert!(matches!(trail.trusted(), Err(TrailError::Unwritten(_))));
}

#[tokio::test]
async fn what_was_cut_off_while_nobody_watched_is_missed_for_ever() {
    let desk = Desk::new();
    let trail = desk.open().await;
    ten(&trail).await;
    desk.kept(&trail).await;
    drop(trail);
    desk.write(&desk.lines()[..7]);

    for _ in 0..2 {
        let trail = desk.open().await;
        trail.record(Event::new(Act::UserAdded)).await.expect("it goes on");
        let missing = FlawKind::Missing { first: 8, last: 10 };
        assert_eq!(flaw(&trail).await, Some(Flaw { line: 8, kind: missing }));
        assert!(desk.lines()[7].contains("trail-damaged"));
        desk.kept(&trail).await;
    }
}

#[tokio::test]
async fn lines_that_the_store_does_not_know_of_yet_are_found_at_start() {
    let desk = Desk::new();
    let (user, name) = (UserId::random(&*SystemEntropy::shared()), UserName::parse("ada").expect("a name"));
    let trail = desk.open().await;
    trail.record(Event::new(Act::SignIn).of(&user, &name)).await.expect("recorded");
    desk.kept(&trail).await;
    drop(trail);
    // As a restored backup has it.
    let forgotten = Tx::new().delete(Key::new(HEAD)).delete(Key::new(format!("{LATEST}{user}")));
    desk.store.commit(forgotten).await.expect("forgotten");

    let trail = desk.open().await;
    trail.record(Event::new(Act::SignedOut).of(&user, &name)).await.expect("recorded");
    assert_eq!(flaw(&trail).await, None);
    let seen = trail.recent(&user, 50).await.expect("read");
    let acts: Vec<_> = seen.iter().filter_map(|entry| entry.text("event")).collect();
    assert_eq!(acts, ["signed-out", "sign-in"]);
    assert!(desk.lines()[1].contains("store-replaced"));
}

#[tokio::test]
async fn a_person_sees_their_own_latest_first_and_no_more_than_asked() {
    let desk = Desk::new();
    let trail = desk.open().await;
    let entropy = SystemEntropy::shared();
    let name = UserName::parse("ada").expect("a name");
    let [ada, bea] = [UserId::random(&*entropy), UserId::random(&*entropy)];
    for n in 0..60 {
        trail.record(Event::new(Act::SignIn).of(&ada, &name).count(n)).await.expect("recorded");
        trail.record(Event::new(Act::SignIn).of(&bea, &name).count(n + 1000)).await.expect("recorded");
    }
    let seen = trail.recent(&ada, 50).await.expect("read");
    let counts: Vec<_> = seen.iter().filter_map(|entry| entry.number("count")).collect();
    assert_eq!(counts, (10..60).rev().collect::<Vec<_>>());
    let nobody = UserId::random(&*entropy);
    assert!(trail.recent(&nobody, 50).await.expect("read").is_empty());
}

#[tokio::test]
async fn a_reader_gets_all_lines_and_then_those_to_come() {
    let desk = Desk::new();
    let trail = desk.open().await;
    ten(&trail).await;
    let mut reader = trail.reader().await.expect("a reader");
    let text = String::from_utf8(reader.lines().await.expect("read")).expect("text");
    assert_eq!(text.lines().collect::<Vec<_>>(), desk.lines());
    assert!(reader.lines().await.expect("read").is_empty());
    trail.record(Event::new(Act::KeysRotated)).await.expect("recorded");
    assert!(reader.more().await);
    assert!(String::from_utf8(reader.lines().await.expect("read")).expect("text").contains("keys-rotated"));
}

#[tokio::test]
async fn a_storm_of_refusals_is_counted_and_no_act_is_held_up() {
    let desk = Desk::new();
    let trail = desk.open().await;
    for n in 0..100_000 {
        trail.note(Event::new(Act::TokenRefused).because("signature").from(&format!("192.0.2.{}", n % 250)));
    }
    trail.record(Event::new(Act::UserAdded)).await.expect("recorded");
    trail.close().await;
    let lines = desk.lines();
    assert!(lines.len() < 10, "{}", lines.len());
    let told: u64 = lines
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .filter(|line| line["event"] == "token-refused")
        .map(|line| line["count"].as_u64().unwrap_or(1))
        .sum();
    assert_eq!(told, 100_000);
    assert_eq!(flaw(&trail).await, None);
}
