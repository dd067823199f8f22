//! The server ends at any moment, with everything under way: by `kill -9`, at any write, in the middle of a start, and with
//! the power. Then it starts, and is held against the ledger.
//!
//! `make crash` ends it hundreds of times; `PATAPIM_KILLS` says how often, `PATAPIM_SEED` chooses the moments again that a
//! failure names. Between two ends three people do all they can.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::ledger::{Tally, Trail};
use super::person::Busy;
use crate::rig::disk::{BROKEN, Disk, Fault, Operation};
use crate::rig::edge::{Edge, Setup};
use crate::rig::post::{Post, Secrecy};
use crate::rig::power::{Dice, Power};
use crate::rig::process::within;

/// Ends of one edge and its data; then another begins.
const ENDS: usize = 12;
const PEOPLE: [(&str, &str); 3] = [("ada", "ada-abc234"), ("bob", "bob-abc234"), ("cyd", "cyd-abc234")];

/// How the server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By a signal, after so many acts.
    Killed(usize),
    /// At a write or a sync.
    AtWrite(u64),
    /// At one of its start, and then by a signal.
    AtStart(u64, usize),
    /// With the power, at a write or a sync.
    PowerCut(u64),
    /// With the power, after a sync of this file has failed and the server was started anew.
    AfterFailedSync(&'static str),
}

impl End {
    fn rolled(dice: &mut Dice) -> Self {
        let acts = |dice: &mut Dice| 1 + usize::try_from(dice.roll(16)).expect("a few");
        // An act takes some dozens of them.
        let writes = |dice: &mut Dice| 1 + dice.roll(500);
        match dice.roll(8) {
            0 | 1 => Self::Killed(acts(dice)),
            2 | 3 => Self::AtWrite(writes(dice)),
            4 => Self::AtStart(1 + dice.roll(24), acts(dice)),
            5 | 6 => Self::PowerCut(writes(dice)),
            _ => Self::AfterFailedSync(["edge.db-wal", "audit.jsonl"][usize::from(dice.roll(2) == 0)]),
        }
    }

    fn takes_the_power(self) -> bool {
        matches!(self, Self::PowerCut(_) | Self::AfterFailedSync(_))
    }
}

/// An edge that does not live long, and those who use it.
struct Campaign {
    edge: Edge,
    disk: Disk,
    dice: Dice,
    people: Vec<Busy>,
    kills: usize,
}

impl Campaign {
    async fn start(seed: u64) -> Self {
        let post = Post::start(Secrecy::AtOnce).await;
        let mut setup = Setup::default().with(&post.section());
        // On a slow machine a start takes its time.
        setup = setup.with("[session]\nredeem_within = \"10m\"\n");
        for (user, tunnel) in PEOPLE {
            setup = setup.upstream(tunnel, user, "http://127.0.0.1:9");
        }
        let edge = setup.start().await;
        let (mut people, mut post) = (Vec::new(), Some(post));
        for (user, tunnel) in PEOPLE {
            people.push(Busy::enrolled(&edge, user, tunnel, post.take()).await);
        }
        Self { edge, disk: Disk::new(), dice: Dice::new(seed), people, kills: 0 }
    }

    /// One life of the server, from after its last end to its next.
    async fn lives(&mut self, end: End) {
        let data = self.edge.data();
        self.disk.is_mended();
        self.disk.lets_live();
        if let End::AtStart(operation, _) = end {
            self.disk.lets_breathe(operation);
            let disk = &self.disk;
            if self.edge.try_to_start_again_on(|command| disk.under(&data, command)).await {
                self.edge.kill().await;
            } else {
                self.edge.process.end().await;
            }
            self.kills += 1;
            self.disk.lets_live();
        }
        let power = end.takes_the_power().then(|| Power::on(&data));
        let disk = &self.disk;
        let on = |command: &mut std::process::Command| match end {
            End::Killed(_) => {}
            End::PowerCut(_) | End::AfterFailedSync(_) => disk.journaled_under(&data, command),
            End::AtWrite(_) | End::AtStart(..) => disk.under(&data, command),
        };
        self.edge.start_again_on(on).await;
        self.looks().await;
        let ended = CancellationToken::new();
        self.people.iter_mut().for_each(|one| one.begins_anew(ended.clone()));
        let (acts, done) = watch::channel(0);
        let busy = self.everybody_is_busy(&Arc::new(acts));
        self.ends(end, done, &ended).await;
        ended.cancel();
        self.people = within("everybody to notice", busy).await;
        if let End::AfterFailedSync(_) = end {
            // What the next server shows it has from the system's memory. It is used, and only then the power goes.
            self.disk.is_mended();
            let disk = &self.disk;
            self.edge.start_again_on(|command| disk.goes_on_under(&data, command)).await;
            self.looks().await;
            self.edge.kill().await;
            self.kills += 1;
        }
        self.kills += 1;
        if let Some(mut power) = power {
            power.follow(&self.disk.journal());
            power.cut(&data, &mut self.dice);
        }
    }

