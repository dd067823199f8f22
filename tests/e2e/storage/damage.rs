//! Files of the server's that are not what it wrote: it says which, why, and what to do, and serves nothing; or it is not
//! harmed.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use http::Method;
use serde_json::json;

use crate::rig::edge::Edge;
use crate::rig::journey::Person;
use crate::rig::power::Dice;
use crate::rig::scene::Scene;

const DATABASE: &str = "edge.db";
const TRAIL: &str = "audit.jsonl";
const KEYS: &str = "keys/token-keys.json";

/// A data folder whose server was killed.
struct Left {
    scene: Scene,
    whole: PathBuf,
}

impl Left {
    async fn behind() -> Self {
        let scene = Scene::signed_in().await;
        scene.ada.api_post("/fallbacks/backup-codes", &json!({})).await.must_be(201);
        scene.edge.kill().await;
        let whole = scene.edge.home().join("whole");
        copy(&scene.edge.data(), &whole);
        Self { scene, whole }
    }

    /// As it was left.
    fn again(&self) -> &Path {
        let data = self.scene.edge.data();
        std::fs::remove_dir_all(&data).expect("our own folder");
        copy(&self.whole, &data);
        self.scene.edge.home()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.scene.edge.data().join(name)
    }
}

/// Copies a folder's ordinary files, with their modes.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("our own folder");
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700)).expect("our own folder");
    for entry in std::fs::read_dir(from).expect("our own folder") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else if path.is_file() {
            std::fs::copy(&path, &to).expect("a copy");
        }
    }
}

fn cut(file: &Path, by: usize) {
    let bytes = std::fs::read(file).expect("ours");
    std::fs::write(file, &bytes[..bytes.len() - by]).expect("ours");
}

fn folder_in_place_of(file: &Path) {
    std::fs::remove_file(file).expect("ours");
    std::fs::create_dir(file).expect("ours");
}

fn link_in_place_of(file: &Path) {
    let elsewhere = file.with_extension("elsewhere");
    std::fs::rename(file, &elsewhere).expect("ours");
    symlink(elsewhere, file).expect("ours");
}

#[tokio::test]
async fn what_is_not_what_was_written_is_refused_by_name_with_what_to_do() {
    type Spoil = fn(&Path);
    let cases: [(&str, &str, Spoil, &[&str]); 13] = [
        (
            "of another program",
            DATABASE,
            |file| std::fs::write(file, "a letter ".repeat(99)).expect("ours"),
            &["is not a store", "set data_dir"],
        ),
        (
            "empty",
            DATABASE,
            |file| std::fs::write(file, "").expect("ours"),
            &["is damaged", "its log is not", "restore"],
        ),
        (
            "gone",
            DATABASE,
            |file| std::fs::remove_file(file).expect("ours"),
            &["is damaged", "its log is not", "restore"],
        ),
        (
            "cut off",
            DATABASE,
            |file| {
                without_its_log(file);
                cut(file, 5000)
            },
            &["is damaged", "patapim-edge restore FROM"],
        ),
        ("a folder", DATABASE, folder_in_place_of, &["is not a store", "it is a folder"]),
        ("a link", DATABASE, link_in_place_of, &["is not a store", "it is a link", "data_dir itself"]),
        ("newer", DATABASE, |file| newer(file), &["newer patapim-edge", "run the newer program"]),
        ("a folder", TRAIL, folder_in_place_of, &["a link, a folder or no ordinary file"]),
        ("a link", TRAIL, link_in_place_of, &["a link, a folder or no ordinary file"]),
        (
            "empty",
            KEYS,
            |file| std::fs::write(file, "").expect("ours"),
            &["is damaged", "remove it to end every session"],
        ),
        ("cut off", KEYS, |file| cut(file, 9), &["is damaged", "remove it to end every session"]),
        ("a folder", KEYS, folder_in_place_of, &["token-keys.json"]),
        (
            "read by others",
            KEYS,
            |file| std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o640)).expect("ours"),
            &["may be read by others", "chmod 600"],
        ),
    ];
    let mut left = Left::behind().await;
    for (how, name, spoil, words) in cases {
        left.again();
        spoil(&left.file(name));
        assert!(!left.scene.edge.try_to_start_again_on(|_| ()).await, "{name} {how}: it started");
        left.scene.edge.process.end().await;
        let told = left.scene.edge.process.all_printed();
        let file = name.rsplit('/').next().expect("a name");
        for word in [&[file], words].concat() {
            assert!(told.contains(word), "{name} {how}: {word:?} is not in {told}");
        }
    }
}

