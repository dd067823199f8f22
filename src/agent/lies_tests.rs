//! An edge that lies. It holds the agent's connection, as a real one does, and says of sessions what it likes; what the
//! desktop does is seen at the app, and at what its person is shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::desk::{Desk, Trust};
use super::listing::Sessions;
use super::local::{App, AppAddress};
use super::proof::{Judge, SignInSite};
use super::serve::{Service, serve};
use super::test_passkey::{Draft, ORIGIN, Passkey};
use super::{Home, Unproven};
use crate::clock::{Clock as _, ManualClock, Timestamp};
use crate::names::{DeviceId, SessionId, TunnelId, UserId};
use crate::proof::authenticator_data::USER_PRESENT;
use crate::proof::{NONCE_LIFETIME, Nonce, Path, Place, Proof};
use crate::secret::SystemEntropy;
use crate::tunnel::{
    AgentHost, AgentIdentity, AgentLink, Approved, Opened, Registry, TunnelSettings, serve_agent,
};
use crate::wire::approval::{Answer, Ask, Credential, Passing, PasskeyFacts, PublicKey, SESSION_PATH};
use crate::wire::{AGENT_ERROR_HEADER, AgentHello, CONTROL_AUTHORITY, Rhythm, SpkiPin, VERSION, http2};

/// A desktop, and the edge it has to do with.
struct Stage {
    desk: Arc<Desk>,
    clock: Arc<ManualClock>,
    passkey: Passkey,
    link: Arc<AgentLink>,
    reached: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
    _tasks: [AbortOnDropHandle<()>; 3],
}

fn tunnel() -> TunnelId {
    TunnelId::parse("ada-abc234").expect("a label")
}

fn session() -> SessionId {
    SessionId::random(&*SystemEntropy::shared())
}

impl Stage {
    async fn set(unproven: Unproven) -> Self {
        let entropy = SystemEntropy::shared();
        let clock = ManualClock::at(Timestamp::from_secs(1_790_000_000));
        let folder = tempfile::tempdir().expect("a folder");
        let judge = Judge::new(&tunnel(), &SignInSite::of(ORIGIN));
        let (home, rules) = (Home::at(folder.path()), (Trust::Ask, unproven));
        let desk = Desk::open(home, rules, "ada", judge, clock.clone(), Arc::clone(&entropy)).expect("open");

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let app = format!("http://{}", listener.local_addr().expect("bound"));
        let reached = Arc::new(AtomicUsize::new(0));
        let app_task = tokio::spawn(serve_app(listener, Arc::clone(&reached)));

        let (near, far) = tokio::io::duplex(1 << 20);
        let (words, _heard) = mpsc::unbounded_channel();
        let service = Service {
            app: Arc::new(App::new(AppAddress::parse(&app).expect("an address"), Arc::clone(&entropy))),
            desk: Arc::clone(&desk),
            hello: AgentHello {
                version: VERSION,
                name: "Desk".into(),
                software: String::new(),
                again: false,
                nonce: None,
            },
            rhythm: Rhythm::default(),
            grace: Duration::ZERO,
            leave: CancellationToken::new(),
            words,
        };
        let agent_task = tokio::spawn(async move { drop(serve(near, service).await) });

        let registry = Registry::new();
        let host = AgentHost {
            registry: Arc::clone(&registry),
            nonces: Arc::default(),
            clock: clock.clone(),
            settings: TunnelSettings::default(),
            still_linked: Box::new(|_| Box::pin(async { true })),
            verdicts: Arc::new(|_, _, _| Box::pin(async {})),
        };
        let identity = AgentIdentity {
            tunnel: tunnel(),
            user: UserId::random(&*entropy),
            pin: SpkiPin::of_spki(b"key"),
            public_url: String::new(),
        };
        let edge_task = tokio::spawn(async move { drop(serve_agent(far, identity, &host).await) });
        let link = registry.wait_for(&tunnel(), Duration::from_secs(20)).await.expect("connected");
        let tasks = [app_task, agent_task, edge_task].map(AbortOnDropHandle::new);
        Self { desk, clock, passkey: Passkey::new(), link, reached, _folder: folder, _tasks: tasks }
    }

    /// With Ada's passkey approved by an honest sign-in.
    async fn with_a_trusted_device() -> (Self, Ask) {
        let stage = Self::set(Unproven::Asked).await;
        let ask = stage.honest();
        assert!(matches!(stage.says(&ask).await, Answer::Pending { .. }));
        stage.desk.approve(ask.device.device()).expect("waiting");
        assert_eq!(stage.visit(&ask.session).await, (StatusCode::OK, None));
        (stage, ask)
    }

