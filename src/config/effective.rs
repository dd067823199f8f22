//! The configuration that is in effect, as the file that would say all of it.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::{Config, duration};

impl Config {
    /// Every key with its value, as TOML; secrets are redacted.
    pub fn effective(&self) -> String {
        let mut out = String::new();
        // Writing into a string cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "base_domain = {}", quoted(&self.base_domain))?;
        writeln!(out, "deployer = {}", quoted(&self.deployer))?;
        writeln!(out, "public_port = {}", self.public_port)?;
        writeln!(out, "data_dir = {}", quoted(self.data_dir.display()))?;
        writeln!(out, "\n[listen]\nhttps = {}", addresses(&self.listen.https))?;
        writeln!(out, "http = {}", addresses(&self.listen.http))?;
        writeln!(out, "admin = {}", quoted(self.listen.admin))?;
        writeln!(out, "\n[tls]\ncert = {}", quoted(self.tls.cert.display()))?;
        writeln!(out, "key = {}", quoted(self.tls.key.display()))?;
        writeln!(out, "\n[webauthn]\nrp_id = {}", quoted(&self.rp_id))?;
        writeln!(out, "\n[session]\ntoken_ttl = {}", quoted(duration::print(self.session.token_ttl)))?;
        writeln!(out, "redeem_within = {}", quoted(duration::print(self.session.redeem_within)))?;
        let idle = self.session.idle_timeout.unwrap_or_default();
        writeln!(out, "idle_timeout = {}", quoted(duration::print(idle)))?;
        writeln!(out, "\n[shutdown]\ngrace = {}", quoted(duration::print(self.grace)))?;
        writeln!(out, "\n[store]\nengine = \"sqlite\"")?;
        if let Some(mail) = &self.mail {
            writeln!(out, "\n[mail]\nsmtp = {}\nfrom = {}", quoted(&mail.smtp), quoted(&mail.from))?;
            if let Some(file) = &mail.password_file {
                writeln!(out, "password_file = {}", quoted(file.display()))?;
            }
            if let Some(password) = &mail.password {
                writeln!(out, "password = {}", quoted(format!("{password:?}")))?;
            }
        }
        for upstream in &self.upstreams {
            writeln!(out, "\n[[upstream]]\ntunnel = {}", quoted(&upstream.tunnel))?;
            writeln!(out, "user = {}\nto = {}", quoted(&upstream.user), quoted(upstream.url()))?;
        }
        Ok(())
    }
}

impl super::Upstream {
    /// The app's address as the configuration spells it.
    pub fn url(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("http://[{host}]:{port}") } else { format!("http://{host}:{port}") }
    }
}

fn quoted(value: impl ToString) -> toml::Value {
    toml::Value::String(value.to_string())
}

fn addresses(all: &[SocketAddr]) -> toml::Value {
    toml::Value::Array(all.iter().map(quoted).collect())
}
