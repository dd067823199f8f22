//! The configuration's keys, one after the other, with their defaults and the rules between them.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fault::{Place, complaint};
use super::files::{Kind, Named};
use super::section::{Found, Section};
use super::{Config, values};
use crate::access::sessions::SessionSettings;
use crate::deployer::WebauthnSettings;
use crate::deployer::mail::MailSettings;
use crate::edge::{
    Browsers, CapSettings, CertificateFiles, FixedUpstream, ListenSettings, ProxySettings, Settings,
};
use crate::names::BaseDomain;
use crate::tunnel::TunnelSettings;

pub(super) const DATA_DIR: &str = "/var/lib/patapim-edge";
pub(super) const DEPLOYER: &str = "deployer";
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// Reads every key, and tells which files were named. No configuration if something is missing that has no default;
/// what is wrong is noted in the section's findings either way.
pub(super) fn config(root: &Section<'_>, file: &Path) -> (Option<Config>, Vec<Named>) {
    let mut files = Files { folder: file.parent().unwrap_or(Path::new("")), named: Vec::new() };

    let base = root.required_text("base_domain", "patapim.example", values::base_domain);
    let deployer = root.text("deployer", values::label).map_or(DEPLOYER.to_owned(), |found| found.value);
    let public_port = root.number("public_port", 0..=65535);
    let data_dir = files.noted(Kind::DataDir, root.text("data_dir", values::any)).unwrap_or_else(|| {
        let place = root.place().clone();
        files.add(Kind::DataDir, Found { value: DATA_DIR.to_owned(), place })
    });
    let listen = listen(&root.section("listen"));
    let caps = caps(&root.section("limits"));
    let proxies = proxies(&root.section("proxies"));
    let tls = tls(&root.section("tls"), &mut files);
    let rp_id = rp_id(&root.section("webauthn"), base.as_ref().map(|found| &found.value), &deployer);
    let session = session(&root.section("session"));
    let tunnel = tunnel(&root.section("tunnel"));
    let grace = root.section("shutdown").text("grace", values::grace).map_or(GRACE, |found| found.value);
    let limits = super::limits::limits(&root.section("limits"));
    root.section("store").text("engine", values::engine);
    let mail = mail(&root.section("mail"), &mut files);
    let upstreams = upstreams(&root.sections("upstream"));

    reachable(root, public_port.as_ref(), &listen.https);
    let public_port = public_port.and_then(|found| u16::try_from(found.value).ok()).unwrap_or(443);
    let config = base.zip(tls).map(|(base, tls)| Config {
        edge: Settings {
            base: base.value,
            deployer_label: deployer,
            public_port,
            data_dir,
            browsers: Browsers::Tls,
            listen,
            caps,
            proxies,
            tls,
            webauthn: WebauthnSettings { rp_id },
            session,
            tunnel,
            limits,
            grace,
            mail,
            upstreams,
        },
    });
    (config, files.named)
}

/// The files that the configuration names. A relative path begins at the configuration's own folder.
struct Files<'a> {
    folder: &'a Path,
    named: Vec<Named>,
}

impl Files<'_> {
    fn noted(&mut self, kind: Kind, found: Option<Found<String>>) -> Option<PathBuf> {
        found.map(|found| self.add(kind, found))
    }

    fn add(&mut self, kind: Kind, Found { value, place }: Found<String>) -> PathBuf {
        let path = self.folder.join(value);
        self.named.push(Named { kind, path: path.clone(), place });
        path
    }
}

