//! Linking as a television does: this desktop shows a code, a person approves it in a browser, and the desktop hears of it
//! by asking again and again (RFC 8628 in shape).

use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use super::api::CallError;
use super::identity::Link;
use super::linking::{Candidate, FirstTrust, LinkRequest, LinkingError};
use super::proof::Introduction;
use crate::secret::{Entropy, SecretText};
use crate::wire::one_line;

/// What "slow down" means (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// The longest pause between two questions, whatever is wrong.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// More than any edge means.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Nobody waits longer than this for a desktop that says goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// A code that waits to be approved.
pub struct LinkCode {
    /// What the person types.
    pub user_code: String,
    /// Where they type it, with the code in it.
    pub url: String,
    /// How long it is good.
    pub expires_in: Duration,
    interval: Duration,
    device_code: SecretText,
    introduction: Introduction,
    candidate: Candidate,
}

#[derive(Deserialize)]
struct Begun {
    user_code: String,
    device_code: String,
    verification_url: String,
    #[serde(default = "usual_interval")]
    interval: u64,
    expires_in: u64,
}

/// RFC 8628 §3.2.
fn usual_interval() -> u64 {
    5
}

#[derive(Serialize)]
struct Waits<'a> {
    device_code: &'a str,
}

/// Makes a key and asks the edge for a code that links it.
pub async fn ask_for_code(asked: LinkRequest, entropy: &dyn Entropy) -> Result<LinkCode, LinkingError> {
    let (candidate, introduction) = (Candidate::new(asked)?, Introduction::new(entropy));
    let asks = candidate.asks(Some(introduction.nonce()));
    let begun: Begun = candidate.api.post("/link", &asks, StatusCode::OK).await?;
    Ok(LinkCode {
        user_code: one_line(&begun.user_code),
        url: one_line(&begun.verification_url),
        expires_in: Duration::from_secs(begun.expires_in).min(LONGEST_WAIT),
        interval: Duration::from_secs(begun.interval).clamp(Duration::from_secs(1), LONGEST_PAUSE),
        device_code: SecretText::new(begun.device_code),
        introduction,
        candidate,
    })
}

impl LinkCode {
    /// What the page shows as well; whoever approves compares the two.
    pub fn fingerprint(&self) -> String {
        self.candidate.key.pin().fingerprint()
    }

    /// Waits until somebody has decided, or it is too late. What goes wrong meanwhile is told to `trouble`, and tried
    /// again until the code ends. When `stop` comes first the edge is told that nobody waits any more, so that what is on
    /// the screen links nothing later.
    pub async fn decision(
        self,
        stop: impl Future<Output = ()>,
        trouble: impl FnMut(&str),
    ) -> Result<(Link, FirstTrust), LinkingError> {
        let (api, body) = (&self.candidate.api, Waits { device_code: self.device_code.reveal() });
        let ask = async || Heard::from(api.post("/link/poll", &body, StatusCode::OK).await);
        let decided = tokio::select! {
            decided = wait(ask, self.interval, self.expires_in, trouble) => decided,
            () = stop => {
                let told = api.post::<()>("/link/withdraw", &body, StatusCode::NO_CONTENT);
                // Where it cannot be told, the code ends by itself.
                let _ = timeout(GOODBYE, told).await;
                Err(LinkingError::Interrupted)
            }
        };
        let (link, approver) = self.candidate.linked(decided?)?;
        let first = match approver {
            None => FirstTrust::Nobody,
            Some(approver) => approver.introduced(&self.introduction, &link, &self.user_code)?,
        };
        Ok((link, first))
    }
}

/// What one question brought.
enum Heard<T> {
    Pending,
    SlowDown,
    Over(Result<T, LinkingError>),
    /// Nothing; asking again may help.
    Trouble(String),
}

