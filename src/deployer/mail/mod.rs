//! Mail to people: sign-in links, and word of what happened to their account.
//!
//! Nobody waits for it: a mail is handed to the [`Outbox`] and goes its way, so that how long a request takes says nothing
//! about whether one was sent. What is under way is bounded; over that, mails are dropped and the log says so.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::names::EmailAddress;

mod letter;
mod settings;
mod smtp;

pub use settings::{MailServer, MailServerError, MailSettings, Sender, Transport};
pub use smtp::MailError;

pub(super) use letter::{Letter, Link};

/// How many may be under way at once.
const MOST_UNDER_WAY: usize = 64;

/// One mail, ready to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// To whom.
    pub to: EmailAddress,
    /// What it is about.
    pub subject: String,
    /// The text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
    /// What tells it from every other mail: the left side of its `Message-ID`.
    pub id: String,
}

/// Takes mails where they go.
#[async_trait]
pub trait Carrier: Send + Sync + 'static {
    /// Hands one in; done when somebody else answers for it.
    async fn carry(&self, mail: Mail) -> Result<(), MailError>;
}

/// Where mails are handed in.
#[derive(Clone)]
pub struct Outbox {
    carrier: Arc<dyn Carrier>,
    places: Arc<Semaphore>,
}

impl Outbox {
    /// Over `carrier`.
    pub fn new(carrier: Arc<dyn Carrier>) -> Self {
        Self { carrier, places: Arc::new(Semaphore::new(MOST_UNDER_WAY)) }
    }

    /// Over the mail server of `settings`. `greeting` is the name this machine gives itself there.
    pub fn open(settings: &MailSettings, greeting: &str) -> Result<Self, MailError> {
        Ok(Self::new(Arc::new(smtp::Smtp::open(settings, greeting)?)))
    }

    /// Sends `mail` on its way.
    pub(super) fn post(&self, mail: Mail) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            tracing::error!("too many mails are under way; one was dropped");
            return;
        };
        let carrier = Arc::clone(&self.carrier);
        tokio::spawn(async move {
            if let Err(error) = carrier.carry(mail).await {
                tracing::error!(%error, "a mail was not sent");
            }
            drop(place);
        });
    }
}