fn listen(section: &Section<'_>) -> ListenSettings {
    let every = |port| vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))];
    let https = section.texts("https", values::address);
    let http = section.texts("http", values::address);
    let admin = section.text("admin", values::address);
    let mut taken: HashMap<SocketAddr, &str> = HashMap::new();
    let named = [
        ("https", https.as_deref()),
        ("http", http.as_deref()),
        ("admin", admin.as_ref().map(std::slice::from_ref)),
    ];
    for (key, found) in named {
        for Found { value, place } in found.unwrap_or_default() {
            if value.port() != 0 && taken.insert(*value, key).is_some() {
                section.fault(
                    key,
                    place,
                    complaint(format!("{value} is there twice"), "give each listener an address of its own"),
                );
            }
        }
    }
    if let Some(Found { value, place }) = &admin
        && !value.ip().is_loopback()
    {
        let wrong = format!(
            "{value} can be reached from other machines, and metrics and health are told to whoever asks"
        );
        section.warn(
            "admin",
            place,
            complaint(wrong, "see that a firewall keeps strangers out, or use 127.0.0.1"),
        );
    }
    if https.as_ref().is_some_and(Vec::is_empty) {
        section.fault(
            "https",
            section.place(),
            complaint("there is no address", "name at least one, such as \"0.0.0.0:443\""),
        );
    }
    let values = |found: Option<Vec<Found<SocketAddr>>>, port| {
        found.map_or(every(port), |all| all.into_iter().map(|one| one.value).collect())
    };
    ListenSettings {
        https: values(https, 443),
        http: values(http, 80),
        admin: admin.map_or((Ipv4Addr::LOCALHOST, 9090).into(), |found| found.value),
        admin_hosts: section.texts("admin_hosts", values::host).map_or(Vec::new(), plain),
    }
}

fn plain<T>(found: Vec<Found<T>>) -> Vec<T> {
    found.into_iter().map(|one| one.value).collect()
}

fn caps(section: &Section<'_>) -> CapSettings {
    let usual = CapSettings::default();
    let number = |key, least, usual| {
        let found = section.number(key, least..=i64::from(i32::MAX));
        found.and_then(|found| u32::try_from(found.value).ok()).unwrap_or(usual)
    };
    CapSettings {
        connections: number("connections", 0, usual.connections),
        connections_per_address: number("connections_per_address", 0, usual.connections_per_address),
        streams_per_connection: number("streams_per_connection", 1, usual.streams_per_connection),
        requests_per_address: number("requests_per_address", 0, usual.requests_per_address),
        requests_per_session: number("requests_per_session", 0, usual.requests_per_session),
    }
}

fn proxies(section: &Section<'_>) -> ProxySettings {
    let networks = |key| section.texts(key, values::network).map_or(Vec::new(), plain);
    ProxySettings { proxy_protocol: networks("proxy_protocol"), forwarded_for: networks("forwarded_for") }
}

/// A port that nothing listens on may be a firewall's doing, or a slip; only the operator knows.
fn reachable(root: &Section<'_>, public_port: Option<&Found<i64>>, https: &[SocketAddr]) {
    let port = public_port.map_or(443, |found| found.value);
    if port == 0 || https.iter().any(|address| address.port() == 0 || i64::from(address.port()) == port) {
        return;
    }
    let place = public_port.map_or(root.place(), |found| &found.place);
    let Some(first) = https.first() else { return };
    let wrong = format!("public URLs name port {port}, and nothing in listen.https is on it");
    let mend =
        format!("right if something forwards it to port {0}; else set public_port = {0}", first.port());
    root.warn("public_port", place, complaint(wrong, mend));
}

fn tls(section: &Section<'_>, files: &mut Files<'_>) -> Option<CertificateFiles> {
    let cert = section.required_text("cert", "/etc/patapim-edge/fullchain.pem", values::any);
    let key = section.required_text("key", "/etc/patapim-edge/privkey.pem", values::any);
    let (cert, key) = (files.noted(Kind::Certificate, cert), files.noted(Kind::PrivateKey, key));
    Some(CertificateFiles { cert: cert?, key: key? })
}

/// The deployer's host, or the base domain: of what the browsers would allow, these are the two that are ours.
fn rp_id(section: &Section<'_>, base: Option<&BaseDomain>, deployer: &str) -> String {
    let found = section.text("rp_id", values::any);
    let Some(base) = base else { return String::new() };
    let host = format!("{deployer}.{base}");
    let Some(Found { value, place }) = found else { return host };
    if value == base.as_str() && value.contains('.') {
        let wrong = format!(
            "{value:?} covers the tunnels too: a page behind one can ask for, hide or replace a person's passkeys"
        );
        let mend = format!(
            "for a new installation leave it out, which means {host:?}; passkeys once made need the one they were made for"
        );
        section.warn("rp_id", &place, complaint(wrong, mend));
    } else if value != host {
        let wrong = format!("no browser accepts {value:?} for passkeys at {host}");
        section.fault(
            "rp_id",
            &place,
            complaint(wrong, format!("use {host:?}, or the base domain {:?}", base.as_str())),
        );
    }
    value
}

