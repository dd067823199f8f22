//! `patapim-agent devices`: whom this desktop lets in, and who asks.

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::{Failure, print, print_json, warn};
use crate::agent::Home;
use crate::agent::approvals::Shown;
use crate::agent::console::{self, Decision, Done};
use crate::agent::listing::{Listed, listed_at_rest, meant, short};
use crate::agent::trust::TrustedDevices;

#[derive(Subcommand)]
pub(super) enum Devices {
    /// Show the passkeys that this desktop trusts
    List(Output),
    /// Show the devices that wait to be let in
    Pending(Output),
    /// Let a waiting device in: a passkey from now on, any other way to sign in this once
    Approve(Which),
    /// Turn a waiting device away; it may ask again
    Deny(Which),
    /// Trust a device no longer, and end its sessions
    Remove(Which),
}

#[derive(Args)]
pub(super) struct Output {
    /// One JSON document on stdout
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Which {
    /// The device's id, or the beginning of it
    id: String,
    /// One JSON document on stdout
    #[arg(long)]
    json: bool,
}

pub(super) async fn devices(command: Devices) -> Result<(), Failure> {
    let home = Home::from_environment()?;
    match command {
        Devices::List(output) => list(&home, output.json).await,
        Devices::Pending(output) => pending(&home, output.json).await,
        Devices::Approve(which) => decide(&home, Decision::Approve, which).await,
        Devices::Deny(which) => decide(&home, Decision::Deny, which).await,
        Devices::Remove(which) => decide(&home, Decision::Remove, which).await,
    }
}

async fn list(home: &Home, json: bool) -> Result<(), Failure> {
    let devices = match console::devices(home).await? {
        Some(devices) => devices,
        None => listed_at_rest(&at_rest(home)?),
    };
    if json {
        return document(&devices);
    }
    if devices.is_empty() {
        print("No device is trusted yet: the first to sign in is asked about.");
    }
    for Listed { id, name, fingerprint, since, last_used, .. } in &devices {
        print(format!("{}  {name}", short(id)));
        print(format!("          {fingerprint}"));
        let used = last_used.as_deref().unwrap_or("never");
        print(format!("          approved {since}, last used {used}"));
    }
    Ok(())
}

async fn pending(home: &Home, json: bool) -> Result<(), Failure> {
    let waiting = console::pending(home).await?;
    if waiting.is_none() {
        warn("the agent is not running, so nobody can ask");
    }
    let waiting = waiting.unwrap_or_default();
    if json {
        return document(&waiting);
    }
    if waiting.is_empty() {
        print("No device is waiting.");
    }
    waiting.iter().flat_map(lines_about).for_each(print);
    Ok(())
}

/// What a person needs to know about a device that waits.
pub(super) fn lines_about(waiting: &Shown) -> Vec<String> {
    let id = short(&waiting.id);
    let how = match &*waiting.kind {
        "passkey" => waiting.fingerprint.clone().unwrap_or_default(),
        "backup-code" => "signed in with a backup code".to_owned(),
        "magic-link" => "signed in with a link from an email".to_owned(),
        "password" => "signed in with a password".to_owned(),
        "access-token" => "a script, with the access token of that name".to_owned(),
        _ => "signed in some other way".to_owned(),
    };
    vec![
        format!("{id}  {}  number {}", waiting.name, waiting.number),
        format!("          {how}"),
        format!(
            "          from {}, since {}, until {}",
            waiting.address,
            waiting.since.rfc3339(),
            waiting.until.rfc3339()
        ),
    ]
}

async fn decide(home: &Home, decision: Decision, Which { id, json }: Which) -> Result<(), Failure> {
    let done = match console::decided(home, decision, &id).await? {
        Some(done) => done.map_err(Failure::failed)?,
        None if decision == Decision::Remove => remove_at_rest(home, &id)?,
        None => return Err(Failure::failed("the agent is not running, so no device is waiting")),
    };
    let word = match decision {
        Decision::Approve => "approved",
        Decision::Deny => "denied",
        Decision::Remove => "removed",
    };
    if json {
        let name = done.waited.as_ref().map(|waited| &waited.name);
        return print_json(&json!({"id": done.id, "name": name, "decision": word}));
    }
    match &done.waited {
        Some(waited) => {
            print(format!("{} was {word}: “{}”, number {}.", short(&done.id), waited.name, waited.number))
        }
        None => print(format!("{} was {word}; its sessions have ended.", short(&done.id))),
    }
    Ok(())
}

/// No agent runs, so the list is nobody's but ours. Its sessions find out when the agent runs again.
fn remove_at_rest(home: &Home, typed: &str) -> Result<Done, Failure> {
    let mut devices = at_rest(home)?;
    let list = devices.list();
    let id = meant(typed, list.iter().map(|one| &one.id)).map_err(Failure::failed)?;
    devices.remove(&id);
    devices.save(home)?;
    Ok(Done { id, waited: None })
}

fn at_rest(home: &Home) -> Result<TrustedDevices, Failure> {
    let (devices, report) = TrustedDevices::load(home)?;
    report.into_iter().for_each(warn);
    Ok(devices)
}

fn document(value: &impl Serialize) -> Result<(), Failure> {
    print_json(&serde_json::to_value(value).map_err(Failure::failed)?)
}
