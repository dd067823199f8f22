//! A desktop behind a slow line: a network namespace of its own, behind a router with a token bucket towards the edge.
//!
//! A namespace is next door, and three times the time of a request next door is less than one full frame takes on such a
//! line. So what leaves the router is held for a while, as a way to somewhere holds it: the desktop's packets travel in
//! datagrams (VXLAN), and those are ours to hold. The way back is short. TCP at both ends is the system's own, and all of it
//! is gone with the last use.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

/// What the line carries upwards.
pub(crate) const RATE: &str = "10mbit";
/// What the router holds of it at most, as time.
pub(crate) const QUEUE: &str = "50ms";
/// From the desktop to the edge, and back.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(30);

/// The edge, as the desktop knows it.
pub(crate) const EDGE: Ipv4Addr = Ipv4Addr::new(10, 80, 7, 1);
const DESKTOP: &str = "10.80.7.2";
/// Where datagrams are held, and where they go then.
const HELD_AT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 79, 7, 1)), 4789);
const GO_TO: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4790);

/// Such a line.
pub(crate) struct Uplink {
    desk: String,
    router: String,
    /// What the desktop's programs see as `/etc/hosts`, in a folder of its own.
    folder: PathBuf,
    _held: AbortOnDropHandle<()>,
}

impl Uplink {
    /// Lays it; the desktop knows the edge by `host`. Takes root, iproute2, and a system that has all of it.
    pub(crate) async fn laid(host: &str) -> io::Result<Self> {
        let number = std::process::id();
        let (desk, router) = (format!("patapim-desk-{number}"), format!("patapim-way-{number}"));
        let folder = PathBuf::from("/etc/netns").join(&desk);
        let idle = tokio::spawn(std::future::ready(()));
        // From here on whatever was laid is taken away again, also when the rest cannot be.
        let mut this = Self { desk, router, folder, _held: AbortOnDropHandle::new(idle) };
        for line in this.plan() {
            run(&line)?;
        }
        std::fs::create_dir_all(&this.folder)?;
        std::fs::write(this.folder.join("hosts"), format!("{EDGE} {host}\n"))?;
        let socket = UdpSocket::bind(HELD_AT).await?;
        this._held = AbortOnDropHandle::new(tokio::spawn(async move { drop(hold(socket).await) }));
        Ok(this)
    }

    fn plan(&self) -> Vec<String> {
        let Self { desk, router, .. } = self;
        let mut lines = vec![format!("ip netns add {desk}"), format!("ip netns add {router}")];
        // From the edge's machine to the router, and from there to the desktop.
        lines.extend(
            [
                format!("ip link add patapim-up type veth peer name wan netns {router}"),
                "ip addr add 10.79.7.1/30 dev patapim-up".to_owned(),
                "ip link set patapim-up up".to_owned(),
                "ip route add 10.79.7.4/30 via 10.79.7.2".to_owned(),
                format!("ip -n {router} link add lan type veth peer name line netns {desk}"),
                format!("ip -n {router} addr add 10.79.7.2/30 dev wan"),
                format!("ip -n {router} link set wan up"),
                format!("ip -n {router} addr add 10.79.7.5/30 dev lan"),
                format!("ip -n {router} link set lan up"),
                format!("ip netns exec {router} sh -c \"echo 1 >/proc/sys/net/ipv4/ip_forward\""),
                format!("tc -n {router} qdisc add dev wan root tbf rate {RATE} burst 16kb latency {QUEUE}"),
                format!("ip -n {desk} addr add 10.79.7.6/30 dev line"),
                format!("ip -n {desk} link set line up"),
                format!("ip -n {desk} link set lo up"),
                format!("ip -n {desk} route add default via 10.79.7.5"),
            ]
            .map(|line| line.replace("ip route add", "ip route replace")),
        );
        // What lies over it: each packet one datagram, upwards by way of whoever holds it.
        lines.extend([
            format!("ip link add patapim-far type vxlan id 77 local 10.79.7.1 remote 10.79.7.6 dstport {} nolearning", GO_TO.port()),
            format!("ip addr add {EDGE}/24 dev patapim-far"),
            "ip link set patapim-far gso_max_segs 1 up".to_owned(),
            format!("ip -n {desk} link add far type vxlan id 77 local 10.79.7.6 dstport {} nolearning", GO_TO.port()),
            format!("ip -n {desk} addr add {DESKTOP}/24 dev far"),
            format!("ip -n {desk} link set far gso_max_segs 1 up"),
            format!("bridge -n {desk} fdb append 00:00:00:00:00:00 dev far dst {} port {}", HELD_AT.ip(), HELD_AT.port()),
        ]);
        lines
    }

    /// Puts `command` on the desktop.
    pub(crate) fn at_the_desk(&self, command: &mut Command) {
        let mut there = Command::new("ip");
        there.args(["netns", "exec", &self.desk]).arg(command.get_program()).args(command.get_args());
        there.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        *command = there;
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        // Whatever of it there is.
        for line in [
            format!("ip netns del {}", self.desk),
            format!("ip netns del {}", self.router),
            "ip link del patapim-far".to_owned(),
            "ip link del patapim-up".to_owned(),
        ] {
            let _ = run(&line);
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn run(line: &str) -> io::Result<()> {
    let done = Command::new("sh").args(["-c", line]).output()?;
    match done.status.success() {
        true => Ok(()),
        false => {
            let why = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            Err(io::Error::other(format!("{line}: {why}")))
        }
    }
}

/// Holds each datagram for a round trip, and sends it on, in their order.
async fn hold(socket: UdpSocket) -> io::Result<()> {
    let onwards = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let (mut held, mut room) = (VecDeque::<(Instant, Vec<u8>)>::new(), vec![0; 1 << 16]);
    loop {
        let next = held.front().map(|(at, _)| *at);
        tokio::select! {
            came = socket.recv(&mut room) => {
                held.push_back((Instant::now() + ROUND_TRIP, room[..came?].to_vec()));
            }
            () = async { sleep_until(next.unwrap_or_else(Instant::now)).await }, if next.is_some() => {
                if let Some((_, mut datagram)) = held.pop_front() {
                    let _ = sum_up(&mut datagram);
                    onwards.send_to(&datagram, GO_TO).await?;
                }
            }
        }
    }
}

/// Writes the checksum of the TCP segment in a datagram, which the system left to a network card that there is not.
fn sum_up(datagram: &mut [u8]) -> Option<()> {
    // VXLAN's head, and Ethernet's.
    let (heads, packet) = datagram.split_at_mut_checked(8 + 14)?;
    if heads[20..] != [8, 0] || *packet.get(9)? != 6 {
        return None;
    }
    let head = usize::from(packet[0] & 15) * 4;
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let segment = u16::try_from(length.checked_sub(head)?).ok()?;
    packet.get_mut(head + 16..head + 18)?.fill(0);
    let words = packet.get(12..20)?.chunks(2).chain(packet.get(head..length)?.chunks(2));
    let word = |word: &[u8]| u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0));
    let mut sum = 6 + u64::from(segment) + words.map(word).sum::<u64>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = u16::try_from(sum).ok()?;
    packet.get_mut(head + 16..head + 18)?.copy_from_slice(&(!sum).to_be_bytes());
    Some(())
}
