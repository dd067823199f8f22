//! The edge by itself and with its tunnel, beside what people would use instead.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::contestant::Contestant;
use super::figures::{Row, Sample, compare, cost};
use super::h2load::{Credentials, Load, quantile};
use crate::rig::ca::Ca;

const ROUNDS: usize = 5;
const LONG_ROUNDS: usize = 3;
const HANDSHAKES: u32 = 400;

const fn load(options: &'static str, requests: u32, path: &'static str) -> Load {
    Load { options, requests, path, credentials: Credentials::Good }
}

const H1: Load = load("--h1 -c16", 15_000, "/small");
const H2: Load = load("-c4 -m16", 20_000, "/small");
const BODIES: Load = load("--h1 -c16", 4_000, "/64k");
const REFUSED: Load = Load { credentials: Credentials::Forged, ..load("--h1 -c16", 20_000, "/small") };
const RATE: Load = load("--h1 -c20 --rps=50", 3_000, "/small");

const TUNNEL_RATE: Load = load("--h1 -c10 --rps=50", 1_500, "/small");
const ONE_BY_ONE: Load = load("--h1 -c1", 200, "/64k");
const ONE_STREAM: Load = load("--h1 -c1", 1, "/256m");
const MANY_STREAMS: Load = load("--h1 -c64", 64, "/4m");
/// What the last two move.
const MIB: f64 = 256.0;

/// The edge alone.
pub(crate) fn alone(contestants: &[Contestant], ca: &Ca) -> Vec<Row> {
    for one in contestants {
        // What is filled once, caches and pools, is filled now.
        let _ = H1.run(one);
    }
    let tls = without_resumption(ca);
    vec![
        requests("HTTP/1.1, small", contestants, H1),
        requests("HTTP/2, small", contestants, H2),
        requests("64 KiB", contestants, BODIES),
        requests("refused", contestants, REFUSED),
        compare("full TLS handshakes", LONG_ROUNDS, contestants, |one| {
            let (value, ()) = cost(one, f64::from(HANDSHAKES) / 1e4, || shake_hands(one, &tls))?;
            Ok(Sample { value, note: String::new() })
        }),
        at_a_rate("at 1,000/s", contestants, RATE),
    ]
}

/// The edge with an agent; of the last one, which is the origin itself, only the time counts.
pub(crate) fn through_tunnel(contestants: &[Contestant]) -> Vec<Row> {
    let served = &contestants[..contestants.len().saturating_sub(1)];
    for one in served {
        let _ = H1.run(one);
    }
    vec![
        requests("HTTP/1.1, small", served, H1),
        requests("HTTP/2, small", served, H2),
        requests("64 KiB", served, BODIES),
        at_a_rate("at 500/s", contestants, TUNNEL_RATE),
        at_a_rate("64 KiB, one after the other", contestants, ONE_BY_ONE),
    ]
}

/// Long transfers: processor time by volume.
pub(crate) fn bulk(contestants: &[Contestant]) -> Vec<Row> {
    vec![volume("one stream", contestants, ONE_STREAM), volume("64 streams", contestants, MANY_STREAMS)]
}

fn requests(case: &'static str, contestants: &[Contestant], load: Load) -> Row {
    compare(case, ROUNDS, contestants, |one| {
        let (value, _) = cost(one, f64::from(load.requests) / 1e4, || load.run(one))?;
        Ok(Sample { value, note: String::new() })
    })
}

fn at_a_rate(case: &'static str, contestants: &[Contestant], load: Load) -> Row {
    compare(case, LONG_ROUNDS, contestants, |one| {
        let (value, loaded) = cost(one, f64::from(load.requests) / 1e4, || load.run(one))?;
        let (half, most) = (quantile(&loaded.latencies, 0.5), quantile(&loaded.latencies, 0.99));
        Ok(Sample { value, note: format!("p50 {half:.2}, p99 {most:.2} ms") })
    })
}

fn volume(case: &'static str, contestants: &[Contestant], load: Load) -> Row {
    compare(case, LONG_ROUNDS, contestants, |one| {
        let (value, loaded) = cost(one, MIB / 1024.0, || load.run(one))?;
        Ok(Sample { value, note: format!("{:.0} MiB/s", MIB / loaded.seconds) })
    })
}

/// A browser that has never been here.
fn without_resumption(ca: &Ca) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&ca.client(&["http/1.1"]));
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

fn shake_hands(with: &Contestant, tls: &Arc<ClientConfig>) -> Result<(), String> {
    let host = with.origin.trim_start_matches("https://").split(':').next().unwrap_or_default().to_owned();
    let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
    for _ in 0..HANDSHAKES {
        let mut session =
            ClientConnection::new(Arc::clone(tls), name.clone()).map_err(|error| error.to_string())?;
        let mut tcp = TcpStream::connect(("127.0.0.1", with.port)).map_err(|error| error.to_string())?;
        while session.is_handshaking() {
            session.complete_io(&mut tcp).map_err(|error| error.to_string())?;
        }
        session.send_close_notify();
        let _ = session.complete_io(&mut tcp);
    }
    Ok(())
}
