//! Through an agent that dialed in: whatever the visitor and the app say to each other arrives, in order, whole, and
//! at once; and when a part fails, nobody is told a lie.

mod bad_days;
mod bulk;
mod failure;
mod idle;
mod streams;

use crate::rig::agent::Desktop;
use crate::rig::app::App;
use crate::rig::edge::{Edge, Setup};
use crate::rig::journey::Person;
use crate::rig::process::Process;

/// An edge, and Ada's app behind her desktop's agent.
pub(crate) struct Linked {
    pub(crate) edge: Edge,
    pub(crate) app: App,
    pub(crate) ada: Person,
    pub(crate) desktop: Desktop,
    pub(crate) agent: Process,
}

impl Linked {
    pub(crate) async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let edge = setup.start().await;
        let app = App::start("ada's app").await;
        let mut ada = Person::enrolled(&edge, "ada").await;
        let desktop = Desktop::linked(&edge, "ada").await;
        let agent = desktop.run(&app.url()).await;
        let page = edge.tunnel(&desktop.tunnel, "/");
        ada.open(&page).await.must_be(200);
        Self { edge, app, ada, desktop, agent }
    }

    /// In a browser that knows nothing of earlier sign-ins.
    async fn signs_in_anew(&mut self) {
        self.ada.browser = self.edge.visitor();
        let page = self.page("/");
        self.ada.open(&page).await.must_be(200);
    }

    pub(crate) fn page(&self, path: &str) -> url::Url {
        self.edge.tunnel(&self.desktop.tunnel, path)
    }
}
