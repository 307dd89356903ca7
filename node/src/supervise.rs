//! What the service manager is told, where systemd started the program: that the node is ready, that
//! it lives, that it ends. Elsewhere nothing. Never here: whether it is or does.

use std::{convert::Infallible, time::Duration};

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

use crate::metrics::vitals::Vitals;

/// The node serves.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The node begins to end.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says, twice in each period of the service manager's watchdog, that the node lives: as long as it
/// does. Never returns.
pub async fn keep_alive(vitals: &Vitals) -> Infallible {
    let Some(period) = sd_notify::watchdog_enabled().filter(|period| *period > Duration::ZERO)
    else {
        return std::future::pending().await;
    };
    let mut ticks = interval(period / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let health = vitals.health().await;
        if health.is_well() {
            tell(&[NotifyState::Watchdog]);
        } else {
            tracing::warn!(%health, "the node does not live as it should");
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