    /// Everybody does one thing after the other, until nobody answers.
    fn everybody_is_busy(
        &mut self,
        acts: &Arc<watch::Sender<usize>>,
    ) -> impl Future<Output = Vec<Busy>> + use<> {
        let busy = std::mem::take(&mut self.people).into_iter().map(|mut one| {
            let (acts, mut dice) = (Arc::clone(acts), Dice::new(self.dice.roll(u64::MAX)));
            tokio::spawn(async move {
                while one.act(&mut dice).await.is_ok() {
                    acts.send_modify(|acts| *acts += 1);
                }
                one
            })
        });
        let busy: Vec<_> = busy.collect();
        async {
            let mut people = Vec::new();
            for one in busy {
                people.push(one.await.expect("nothing that was not to be"));
            }
            people
        }
    }

    async fn ends(&self, end: End, mut acts: watch::Receiver<usize>, ended: &CancellationToken) {
        let after = async |acts: &mut watch::Receiver<usize>, count| {
            // An error: nobody goes on, because the server is there no more.
            let _ = within("a few acts", acts.wait_for(|acts| *acts >= count)).await;
        };
        match end {
            End::Killed(count) | End::AtStart(_, count) => after(&mut acts, count).await,
            End::AtWrite(operation) | End::PowerCut(operation) => {
                self.disk.lets_breathe(operation);
                self.edge.process.end().await;
            }
            End::AfterFailedSync(file) => {
                after(&mut acts, 5).await;
                self.disk.fails(&[Fault(Operation::Sync, file, BROKEN)]);
                // No mail comes any more.
                ended.cancel();
                // Everybody is told no, and stops.
                within("the refusals", acts.wait_for(|_| false)).await.expect_err("nobody goes on");
            }
        }
        self.edge.kill().await;
    }

    async fn looks(&mut self) {
        let trail = Trail::read(&self.edge.data());
        for one in &mut self.people {
            one.ledger.is_in(one.name(), &trail);
            one.looks().await;
        }
    }

    /// What was acknowledged in all, and how many lines the trail has.
    async fn ledger(&mut self) -> (Tally, usize) {
        self.disk.lets_live();
        self.edge.start_again().await;
        self.looks().await;
        let verified = self.edge.admin(&["audit", "--verify"]).await;
        assert!(verified["first_flaw"].is_null(), "{verified}");
        let mut tally = Tally::default();
        self.people.iter().for_each(|one| tally.add(one.ledger.tally()));
        (tally, Trail::read(&self.edge.data()).lines)
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn however_it_ends_what_was_acknowledged_is_there_and_what_was_spent_or_revoked_stays_so() {
    let kills = usize::try_from(from_environment("PATAPIM_KILLS").unwrap_or(ENDS as u64)).expect("a count");
    let mut seed =
        from_environment("PATAPIM_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let (mut all, mut lines, mut killed, mut ends) = (Tally::default(), 0, 0, Vec::new());
    while killed < kills {
        println!("PATAPIM_SEED={seed}");
        let mut campaign = Campaign::start(seed).await;
        campaign.edge.kill().await;
        for _ in 0..ENDS {
            let end = End::rolled(&mut campaign.dice);
            println!("{end:?}");
            campaign.lives(end).await;
            ends.push(end);
        }
        let (tally, trail) = campaign.ledger().await;
        (killed, lines) = (killed + campaign.kills + 1, lines + trail);
        all.add(tally);
        seed = Dice::new(seed).roll(u64::MAX);
    }
    let cut = ends.iter().filter(|end| end.takes_the_power()).count();
    println!(
        "{killed} ends, {cut} of them with the power; {} acts: {all:?}; {lines} lines of the trail",
        all.all()
    );
    assert!(all.all() > 3 * ENDS, "{all:?}");
}
