//! The product from outside: the built programs, sockets, browsers, and nothing else.
//!
//! A test starts what it needs on ports the system chose, in folders of its own, so all run at once; it waits for
//! events, never for time to pass.

mod approvals;
mod audit;
mod backup;
mod bad_days;
mod browser;
mod ceremonies;
mod commands;
mod conformance;
mod crowds;
mod cuts;
mod demo;
mod doctor;
mod events;
mod fallback_pages;
mod fallbacks;
mod floods;
mod gate;
mod handshakes;
mod hostile;
mod hosts;
mod introductions;
mod layering;
mod limits;
mod link_codes;
mod linking;
mod manual;
mod misplaced;
mod monitoring;
mod neighbours;
mod operation;
mod passkeys;
mod phone;
mod plugin;
mod proxies;
mod reload;
mod rig;
mod scripts;
mod sessions;
mod settings;
mod shortage;
mod sign_in;
mod slow;
mod storage;
mod tokens;
mod tunnel;
mod upgrade;
