//! Which tunnels can be used now: those with an agent, and those with a fixed address.

use std::collections::HashSet;
use std::sync::Arc;

use crate::deployer::Presence;
use crate::names::TunnelId;
use crate::tunnel::{Cut, Registry};

/// What the deployer is told.
pub(super) struct Desktops {
    pub(super) registry: Arc<Registry>,
    pub(super) fixed: HashSet<TunnelId>,
}

impl Presence for Desktops {
    fn online(&self, tunnel: &TunnelId) -> bool {
        self.fixed.contains(tunnel) || self.registry.find(tunnel).is_some()
    }

    fn desktop(&self, tunnel: &TunnelId) -> Option<String> {
        self.registry.find(tunnel).map(|link| link.desktop().to_owned())
    }

    fn unlinked(&self, tunnel: &TunnelId) {
        self.registry.cut(tunnel, Cut::Unlinked);
    }
}
