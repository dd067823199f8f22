//! What a running edge takes from a changed configuration, and how it learns of the change: by SIGHUP, or by itself.
//!
//! All of a new configuration is read and checked before any of it is used: a bad one is reported and changes nothing.
//! Connections know nothing of it. Those that are open keep the certificate and the sessions they began with; the next
//! handshake and the next sign-in meet the new.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::file_watch::FileWatch;
use super::{CertificateStore, Edge, Settings};

/// How often the files are looked at. A change counts after two looks.
const EVERY: Duration = Duration::from_secs(2);

/// Where the settings come from, to be read again while the edge runs.
pub struct Source {
    /// The file that is watched for changes.
    pub file: PathBuf,
    /// Reads and checks it. What is wrong is said in sentences for the operator.
    pub read: Box<dyn Fn() -> Result<Settings, String> + Send>,
}

/// Keeps a running edge at what its files say.
pub(super) struct Reload {
    source: Option<Source>,
    /// What it was started with; what can change while it runs, as it is now.
    settings: Settings,
    certificates: Arc<CertificateStore>,
    edge: Arc<Edge>,
    watch: FileWatch,
}

impl Reload {
    pub(super) async fn start(
        source: Option<Source>,
        settings: Settings,
        edge: Arc<Edge>,
        certificates: Arc<CertificateStore>,
    ) -> Self {
        let mut reload = Self { source, settings, edge, certificates, watch: FileWatch::new(EVERY) };
        reload.note_files().await;
        reload
    }

    /// How long what is in flight is waited for when the server stops.
    pub(super) fn grace(&self) -> Duration {
        self.settings.grace
    }

    /// Waits until a file has changed.
    pub(super) async fn changed(&mut self) {
        self.watch.changed().await;
    }

    /// Reads everything again, and uses it if it is good.
    pub(super) async fn reload(&mut self) {
        // What changes after this look is a change of its own.
        self.note_files().await;
        let read = self.source.as_ref().map_or_else(|| Ok(self.settings.clone()), |source| (source.read)());
        let new = match read {
            Ok(new) => new,
            Err(faults) => {
                tracing::error!(%faults, "the new configuration is not used; the old one stays, and its certificate");
                return;
            }
        };
        let moved = new.tls != self.settings.tls;
        if let Err(error) = self.certificates.reload(&new.tls) {
            tracing::error!(%error, "the new certificate is not used; the old one stays");
            return;
        }
        let waiting = self.settings.differing_until_restart(&new);
        self.settings.tls = new.tls;
        self.settings.grace = new.grace;
        self.settings.session = new.session;
        self.edge.sessions.configure(self.settings.session.clone());
        if moved {
            self.note_files().await;
        }
        let until = self.certificates.expires_at().rfc3339();
        tracing::info!(certificate_until = until, "configuration and certificate read again");
        self.certificates.report_dates(&*self.edge.clock);
        if !waiting.is_empty() {
            let keys = waiting.join(", ");
            tracing::warn!(keys, "these keys have changed and count from the next start or upgrade on");
        }
    }

    async fn note_files(&mut self) {
        let config = self.source.as_ref().map(|source| source.file.clone());
        let tls = &self.settings.tls;
        self.watch.note(config.into_iter().chain([tls.cert.clone(), tls.key.clone()]).collect()).await;
    }
}
