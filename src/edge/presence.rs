//! Which tunnels can be used now: those with an agent, and those with a fixed address.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::deployer::{DesktopError, Presence, TrustedDevice};
use crate::names::{DeviceId, TunnelId};
use crate::tunnel::{Cut, DevicesError, Registry};
use crate::wire::{approval as wire, one_line};

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

    fn devices(&self, tunnel: &TunnelId) -> BoxFuture<'static, Result<Vec<TrustedDevice>, DesktopError>> {
        let link = self.registry.find(tunnel);
        Box::pin(async move {
            let link = link.ok_or(DesktopError::Offline)?;
            let devices = link.devices().await.map_err(unanswered)?;
            Ok(devices.into_iter().map(told_of).collect())
        })
    }

    fn remove_device(
        &self,
        tunnel: &TunnelId,
        device: &DeviceId,
    ) -> BoxFuture<'static, Result<(), DesktopError>> {
        let (link, device) = (self.registry.find(tunnel), device.clone());
        Box::pin(async move {
            let link = link.ok_or(DesktopError::Offline)?;
            link.remove_device(&device).await.map_err(unanswered)
        })
    }

    fn unlinked(&self, tunnel: &TunnelId) {
        self.registry.cut(tunnel, Cut::Unlinked);
    }
}

/// A desktop says what it likes; a page shows it.
fn told_of(device: wire::TrustedDevice) -> TrustedDevice {
    TrustedDevice {
        id: device.id,
        name: one_line(&device.name),
        fingerprint: one_line(&device.fingerprint),
        since: device.approved_at,
        last_used: device.last_used_at,
    }
}

fn unanswered(error: DevicesError) -> DesktopError {
    match error {
        DevicesError::Unanswered => DesktopError::Offline,
        DevicesError::Outdated => DesktopError::Outdated,
        DevicesError::NotTrusted => DesktopError::NotTrusted,
    }
}