fn session(section: &Section<'_>) -> SessionSettings {
    let usual = SessionSettings::default();
    let token_ttl = section.text("token_ttl", values::token_ttl);
    let redeem_within = section.text("redeem_within", values::redeem_within);
    let idle_timeout = section.text("idle_timeout", values::idle_timeout);
    SessionSettings {
        token_ttl: token_ttl.map_or(usual.token_ttl, |found| found.value),
        redeem_within: redeem_within.map_or(usual.redeem_within, |found| found.value),
        idle_timeout: match idle_timeout {
            Some(found) => Some(found.value).filter(|limit| !limit.is_zero()),
            None => usual.idle_timeout,
        },
    }
}

fn tunnel(section: &Section<'_>) -> TunnelSettings {
    let usual = TunnelSettings::default();
    let streams = section.number("streams", 1..=4000).and_then(|found| u32::try_from(found.value).ok());
    let mebibytes =
        section.number("memory_mib", 1..=4096).and_then(|found| usize::try_from(found.value).ok());
    TunnelSettings {
        streams: streams.unwrap_or(usual.streams),
        memory: mebibytes.map_or(usual.memory, |number| number << 20),
        ..usual
    }
}

fn mail(section: &Section<'_>, files: &mut Files<'_>) -> Option<MailSettings> {
    if !section.is_present() {
        return None;
    }
    let smtp = section.required_text("smtp", "smtps://user@mail.example", values::smtp);
    let from = section.required_text("from", "Patapim <no-reply@patapim.example>", values::sender);
    let password_file = files.noted(Kind::Password, section.text("password_file", values::any));
    let password = section.text("password", values::secret);
    if let Some(Found { place: place @ Place::File(..), .. }) = &password {
        let mend =
            "put it into a file and name that in mail.password_file, or set PATAPIM_EDGE__MAIL__PASSWORD";
        section.fault("password", place, complaint("a secret never stands in this file", mend));
    }
    let ca = files.noted(Kind::MailCa, section.text("ca", values::any));
    if let Some(Found { value: server, place }) = &smtp {
        let has_password = password_file.is_some() || password.is_some();
        if server.user.is_some() != has_password {
            let (wrong, mend) = if has_password {
                ("there is a password, and nobody to sign in as", "write \"smtps://user@mail.example\"")
            } else {
                (
                    "there is somebody to sign in as, and no password",
                    "name the password's file in mail.password_file",
                )
            };
            section.fault("smtp", place, complaint(wrong, mend));
        }
    }
    let password = password.map(|found| found.value);
    Some(MailSettings { server: smtp?.value, from: from?.value, password_file, password, ca })
}

fn upstreams(sections: &[Section<'_>]) -> Vec<FixedUpstream> {
    let mut all: Vec<FixedUpstream> = Vec::new();
    for section in sections {
        let tunnel = section.required_text("tunnel", "ada-abc234", values::tunnel);
        let user = section.required_text("user", "ada", values::user);
        let to = section.required_text("to", "http://127.0.0.1:3000", values::upstream);
        let (Some(tunnel), Some(user), Some(to)) = (tunnel, user, to) else { continue };
        if all.iter().any(|other| other.tunnel == tunnel.value) {
            let wrong = format!("the tunnel {} has an upstream already", tunnel.value);
            section.fault(
                "tunnel",
                &tunnel.place,
                complaint(wrong, "give each upstream a tunnel of its own"),
            );
        }
        let (host, port) = to.value;
        all.push(FixedUpstream { tunnel: tunnel.value, user: user.value, host, port });
    }
    all
}
