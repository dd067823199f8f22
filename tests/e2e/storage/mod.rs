//! A server that is killed at any moment, a disk that is full, breaks, or gives back something else, and power that goes:
//! what was acknowledged is there, what was used is spent, what was revoked is over, and nothing else is believed.

mod crash;
mod damage;
mod desktop;
mod full;
mod ledger;
mod person;
