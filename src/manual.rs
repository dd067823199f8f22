//! What a program can say of itself without being run: shell completions and manual pages, made from its command line's
//! own definition. The installed program makes them, so that they are always of its version.

use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

/// Of `completions`.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell they are for
    shell: Shell,
}

impl CompletionsArgs {
    /// The shell's script for `program`.
    pub fn script(&self, mut program: Command) -> String {
        let name = program.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, name, &mut script);
        String::from_utf8_lossy(&script).into_owned()
    }
}

/// Of `man`.
#[derive(Args, Debug)]
pub struct ManArgs {
    /// The folder, such as /usr/local/share/man/man1; made if it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Why pages were not written.
#[derive(Debug)]
pub struct ManError {
    folder: PathBuf,
    cause: io::Error,
}

impl fmt::Display for ManError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the manual pages cannot be written to {}: {}", self.folder.display(), self.cause)
    }
}

impl std::error::Error for ManError {}

impl ManArgs {
    /// Where the pages go.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the pages of `program` and all its commands, and gives how many they are.
    pub fn write(&self, program: Command) -> Result<usize, ManError> {
        let written = || {
            DirBuilder::new().recursive(true).create(&self.folder)?;
            let mut program = program.disable_help_subcommand(true);
            // Gives each command its place in the page's name: patapim-edge-user-add.1.
            program.build();
            pages(&program, &self.folder)
        };
        written().map_err(|cause| ManError { folder: self.folder.clone(), cause })
    }
}

fn pages(command: &Command, folder: &Path) -> io::Result<usize> {
    Man::new(command.clone()).generate_to(folder)?;
    command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set())
        .try_fold(1, |written, inner| Ok(written + pages(inner, folder)?))
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction};

    use super::*;

    fn program() -> Command {
        let add = Command::new("add")
            .about("Add one")
            .arg(Arg::new("json").long("json").action(ArgAction::SetTrue));
        let user = Command::new("user").about("People").subcommand(add);
        Command::new("thing")
            .about("Does things")
            .subcommand(user)
            .subcommand(Command::new("secret").hide(true))
    }

    #[test]
    fn every_command_that_is_not_hidden_has_a_page() {
        let folder = tempfile::tempdir().expect("a folder");
        let man = ManArgs { folder: folder.path().join("man/man1") };
        assert_eq!(man.write(program()).expect("written"), 3);
        let page = std::fs::read_to_string(man.folder().join("thing-user-add.1")).expect("a page");
        assert!(page.contains("Add one") && page.contains("json"), "{page}");
        assert!(man.folder().join("thing.1").is_file() && man.folder().join("thing-user.1").is_file());
        let nowhere = ManArgs { folder: man.folder().join("thing.1/below-a-file") };
        assert!(nowhere.write(program()).expect_err("a file").to_string().contains("below-a-file"));
    }

    #[test]
    fn a_script_names_the_program_and_its_commands() {
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            let script = CompletionsArgs { shell }.script(program());
            assert!(script.contains("thing") && script.contains("user"), "{shell}: {script}");
        }
    }
}
