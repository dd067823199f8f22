use super::*;
use crate::agent::proof::SignInSite;
use crate::agent::test_passkey::{ORIGIN, Passkey};
use crate::clock::ManualClock;
use crate::names::TunnelId;
use crate::proof::{NONCE_EVERY, Place};
use crate::secret::SystemEntropy;
use crate::wire::approval::{Credential, PasskeyFacts, PublicKey};

struct Room {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    passkey: Passkey,
    desk: Arc<Desk>,
}

fn tunnel() -> TunnelId {
    TunnelId::parse("ada-abc234").expect("a label")
}

impl Room {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = ManualClock::at(Timestamp::from_secs(1_790_000_000));
        let desk = open(&folder, &clock);
        Self { folder, clock, passkey: Passkey::new(), desk }
    }

    fn again(&self) -> Arc<Desk> {
        open(&self.folder, &self.clock)
    }

    fn ask(&self) -> Ask {
        let key = PublicKey::of_bytes(self.passkey.public()).expect("a key");
        let passkey = PasskeyFacts::new(DeviceId::of_credential(&[1]), "Phone".into(), key);
        Ask {
            session: SessionId::random(&*SystemEntropy::shared()),
            user: "ada".into(),
            device: Credential::Passkey(passkey),
            address: "192.0.2.7".into(),
            user_agent: String::new(),
            expires_at: self.clock.now() + Duration::from_secs(3600),
            proof: Some(self.passkey.proof(Place::tunnel(&tunnel()), self.desk.nonce(), |_| ())),
        }
    }
}

fn open(folder: &tempfile::TempDir, clock: &Arc<ManualClock>) -> Arc<Desk> {
    let home = Home::at(folder.path());
    let judge = Judge::new(&tunnel(), &SignInSite::of(ORIGIN));
    let rules = (Trust::Ask, Unproven::Asked);
    Desk::open(home, rules, "ada", judge, clock.clone(), SystemEntropy::shared()).expect("open")
}

#[test]
fn an_approved_session_is_served_and_told_of_and_outlives_a_restart() {
    let room = Room::new();
    let ask = room.ask();
    let mut events = room.desk.events();
    assert!(matches!(room.desk.ask(&ask), Ok(Answer::Pending { .. })));
    assert!(room.desk.admits(&ask.session).is_none());
    room.desk.approve(ask.device.device()).expect("waiting");
    assert_eq!(events.try_recv().expect("told"), AgentEvent::Approved { session: ask.session.clone() });
    assert!(room.desk.admits(&ask.session).is_some());

    let again = room.again();
    assert!(again.admits(&ask.session).is_some());
    assert_eq!(again.snapshot().devices.len(), 1);
    room.clock.advance(Duration::from_secs(3601));
    assert!(again.admits(&ask.session).is_none(), "its time is over");
}

#[test]
fn removing_a_device_cuts_what_is_open_also_while_no_agent_runs() {
    let room = Room::new();
    let ask = room.ask();
    room.desk.ask(&ask).expect("asked");
    room.desk.approve(ask.device.device()).expect("waiting");
    let cut = room.desk.admits(&ask.session).expect("served");
    room.desk.remove(ask.device.device()).expect("trusted");
    assert!(cut.is_cancelled() && room.desk.admits(&ask.session).is_none());
    assert!(matches!(room.again().ask(&ask), Ok(Answer::Denied)));
}

#[test]
fn approving_and_denying_at_once_have_one_outcome() {
    for _ in 0..20 {
        let room = Room::new();
        let ask = room.ask();
        room.desk.ask(&ask).expect("asked");
        let id = ask.device.device();
        let mut events = room.desk.events();
        let (approved, denied) = std::thread::scope(|scope| {
            let approved = scope.spawn(|| room.desk.approve(id).is_ok());
            let denied = scope.spawn(|| room.desk.deny(id).is_ok());
            (approved.join().expect("no panic"), denied.join().expect("no panic"))
        });
        assert!(approved != denied);
        assert_eq!(room.desk.admits(&ask.session).is_some(), approved);
        assert!(events.try_recv().is_ok() && events.try_recv().is_err(), "one word");
    }
}

#[cfg(unix)]
#[test]
fn what_cannot_be_written_down_lets_nobody_in_and_still_keeps_somebody_out() {
    use std::os::unix::fs::PermissionsExt as _;
    let room = Room::new();
    let ask = room.ask();
    room.desk.ask(&ask).expect("asked");
    room.desk.approve(ask.device.device()).expect("waiting");
    let second = room.ask();
    let file = room.folder.path().join("sessions.json");
    // A folder in the file's place: nothing can be renamed onto it, whoever runs the test.
    std::fs::remove_file(&file).expect("there");
    std::fs::create_dir(&file).expect("a folder");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).expect("ours");
    assert!(matches!(room.desk.ask(&second), Err(DeskError::Home(_))));
    assert!(room.desk.admits(&second.session).is_none());
    assert!(matches!(room.desk.remove(ask.device.device()), Err(DeskError::Home(_))));
    assert!(room.desk.admits(&ask.session).is_none());
}

#[tokio::test]
async fn who_waits_too_long_runs_out_of_time_without_anybody_asking() {
    let room = Room::new();
    let ask = room.ask();
    let mut events = room.desk.events();
    room.desk.ask(&ask).expect("asked");
    room.clock.advance(Duration::from_secs(600));
    let timing = tokio::spawn(Arc::clone(&room.desk).keep_time());
    assert_eq!(events.recv().await.expect("told"), AgentEvent::Expired { session: ask.session });
    timing.abort();
}

#[test]
fn a_proof_is_held_against_the_key_that_asks_and_one_touch_opens_one_session() {
    let room = Room::new();
    let ask = room.ask();
    room.desk.ask(&ask).expect("asked");
    room.desk.approve(ask.device.device()).expect("waiting");
    let stolen = Ask { session: SessionId::random(&*SystemEntropy::shared()), ..ask.clone() };
    assert!(matches!(room.desk.ask(&stolen), Ok(Answer::Denied)), "the same touch again");
    let bare = Ask { proof: None, ..room.ask() };
    assert!(matches!(room.desk.ask(&bare), Ok(Answer::Denied)));
    let place = Place::tunnel(&tunnel());
    let forged = Ask { proof: Some(Passkey::new().proof(place, room.desk.nonce(), |_| ())), ..room.ask() };
    assert!(matches!(room.desk.ask(&forged), Ok(Answer::Denied)));
    assert!(matches!(room.desk.ask(&room.ask()), Ok(Answer::Approved)));

    let shown = room.desk.snapshot().refusals;
    let found: Vec<_> = shown.iter().map(|one| &one.session).collect();
    assert_eq!(found, [&stolen.session, &bare.session, &forged.session]);
    assert!(shown[0].why.contains("another session") && shown[2].why.contains("signature"), "{shown:?}");
}

#[tokio::test(start_paused = true)]
async fn the_edge_is_handed_another_nonce_when_it_is_time() {
    let room = Room::new();
    let mut events = room.desk.events();
    let first = room.desk.nonce();
    let renewing = tokio::spawn(Arc::clone(&room.desk).keep_nonces());
    tokio::task::yield_now().await;
    room.clock.advance(NONCE_EVERY);
    let AgentEvent::Nonce { nonce } = events.recv().await.expect("told") else { panic!("a nonce") };
    assert_ne!(nonce, first);
    assert_eq!(room.desk.nonce(), nonce);
    renewing.abort();
}
