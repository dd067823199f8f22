//! A program under test: what it prints, how it ends. It dies with the test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

/// Nothing here takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for `future`, and says what was awaited when it does not come.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("waited {PATIENCE:?} for {what}");
    };
    value
}

/// Lines on standard output and on standard error, in the order of each.
#[derive(Default)]
struct Printed {
    out: Vec<String>,
    err: Vec<String>,
}

/// A running program.
pub(crate) struct Process {
    pub(crate) pid: u32,
    printed: watch::Receiver<Printed>,
    ended: watch::Receiver<Option<ExitStatus>>,
    watcher: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts `command` with nothing on its standard input.
    pub(crate) fn start(command: &mut Command) -> Self {
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = started.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (printing, printed) = watch::channel(Printed::default());
        let (ending, ended) = watch::channel(None);
        let out = child.stdout.take().expect("piped");
        let err = child.stderr.take().expect("piped");
        let also = printing.clone();
        let readers = [
            std::thread::spawn(move || {
                each_line(out, |line| printing.send_modify(|seen| seen.out.push(line)))
            }),
            std::thread::spawn(move || each_line(err, |line| also.send_modify(|seen| seen.err.push(line)))),
        ];
        let pid = child.id();
        let watcher = std::thread::spawn(move || {
            let status = child.wait().expect("our own child");
            for reader in readers {
                let _ = reader.join();
            }
            ending.send_replace(Some(status));
        });
        Self { pid, printed, ended, watcher: Some(watcher) }
    }

    /// The first line of standard output that `wanted` accepts, printed already or still to come.
    pub(crate) async fn line<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        let find = |seen: &Printed| seen.out.iter().find_map(|line| wanted(line));
        self.seen(what, find).await
    }

    /// As [`Self::line`]; none if the program ends without it.
    pub(crate) async fn line_or_end<T>(&self, wanted: impl Fn(&str) -> Option<T>) -> Option<T> {
        let mut printed = self.printed.clone();
        let find = |seen: &Printed| seen.out.iter().find_map(|line| wanted(line));
        let heard = async {
            while find(&printed.borrow_and_update()).is_none() && printed.changed().await.is_ok() {}
            find(&printed.borrow())
        };
        within("a line, or the end", heard).await
    }

    /// The one JSON document on standard output, however many lines it takes.
    pub(crate) async fn document(&self) -> serde_json::Value {
        self.seen("a JSON document", |seen| serde_json::from_str(&seen.out.join("\n")).ok()).await
    }

    /// As [`Self::line`], on whichever output.
    pub(crate) async fn says<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        let find = |seen: &Printed| seen.err.iter().chain(&seen.out).find_map(|line| wanted(line));
        self.seen(what, find).await
    }

    async fn seen<T>(&self, what: &str, find: impl Fn(&Printed) -> Option<T>) -> T {
        let mut printed = self.printed.clone();
        let found = async {
            loop {
                if let Some(found) = find(&printed.borrow_and_update()) {
                    return Some(found);
                }
                if printed.changed().await.is_err() {
                    return find(&printed.borrow());
                }
            }
        };
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(Some(found)) => found,
            Ok(None) => panic!("ended without {what}:\n{}", self.all_printed()),
            Err(_) => panic!("{PATIENCE:?} without {what}:\n{}", self.all_printed()),
        }
    }

    /// Everything it printed so far, on both outputs.
    pub(crate) fn all_printed(&self) -> String {
        let printed = self.printed.borrow();
        [printed.out.join("\n"), printed.err.join("\n")].join("\n")
    }

    /// `kill -9`: no chance to tidy up.
    pub(crate) async fn kill(&self) {
        self.signal("KILL");
        self.end().await;
    }

    /// Sends a signal by its name, as `kill` spells it.
    pub(crate) fn signal(&self, name: &str) {
        if self.ended.borrow().is_none() {
            let _ = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.pid)).status();
        }
    }

    /// Waits until it has ended and everything it printed was read.
    pub(crate) async fn end(&self) -> ExitStatus {
        let mut ended = self.ended.clone();
        let status = within("the program's end", ended.wait_for(Option::is_some)).await;
        status.expect("told before the sender goes").expect("awaited")
    }

    /// Resident memory now, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// The most resident memory it ever had, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    /// The processor time it has had, in the system's ticks: mostly a hundred a second.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).expect("a live process");
        let (_, after_name) = stat.rsplit_once(')').expect("a name in brackets");
        let times = after_name.split_whitespace().skip(11).take(2);
        times.map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
    }

    fn status_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("a live process");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a known field");
        line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
    }
}

impl Drop for Process {
    /// Waits for the end, its children's too: what they write to can be removed only then.
    fn drop(&mut self) {
        self.signal("KILL");
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

fn each_line(from: impl Read, mut take: impl FnMut(String)) {
    for line in BufReader::new(from).lines() {
        match line {
            Ok(line) => take(line),
            Err(_) => return,
        }
    }
}

/// What a finished command left behind.
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Finished {
    /// Standard output as the one JSON document it has to be.
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// Runs `command` to its end.
pub(crate) async fn finish(command: &mut Command) -> Finished {
    let process = Process::start(command);
    let code = process.end().await.code().unwrap_or(-1);
    let printed = process.printed.borrow();
    Finished { code, out: printed.out.join("\n"), err: printed.err.join("\n") }
}

/// Lets time itself pass: only for what ends by the clock.
pub(crate) async fn let_pass(time: Duration) {
    tokio::time::sleep(time).await;
}
