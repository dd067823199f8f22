//! Every command, as it explains itself: by `--help`, in a manual page, and to a shell (contract, section 2).

use std::process::{Command, Stdio};

use crate::rig::edge::program;
use crate::rig::process::finish;

/// A program, to be called anew each time.
type Program = fn() -> Command;

fn agent() -> Command {
    Command::new(env!("CARGO_BIN_EXE_patapim-agent"))
}

/// The commands that `words` has below it, as its help lists them.
async fn commands_below(program: Program, words: &[String]) -> Vec<String> {
    let told = finish(program().args(words).arg("--help")).await;
    assert_eq!(told.code, 0, "{words:?}");
    assert!(told.out.contains("Usage"), "{words:?}: {}", told.out);
    let listed = told.out.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let named = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    named
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// The words of every command, the program's own none first.
async fn all_commands(program: Program) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let mut next = 0;
    while next < found.len() {
        let words = found[next].clone();
        for below in commands_below(program, &words).await {
            found.push([words.clone(), vec![below]].concat());
        }
        next += 1;
    }
    found
}

#[tokio::test]
async fn every_command_has_its_help_and_its_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let programs: [(&str, Program, &[&str]); 2] = [
        (
            "patapim-edge",
            program,
            &["serve", "doctor", "restore", "user add", "session revoke", "key rotate"],
        ),
        ("patapim-agent", agent, &["link", "run", "unlink"]),
    ];
    for (name, program, some) in programs {
        let commands = all_commands(program).await;
        for wanted in some {
            assert!(commands.iter().any(|words| words.join(" ") == *wanted), "{wanted} in {commands:?}");
        }
        let written = finish(program().arg("man").arg(folder.path())).await;
        assert_eq!(written.code, 0, "{}", written.err);
        for words in &commands {
            let page = [vec![name.to_owned()], words.clone()].concat().join("-");
            let path = folder.path().join(format!("{page}.1"));
            let text =
                std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("no page {}", path.display()));
            for section in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
                assert!(text.contains(section), "{section} in {page}: {text}");
            }
        }
        assert!(written.out.starts_with(&format!("{} manual pages", commands.len())), "{}", written.out);
    }
}

#[tokio::test]
async fn a_shell_takes_the_completions_and_offers_the_commands() {
    for (program, wanted) in [(program as Program, "restore"), (agent, "unlink")] {
        let script = finish(program().args(["completions", "bash"])).await;
        assert_eq!(script.code, 0, "{}", script.err);
        assert!(script.out.contains(wanted));
        let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().expect("bash");
        let mut to_bash = bash.stdin.take().expect("piped");
        std::io::Write::write_all(&mut to_bash, script.out.as_bytes()).expect("written");
        drop(to_bash);
        assert!(bash.wait().expect("our own child").success());
        assert_eq!(finish(program().args(["completions", "teapot"])).await.code, 2);
    }
}