    fn signed(&self, bend: impl FnOnce(&mut Draft)) -> Proof {
        self.passkey.proof(Place::tunnel(&tunnel()), self.desk.nonce(), bend)
    }

    /// What an honest edge says of a new session that Ada opened.
    fn honest(&self) -> Ask {
        let key = PublicKey::of_bytes(self.passkey.public()).expect("a key");
        let device = PasskeyFacts::new(DeviceId::of_credential(b"ada"), "Phone".into(), key);
        Ask {
            session: session(),
            user: "ada".into(),
            device: Credential::Passkey(device),
            address: "192.0.2.7".into(),
            user_agent: "Firefox".into(),
            expires_at: self.clock.now() + Duration::from_secs(3600),
            proof: Some(self.signed(|_| ())),
        }
    }

    fn with_proof(&self, proof: Proof) -> Ask {
        Ask { proof: Some(proof), ..self.honest() }
    }

    /// The edge's streams, as if the desktop had approved `session`.
    fn under(&self, session: &SessionId) -> Approved {
        Approved::claimed(Arc::clone(&self.link), session)
    }

    /// The agent's answer to the edge's word.
    async fn says(&self, ask: &Ask) -> Answer {
        let request = Request::post(format!("https://{CONTROL_AUTHORITY}{SESSION_PATH}"));
        let opened = self.under(&ask.session).open(request.body(()).expect("a request"), false);
        let mut opened = opened.expect("a stream");
        let mut message = Bytes::from(serde_json::to_vec(ask).expect("JSON"));
        http2::send(&mut opened.body, &mut message, true).await.expect("sent");
        let (head, mut body) = opened.response.await.expect("an answer").into_parts();
        assert_eq!(head.status, StatusCode::OK);
        let mut answer = Vec::new();
        while let Some(piece) = http2::receive(&mut body).await {
            answer.extend_from_slice(&piece.expect("whole"));
        }
        serde_json::from_slice(&answer).expect("an answer")
    }

    /// Sends a visitor's request under `session`: the answer's status, and why it is not the app's.
    async fn visit(&self, session: &SessionId) -> (StatusCode, Option<String>) {
        let request = Request::get("https://ada-abc234.tunnel.patapim.test/");
        let opened = self.under(session).open(request.body(()).expect("a request"), true);
        let Opened { response, .. } = opened.expect("a stream");
        let head = response.await.expect("an answer");
        let fault =
            head.headers().get(AGENT_ERROR_HEADER).map(|fault| fault.to_str().expect("text").to_owned());
        (head.status(), fault)
    }

    /// The desktop does not fall for it: the app is not reached, and whoever is at the desktop reads why.
    async fn is_refused(&self, lie: &Ask, why: &str) {
        let before = self.reached.load(Ordering::Relaxed);
        assert_eq!(self.says(lie).await, Answer::Denied, "{why}");
        assert_eq!(self.visit(&lie.session).await.1.as_deref(), Some("not-approved"), "{why}");
        assert_eq!(self.reached.load(Ordering::Relaxed), before, "{why}");
        let snapshot = self.desk.snapshot();
        let shown = snapshot.refusals.last().expect("shown");
        assert_eq!(shown.session, lie.session);
        assert!(shown.why.contains(why), "{why}: {}", shown.why);
        let lines = Sessions::of(&snapshot).lines();
        assert!(
            lines.last().is_some_and(|line| line.contains(why) && line.contains("192.0.2.7")),
            "{lines:?}"
        );
        assert!(snapshot.waiting.is_empty(), "{why}: nobody is bothered with it");
    }
}

/// Counts who comes.
async fn serve_app(listener: TcpListener, reached: Arc<AtomicUsize>) {
    while let Ok((mut visitor, _)) = listener.accept().await {
        reached.fetch_add(1, Ordering::Relaxed);
        let mut asked = [0; 4096];
        let _ = visitor.read(&mut asked).await;
        let _ =
            visitor.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await;
    }
}