impl<T> From<Result<T, CallError>> for Heard<T> {
    fn from(answer: Result<T, CallError>) -> Self {
        let refusal = match answer {
            Ok(linked) => return Self::Over(Ok(linked)),
            Err(CallError::Refused(refusal)) => refusal,
            Err(error) => return Self::Trouble(error.to_string()),
        };
        match &*refusal.slug {
            "authorization-pending" => Self::Pending,
            "slow-down" => Self::SlowDown,
            "access-denied" => Self::Over(Err(LinkingError::Denied)),
            "expired-token" => Self::Over(Err(LinkingError::Expired)),
            _ if refusal.status.is_server_error() || refusal.status == StatusCode::TOO_MANY_REQUESTS => {
                Self::Trouble(CallError::Refused(refusal).to_string())
            }
            _ => Self::Over(Err(CallError::Refused(refusal).into())),
        }
    }
}

/// Asks until there is an answer, no more often than the edge wants, less often while something is wrong.
async fn wait<T>(
    mut ask: impl AsyncFnMut() -> Heard<T>,
    mut interval: Duration,
    expires_in: Duration,
    mut trouble: impl FnMut(&str),
) -> Result<T, LinkingError> {
    let end = Instant::now() + expires_in;
    let mut pause = interval;
    let mut wrong: Option<String> = None;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(wrong.map_or(LinkingError::Expired, LinkingError::Unheard));
        }
        sleep(pause.min(left)).await;
        match ask().await {
            Heard::Over(decided) => return decided,
            Heard::Trouble(what) => {
                pause = (pause * 2).min(LONGEST_PAUSE).max(interval);
                if wrong.as_ref() != Some(&what) {
                    trouble(&what);
                }
                wrong = Some(what);
            }
            heard => {
                if let Heard::SlowDown = heard {
                    interval += SLOWER;
                }
                pause = interval;
                wrong = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Plays `script` to who asks, one line a question, the last one for ever; gives the end, the seconds at which was
    /// asked, and what was told.
    async fn played(script: Vec<fn() -> Heard<u32>>) -> (Result<u32, LinkingError>, Vec<u64>, Vec<String>) {
        let (begun, mut times, mut told) = (Instant::now(), Vec::new(), Vec::new());
        let ask = async || {
            let line = script[times.len().min(script.len() - 1)];
            times.push(begun.elapsed().as_secs());
            line()
        };
        let end = wait(ask, 2 * SECOND, 60 * SECOND, |what| told.push(what.to_owned())).await;
        (end, times, told)
    }

    fn pending() -> Heard<u32> {
        Heard::Pending
    }

    fn away() -> Heard<u32> {
        Heard::Trouble("nobody there".into())
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_asked_as_often_as_the_edge_wants_until_somebody_decides() {
        let (end, times, told) = played(vec![pending, pending, || Heard::Over(Ok(7))]).await;
        assert_eq!((end.expect("linked"), times), (7, vec![2, 4, 6]));
        assert!(told.is_empty());
        let (end, ..) = played(vec![pending, || Heard::Over(Err(LinkingError::Denied))]).await;
        assert!(matches!(end, Err(LinkingError::Denied)));
    }

    #[tokio::test(start_paused = true)]
    async fn slow_down_means_five_seconds_more_from_then_on() {
        let (_, times, _) = played(vec![|| Heard::SlowDown, pending, || Heard::SlowDown, pending]).await;
        assert_eq!(times, [2, 9, 16, 28, 40, 52, 60]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_edge_that_is_away_is_asked_less_often_until_the_code_ends() {
        let (end, times, told) = played(vec![away]).await;
        assert_eq!((times, &*told), (vec![2, 6, 14, 30, 60], &["nobody there".to_owned()][..]));
        assert!(matches!(end, Err(LinkingError::Unheard(why)) if why == "nobody there"));
        let (end, times, told) = played(vec![away, pending, away, || Heard::Over(Ok(1))]).await;
        assert_eq!((end.expect("linked"), times, told.len()), (1, vec![2, 6, 8, 12], 2));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_decides_and_it_ends_by_itself() {
        let (end, times, _) = played(vec![pending]).await;
        assert!(matches!(end, Err(LinkingError::Expired)));
        assert_eq!(times.last(), Some(&60), "asked a last time at the very end");
    }
}
