//! What people would put there instead, as far as it is installed (`make bench-peers`): HAProxy that checks a JWT and a
//! list of revoked ones, nginx that checks nothing, and a tunnel of OpenSSH's.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use super::contestant::{Contestant, Peer, combined, free_port, ourselves};
use super::progress;
use crate::rig::ca::Ca;

const KEY: &str = "a key that everybody may know: it guards a benchmark";
const REVOKED: usize = 1000;

/// A token that the peers take.
pub(crate) fn token() -> String {
    signed(KEY)
}

/// The same, signed by somebody else.
pub(crate) fn forged_token() -> String {
    signed("somebody else's key, as long as the right one and more")
}

#[expect(clippy::disallowed_methods, reason = "peers read the machine's own clock")]
fn signed(key: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let claims = serde_json::json!({
        "sub": "ada", "aud": "ada-abc234", "jti": "token-none-of-the-revoked", "iat": now, "exp": now + 86400,
    });
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let text = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// Whether `program` is there; Debian keeps servers where not every PATH leads.
fn installed(program: &str) -> bool {
    std::env::var("PATH")
        .is_ok_and(|path| path.split(':').chain(["/usr/sbin"]).any(|at| Path::new(at).join(program).exists()))
}

/// Those that do what the edge alone does, in front of the origin at `origin`; the first is what all are compared with.
pub(crate) fn edges(ca: &Ca, folder: &Path, origin: u16) -> io::Result<Vec<Contestant>> {
    let mut all = Vec::new();
    if installed("haproxy") {
        all.extend(started(haproxy("HAProxy", ca, folder, origin, Vec::new())));
    }
    if installed("nginx") {
        all.extend(started(nginx(ca, folder, origin)));
    }
    all.push(bare(ca, origin)?);
    Ok(all)
}

/// One that does not start is left out, and said to be.
fn started(peer: io::Result<Contestant>) -> Option<Contestant> {
    peer.inspect_err(|error| progress(&format!("a peer is left out: {error}"))).ok()
}

/// HAProxy in front of OpenSSH's tunnel: of what can be put together the one that costs least.
pub(crate) fn tunnel(ca: &Ca, folder: &Path, origin: u16) -> Option<Contestant> {
    let all_there = ["haproxy", "sshd", "ssh"].iter().all(|program| installed(program));
    all_there.then(|| started(haproxy_and_ssh(ca, folder, origin))).flatten()
}

fn haproxy_and_ssh(ca: &Ca, folder: &Path, origin: u16) -> io::Result<Contestant> {
    let (server, entry) = (free_port()?, free_port()?);
    for key in ["host-key", "user-key"] {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(folder.join(key))
            .status()?;
        if !made.success() {
            return Err(io::Error::other("ssh-keygen made no key"));
        }
    }
    let at = |name: &str| folder.join(name).display().to_string();
    let config = format!(
        "ListenAddress 127.0.0.1:{server}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
         UsePAM no\nPasswordAuthentication no\n",
        at("host-key"),
        at("user-key.pub"),
    );
    fs::write(folder.join("sshd_config"), config)?;
    // sshd wants this folder, wherever it runs.
    fs::create_dir_all("/run/sshd")?;
    let sshd = Peer::start(
        Command::new("/usr/sbin/sshd").args(["-D", "-e", "-f", &at("sshd_config")]).stderr(quiet(folder)?),
        server,
    )?;
    let mut dial = Command::new("ssh");
    dial.args(["-N", "-F", "none", "-c", "aes128-gcm@openssh.com", "-o", "StrictHostKeyChecking=no"]);
    dial.args([
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "ExitOnForwardFailure=yes",
        "-o",
        "LogLevel=ERROR",
    ]);
    dial.args(["-i", &at("user-key"), "-p", &server.to_string()]);
    dial.args(["-R", &format!("127.0.0.1:{entry}:127.0.0.1:{origin}"), "127.0.0.1"]);
    let ssh = Peer::start(dial.stderr(quiet(folder)?), entry)?;
    haproxy("HAProxy + ssh", ca, folder, entry, vec![sshd, ssh])
}

fn quiet(folder: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().create(true).append(true).open(folder.join("peers.log"))
}

fn haproxy(
    name: &'static str,
    ca: &Ca,
    folder: &Path,
    upstream: u16,
    with: Vec<Peer>,
) -> io::Result<Contestant> {
    let port = free_port()?;
    let pem = combined(ca, folder)?;
    let revoked: String = (0..REVOKED).map(|number| format!("token-{number}\n")).collect();
    let list = folder.join("revoked");
    fs::write(&list, revoked)?;
    let config = format!(
        "global
  nbthread {threads}
  maxconn 4000
defaults
  mode http
  timeout connect 5s
  timeout client 1m
  timeout server 1m
  http-reuse always
frontend visitors
  bind 127.0.0.1:{port} ssl crt {pem} alpn h2,http/1.1
  http-request set-var(txn.jwt) req.cook(auth_token)
  http-request deny deny_status 401 unless {{ var(txn.jwt),jwt_header_query('$.alg') -m str HS256 }}
  http-request deny deny_status 401 unless {{ var(txn.jwt),jwt_verify(\"HS256\",\"{KEY}\") -m int 1 }}
  http-request set-var(txn.now) date()
  http-request deny deny_status 401 unless {{ var(txn.jwt),jwt_payload_query('$.exp','int'),sub(txn.now) -m int ge 0 }}
  http-request deny deny_status 401 if {{ var(txn.jwt),jwt_payload_query('$.jti') -m str -f {list} }}
  default_backend app
backend app
  server app 127.0.0.1:{upstream}
",
        threads = threads(),
        pem = pem.display(),
        list = list.display(),
    );
    let file = folder.join(format!("haproxy-{port}.cfg"));
    fs::write(&file, config)?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(&file).stderr(quiet(folder)?);
    Ok(Peer::start(&mut command, port)?.contestant(name, port, true, with))
}

fn nginx(ca: &Ca, folder: &Path, origin: u16) -> io::Result<Contestant> {
    let port = free_port()?;
    let at = |name: &str| folder.join(name).display().to_string();
    let config = format!(
        "daemon off; worker_processes {threads}; pid {pid};
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  keepalive_requests 1000000;
  upstream app {{ server 127.0.0.1:{origin}; keepalive 64; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
    location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}
  }}
}}
",
        threads = threads(),
        pid = at("nginx.pid"),
        folder = at("nginx"),
        cert = ca.cert_file.display(),
        key = ca.key_file.display(),
    );
    fs::write(folder.join("nginx.conf"), config)?;
    let mut command = Command::new("nginx");
    command.args(["-p", &at(""), "-e", &at("nginx.log"), "-c", &at("nginx.conf")]).stderr(quiet(folder)?);
    Ok(Peer::start(&mut command, port)?.contestant("nginx, no check", port, false, Vec::new()))
}

fn bare(ca: &Ca, origin: u16) -> io::Result<Contestant> {
    let port = free_port()?;
    let (cert, key) = (ca.cert_file.to_string_lossy(), ca.key_file.to_string_lossy());
    let mut command = ourselves(&["bare", &port.to_string(), &origin.to_string(), &cert, &key])?;
    Ok(Peer::start(command.stderr(std::process::Stdio::null()), port)?.contestant(
        "bare Pingora",
        port,
        false,
        Vec::new(),
    ))
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}
