//! Agents and apps that are against everybody: what they say reaches nobody as something else, and nobody but themselves
//! is worse off for it.

mod answers;
mod approvals;
mod apps;
mod connections;
mod frames;
mod halves;
mod impostors;
mod limits;

use http::{Method, StatusCode};

use crate::rig::agent::Desktop;
use crate::rig::edge::Setup;
use crate::rig::fake_agent::{FakeAgent, Manners};
use crate::rig::journey::Person;
use crate::tunnel::Linked;

/// Ada's honest desktop, and Eve's, which is neither on the same edge nor anywhere else Ada's friend.
struct Beside {
    linked: Linked,
    eve: Person,
    desktop: Desktop,
    agent: FakeAgent,
}

impl Beside {
    /// Eve is signed in to her own tunnel, whose agent has these manners.
    async fn start(manners: Manners) -> Self {
        Self::with(Setup::default(), manners).await
    }

    /// The same on an edge of this kind.
    async fn with(setup: Setup, manners: Manners) -> Self {
        let linked = Linked::with(setup).await;
        let mut eve = Person::enrolled(&linked.edge, "eve").await;
        let desktop = Desktop::linked(&linked.edge, "eve").await;
        let agent = FakeAgent::dial(&linked.edge, &desktop, manners).await;
        let answer = eve.open(&linked.edge.tunnel(&desktop.tunnel, "/")).await;
        assert_eq!(answer.must_be(200).text(), "well");
        Self { linked, eve, desktop, agent }
    }

    /// A page of Eve's.
    fn page(&self, path: &str) -> url::Url {
        self.linked.edge.tunnel(&self.desktop.tunnel, path)
    }

    /// Eve's desktop dials in once more.
    async fn dials(&self, manners: Manners) -> FakeAgent {
        FakeAgent::dial(&self.linked.edge, &self.desktop, manners).await
    }

    /// How many streams of visitors are open.
    async fn streams(&self) -> u64 {
        self.linked.edge.counted("streams_active{kind=\"http\"}").await
    }

    /// Ada is served as if there were no Eve.
    async fn ada_is_well(&self) {
        let page = self.linked.page("/echo");
        let answer = self.linked.ada.browser.fetch(Method::GET, &page).await;
        assert_eq!((answer.status, answer.header("x-app")), (StatusCode::OK, "ada's app"));
    }
}