#[tokio::test]
async fn an_assertion_of_another_time_place_or_purpose_opens_nothing() {
    let (stage, _) = Stage::with_a_trusted_device().await;
    let entropy = SystemEntropy::shared();

    let others = Place::tunnel(&TunnelId::parse("eve-abc234").expect("a label"));
    let foreign = stage.passkey.proof(others, Nonce::random(&*entropy), |_| ());
    stage.is_refused(&stage.with_proof(foreign), "not made for this desktop").await;
    let ours_elsewhere = stage.passkey.proof(others, stage.desk.nonce(), |_| ());
    stage.is_refused(&stage.with_proof(ours_elsewhere), "not made for this desktop").await;
    let astray = Proof { path: Path::of(vec![[9; 32]]).expect("short"), ..stage.signed(|_| ()) };
    stage.is_refused(&stage.with_proof(astray), "not made for this desktop").await;

    let sibling = stage.signed(|draft| {
        draft.client_data["origin"] = "https://eve-abc234.tunnel.patapim.test".into();
    });
    stage.is_refused(&stage.with_proof(sibling), "another origin").await;
    let registration = stage.signed(|draft| draft.client_data["type"] = "webauthn.create".into());
    stage.is_refused(&stage.with_proof(registration), "another type").await;
    let framed = stage.signed(|draft| draft.client_data["topOrigin"] = "https://eve.test".into());
    stage.is_refused(&stage.with_proof(framed), "frame of another origin").await;
    let elsewhere = stage.signed(|draft| draft.rp_id = "eve.test");
    stage.is_refused(&stage.with_proof(elsewhere), "another RP ID").await;
    let unverified = stage.signed(|draft| draft.flags = USER_PRESENT);
    stage.is_refused(&stage.with_proof(unverified), "not verified").await;

    let old = stage.with_proof(stage.signed(|_| ()));
    stage.clock.advance(NONCE_LIFETIME);
    stage.is_refused(&old, "an old one").await;
}

#[tokio::test]
async fn a_session_that_nobody_opened_is_not_served_however_it_is_announced() {
    let (stage, opened) = Stage::with_a_trusted_device().await;
    let before = stage.reached.load(Ordering::Relaxed);
    assert_eq!(stage.visit(&session()).await.1.as_deref(), Some("not-approved"), "not announced at all");
    assert_eq!(stage.reached.load(Ordering::Relaxed), before);

    stage.is_refused(&Ask { proof: None, ..stage.honest() }, "no proof").await;
    let again = Ask { proof: opened.proof.clone(), ..stage.honest() };
    stage.is_refused(&again, "another session").await;
    let forged = Passkey::new().proof(Place::tunnel(&tunnel()), stage.desk.nonce(), |_| ());
    stage.is_refused(&stage.with_proof(forged), "not that of the passkey").await;
    assert_eq!(stage.visit(&opened.session).await.0, StatusCode::OK, "the one she opened goes on");
}

#[tokio::test]
async fn another_key_for_a_trusted_device_is_refused_though_it_can_sign() {
    let (stage, opened) = Stage::with_a_trusted_device().await;
    let thief = Passkey::new();
    let key = PublicKey::of_bytes(thief.public()).expect("a key");
    let swapped = PasskeyFacts::new(opened.device.device().clone(), "Phone".into(), key);
    let proof = thief.proof(Place::tunnel(&tunnel()), stage.desk.nonce(), |_| ());
    let lie = Ask { device: Credential::Passkey(swapped), ..stage.with_proof(proof) };
    stage.is_refused(&lie, "another key").await;
}

#[tokio::test]
async fn what_a_removed_device_opened_is_over_whatever_the_edge_says() {
    let (stage, opened) = Stage::with_a_trusted_device().await;
    stage.desk.remove(opened.device.device()).expect("trusted");
    assert_eq!(stage.visit(&opened.session).await.1.as_deref(), Some("not-approved"));
    assert_eq!(stage.says(&opened).await, Answer::Denied);
    assert_eq!(stage.visit(&opened.session).await.1.as_deref(), Some("not-approved"));
    let (_, waiting) = (stage.says(&stage.honest()).await, stage.desk.snapshot().waiting);
    assert_eq!(waiting.len(), 1, "a later sign-in is asked about, as one of a stranger");
}

#[tokio::test]
async fn who_has_no_passkey_is_asked_about_or_refused_as_the_desktop_wants_it() {
    let passing = || Passing { id: DeviceId::of_credential(b"x"), name: "Firefox".into() };
    let stage = Stage::set(Unproven::Asked).await;
    let code = Ask { device: Credential::BackupCode(passing()), proof: None, ..stage.honest() };
    assert!(matches!(stage.says(&code).await, Answer::Pending { .. }));
    assert_eq!(
        stage.visit(&code.session).await.1.as_deref(),
        Some("not-approved"),
        "not before it is approved"
    );

    let strict = Stage::set(Unproven::Refused).await;
    for device in [Credential::BackupCode(passing()), Credential::AccessToken(passing())] {
        let bare = Ask { device, proof: None, ..strict.honest() };
        strict.is_refused(&bare, "--require-proof").await;
    }
    assert!(
        matches!(strict.says(&strict.honest()).await, Answer::Pending { .. }),
        "a passkey can prove itself"
    );
}
