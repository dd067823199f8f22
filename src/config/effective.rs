//! The configuration that is in effect, as the file that would say all of it.

use std::fmt::{Display, Write as _};

use super::{Config, duration};
use crate::edge::FixedUpstream;

impl Config {
    /// Every key with its value, as TOML; secrets are redacted.
    pub fn effective(&self) -> String {
        let mut out = String::new();
        // Writing into a string cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let edge = &self.edge;
        writeln!(out, "base_domain = {}", quoted(&edge.base))?;
        writeln!(out, "deployer = {}", quoted(&edge.deployer_label))?;
        writeln!(out, "public_port = {}", edge.public_port)?;
        writeln!(out, "data_dir = {}", quoted(edge.data_dir.display()))?;
        writeln!(out, "\n[listen]\nhttps = {}", texts(&edge.listen.https))?;
        writeln!(out, "http = {}", texts(&edge.listen.http))?;
        writeln!(out, "admin = {}", quoted(edge.listen.admin))?;
        writeln!(out, "admin_hosts = {}", texts(&edge.listen.admin_hosts))?;
        writeln!(out, "\n[proxies]\nproxy_protocol = {}", texts(&edge.proxies.proxy_protocol))?;
        writeln!(out, "forwarded_for = {}", texts(&edge.proxies.forwarded_for))?;
        writeln!(out, "\n[tls]\ncert = {}", quoted(edge.tls.cert.display()))?;
        writeln!(out, "key = {}", quoted(edge.tls.key.display()))?;
        writeln!(out, "\n[webauthn]\nrp_id = {}", quoted(&edge.webauthn.rp_id))?;
        writeln!(out, "\n[session]\ntoken_ttl = {}", quoted(duration::print(edge.session.token_ttl)))?;
        writeln!(out, "redeem_within = {}", quoted(duration::print(edge.session.redeem_within)))?;
        let idle = edge.session.idle_timeout.unwrap_or_default();
        writeln!(out, "idle_timeout = {}", quoted(duration::print(idle)))?;
        writeln!(out, "\n[tunnel]\nstreams = {}", edge.tunnel.streams)?;
        writeln!(out, "memory_mib = {}", edge.tunnel.memory >> 20)?;
        writeln!(out, "\n[shutdown]\ngrace = {}", quoted(duration::print(edge.grace)))?;
        let limits = &edge.limits;
        writeln!(out, "\n[limits]\nhandshake = {}", quoted(duration::print(limits.handshake)))?;
        writeln!(out, "header = {}", quoted(duration::print(limits.header)))?;
        writeln!(out, "idle = {}", quoted(duration::print(limits.idle)))?;
        writeln!(out, "stall = {}", quoted(duration::print(limits.stall)))?;
        writeln!(out, "least_rate = {}", limits.least_rate)?;
        let caps = &edge.caps;
        writeln!(out, "connections = {}", caps.connections)?;
        writeln!(out, "connections_per_address = {}", caps.connections_per_address)?;
        writeln!(out, "streams_per_connection = {}", caps.streams_per_connection)?;
        writeln!(out, "requests_per_address = {}", caps.requests_per_address)?;
        writeln!(out, "requests_per_session = {}", caps.requests_per_session)?;
        writeln!(out, "\n[store]\nengine = \"sqlite\"")?;
        if let Some(mail) = &edge.mail {
            writeln!(out, "\n[mail]\nsmtp = {}\nfrom = {}", quoted(&mail.server), quoted(&mail.from))?;
            if let Some(file) = &mail.password_file {
                writeln!(out, "password_file = {}", quoted(file.display()))?;
            }
            if let Some(ca) = &mail.ca {
                writeln!(out, "ca = {}", quoted(ca.display()))?;
            }
            if let Some(password) = &mail.password {
                writeln!(out, "password = {}", quoted(format!("{password:?}")))?;
            }
        }
        for upstream in &edge.upstreams {
            writeln!(out, "\n[[upstream]]\ntunnel = {}", quoted(&upstream.tunnel))?;
            writeln!(out, "user = {}\nto = {}", quoted(&upstream.user), quoted(url(upstream)))?;
        }
        Ok(())
    }
}

fn url(FixedUpstream { host, port, .. }: &FixedUpstream) -> String {
    if host.contains(':') { format!("http://[{host}]:{port}") } else { format!("http://{host}:{port}") }
}

fn quoted(value: impl Display) -> toml::Value {
    toml::Value::String(value.to_string())
}

fn texts(all: &[impl Display]) -> toml::Value {
    toml::Value::Array(all.iter().map(quoted).collect())
}
