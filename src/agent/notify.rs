//! A notification on this desktop, if it has a way to show one.
//!
//! The system's own program shows it, started with the words as arguments or in its environment and never through a
//! shell: what a device calls itself is a stranger's word. Where there is no such program, or no screen, nothing happens.

use std::process::{Command, Stdio};

use super::approvals::Shown;

/// What a notification says.
struct Words {
    title: String,
    body: String,
}

impl Words {
    fn about(waiting: &Shown) -> Self {
        Self {
            title: format!("A new device asks to be let in: number {}", waiting.number),
            body: format!(
                "“{}” from {}. Approve it only if it is yours and shows {}.",
                waiting.name, waiting.address, waiting.number
            ),
        }
    }
}

/// Shows that a device waits.
pub(super) fn show(waiting: &Shown) {
    for mut command in commands(&Words::about(waiting)) {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.spawn() {
            Ok(mut child) => {
                // It is waited for, so that nothing is left of it; how it ends is of no consequence.
                tokio::task::spawn_blocking(move || child.wait());
                return;
            }
            // The next one may be there.
            Err(error) => tracing::debug!(%error, "no notification could be shown"),
        }
    }
}

/// The programs of this system, the best first.
#[cfg(all(unix, not(target_os = "macos")))]
fn commands(words: &Words) -> Vec<Command> {
    let screen = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if !screen {
        return Vec::new();
    }
    let mut command = Command::new("notify-send");
    // Notification services read the body as markup.
    let body = words.body.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    command.args(["--app-name=patapim", "--urgency=critical", "--"]).arg(&words.title).arg(body);
    vec![command]
}

#[cfg(target_os = "macos")]
fn commands(words: &Words) -> Vec<Command> {
    const SCRIPT: [&str; 3] =
        ["on run argv", "display notification (item 2 of argv) with title (item 1 of argv)", "end run"];
    let mut command = Command::new("osascript");
    for line in SCRIPT {
        command.args(["-e", line]);
    }
    // A word that begins with a hyphen is no option after the script.
    command.arg("--").arg(&words.title).arg(&words.body);
    vec![command]
}

#[cfg(windows)]
fn commands(words: &Words) -> Vec<Command> {
    // The words are read from the environment, so that nothing of them is code.
    const SCRIPT: &str = "Add-Type -AssemblyName System.Windows.Forms, System.Drawing; \
         $n = New-Object System.Windows.Forms.NotifyIcon; $n.Icon = [System.Drawing.SystemIcons]::Information; \
         $n.Visible = $true; $n.ShowBalloonTip(15000, $env:PATAPIM_TITLE, $env:PATAPIM_BODY, 'Info'); \
         Start-Sleep -Seconds 16; $n.Dispose()";
    let mut command = Command::new("powershell.exe");
    command.args(["-NoProfile", "-NonInteractive", "-WindowStyle", "Hidden", "-Command", SCRIPT]);
    command.env("PATAPIM_TITLE", &words.title).env("PATAPIM_BODY", &words.body);
    vec![command]
}

#[cfg(not(any(unix, windows)))]
fn commands(_: &Words) -> Vec<Command> {
    Vec::new()
}