/// In the log may be all that the file lacks.
fn without_its_log(file: &Path) {
    let mut wal = file.as_os_str().to_owned();
    wal.push("-wal");
    std::fs::remove_file(&wal).expect("ours");
}

/// The number of the layout stands in the header of the file, or of the page in the log that takes its place.
fn newer(file: &Path) {
    without_its_log(file);
    let mut bytes = std::fs::read(file).expect("ours");
    bytes[60..64].copy_from_slice(&99u32.to_be_bytes());
    std::fs::write(file, bytes).expect("ours");
}

#[tokio::test]
async fn modes_that_others_could_read_by_are_mended() {
    let mut left = Left::behind().await;
    for name in [DATABASE, TRAIL] {
        std::fs::set_permissions(left.file(name), std::fs::Permissions::from_mode(0o664)).expect("ours");
    }
    left.scene.edge.start_again().await;
    for name in [DATABASE, "edge.db-wal", TRAIL] {
        let mode = std::fs::metadata(left.file(name)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn bits_that_fall_over_let_nobody_in() {
    let mut left = Left::behind().await;
    let page = left.scene.page("/.patapim/session");
    let stranger = left.scene.edge.visitor();
    let mut dice = Dice::new(u64::from(std::process::id()));
    let mut refused = 0;
    for round in 0..12 {
        left.again();
        let file = left.file([DATABASE, "edge.db-wal", TRAIL, KEYS][round % 4]);
        let mut bytes = std::fs::read(&file).expect("ours");
        let bit = dice.roll(bytes.len() as u64 * 8);
        bytes[usize::try_from(bit / 8).expect("a place")] ^= 1 << (bit % 8);
        std::fs::write(&file, bytes).expect("ours");
        if !left.scene.edge.try_to_start_again_on(|_| ()).await {
            assert!(
                left.scene
                    .edge
                    .process
                    .all_printed()
                    .contains(left.scene.edge.data().to_str().expect("text"))
            );
            refused += 1;
            continue;
        }
        // Ada is in, or nobody is.
        let ada = left.scene.ada.browser.fetch(Method::GET, &page).await.status.as_u16();
        assert!(matches!(ada, 200 | 401 | 503), "bit {bit} of {}: {ada}", file.display());
        stranger.fetch(Method::GET, &page).await.must_be(401);
        let people = left.scene.edge.try_admin(&["user", "list"]).await;
        assert!(people.code != 0 || people.json()[0]["user"] == "ada", "{}", people.out);
        left.scene.edge.kill().await;
    }
    println!("{refused} of 12 refused");
}

#[tokio::test]
async fn a_word_that_was_changed_where_nothing_holds_the_file_together_is_found_by_its_entrys_sum() {
    let mut scene = Scene::signed_in().await;
    scene.edge.process.signal("TERM");
    scene.edge.process.end().await;
    let file = scene.edge.data().join(DATABASE);
    let mut bytes = std::fs::read(&file).expect("ours");
    let (name, other) = (b"\"ada\"", b"\"eve\"");
    let places: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(name)).collect();
    assert!(!places.is_empty(), "the person's name is in there as it is");
    for at in places {
        bytes[at..at + other.len()].copy_from_slice(other);
    }
    std::fs::write(&file, bytes).expect("ours");
    assert!(!scene.edge.try_to_start_again_on(|_| ()).await, "it serves another's name");
    let told = scene.edge.process.all_printed();
    assert!(told.contains("is damaged") && told.contains("restore"), "{told}");
}

#[tokio::test]
async fn another_edges_database_in_the_place_of_ours_lets_its_people_in_and_no_session_of_ours() {
    let mut left = Left::behind().await;
    let other = Edge::start().await;
    Person::enrolled(&other, "eve").await;
    other.process.signal("TERM");
    other.process.end().await;
    for name in ["edge.db-wal", "edge.db-shm"] {
        std::fs::remove_file(left.file(name)).expect("ours");
    }
    std::fs::copy(other.data().join(DATABASE), left.file(DATABASE)).expect("a copy");
    left.scene.edge.start_again().await;
    let page = left.scene.page("/.patapim/session");
    left.scene.ada.browser.fetch(Method::GET, &page).await.must_be(401);
    let told = left.scene.edge.admin(&["audit"]).await;
    assert!(told.to_string().contains("trail-damaged"), "the trail tells of it: {told}");
}
