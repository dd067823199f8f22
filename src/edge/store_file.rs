//! The store's file in the data directory, and the clock that goes with it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::settings::STORE_FILE;
use super::store_metrics::Measured;
use super::{EdgeError, data_dir};
use crate::clock::{Clock, SystemClock};
use crate::store::replaceable::Replaceable;
use crate::store::sqlite::{OpenError, SqliteFile};

/// Clocks are set by less than this all the time, and nobody needs to hear of it.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// The store, and a clock that is not behind it.
pub(super) type Opened = (Arc<Replaceable>, Arc<dyn Clock>);

/// Opens the file in `data_dir`, or makes both. Its lock keeps a second server from everything else.
pub(super) fn open(data_dir: &Path) -> Result<Opened, EdgeError> {
    data_dir::prepare(data_dir)?;
    let file = SqliteFile::open(&data_dir.join(STORE_FILE))?;
    let seen = file.latest_moment();
    let system = SystemClock::not_before(seen);
    let behind = system.behind();
    if behind > CLOCK_TOLERANCE {
        tracing::error!(
            behind_s = behind.as_secs(),
            seen = seen.rfc3339(),
            "this machine's clock is behind a moment that this server has seen already: until it has caught up, time stands \
             still here, nothing comes back to life, and nothing expires; check the clock"
        );
    }
    let clock: Arc<dyn Clock> = system;
    let store = Measured(file.start(Arc::clone(&clock)));
    Ok((Replaceable::new(Arc::new(store)), clock))
}

/// Opens the file again that was another server's for a while, to go on by the same clock.
pub(super) fn reopen(data_dir: &Path, clock: &Arc<dyn Clock>) -> Result<Arc<Measured>, OpenError> {
    let file = SqliteFile::open(&data_dir.join(STORE_FILE))?;
    Ok(Arc::new(Measured(file.start(Arc::clone(clock)))))
}
