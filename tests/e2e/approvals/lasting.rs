//! What is kept, whatever ends the programs.

use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn sessions_outlive_both_programs() {
    let mut asking = Asking::approved().await;
    let page = asking.page("/echo");
    asking.agent.kill().await;
    asking.agent = asking.desktop.run_asking(&asking.app.url()).await;
    script(&asking.ada.browser, &page).await.must_be(200);

    asking.edge.kill().await;
    asking.edge.start_again().await;
    // The edge holds the request until the agent is back.
    script(&asking.ada.browser, &page).await.must_be(200);
    assert_eq!(asking.pending().await, [] as [Value; 0]);
}

#[tokio::test]
async fn who_waits_when_the_agent_ends_is_asked_about_by_the_next() {
    let (mut asking, _) = Asking::waiting().await;
    let mut events = asking.events().await;
    told(&mut events, "asked").await;
    asking.agent.kill().await;
    told(&mut events, "offline").await;
    asking.agent = asking.desktop.run_asking(&asking.app.url()).await;
    told(&mut events, "asked").await;
    let pending = asking.pending().await.remove(0);
    asking.decide("approve", &pending).await;
    told(&mut events, "through").await;
    script(&asking.ada.browser, &asking.page("/echo")).await.must_be(200);
}

#[tokio::test]
async fn a_kill_at_any_moment_leaves_a_whole_file_and_what_was_acknowledged() {
    let (mut asking, mut pending) = Asking::waiting().await;
    for round in 0..4 {
        let id = pending["id"].as_str().expect("an id").to_owned();
        let (mut approving, agent) = (asking.desktop.agent(), &asking.agent);
        let approving = Process::start(approving.args(["devices", "approve", &id]));
        if round % 2 == 0 {
            approving.says("a word", |_| Some(())).await;
        }
        agent.kill().await;
        let acknowledged = approving.end().await.success();
        let trusted = asking.file()["devices"].as_array().expect("a list").len();
        assert!(!acknowledged || trusted == 1, "round {round}");
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(asking.desktop.home().join("trusted-passkeys.json"))
                .expect("there")
                .permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
        asking.agent = asking.desktop.run_asking(&asking.app.url()).await;
        assert!(!asking.agent.all_printed().contains("set aside"), "{}", asking.agent.all_printed());
        if trusted == 1 {
            asking.desktop.command(&["devices", "remove", &id]).await;
        }
        pending = asking.signs_in_and_waits().await;
    }
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_told_of_and_nobody_is_trusted() {
    let mut asking = Asking::approved().await;
    asking.agent.kill().await;
    let file = asking.desktop.home().join("trusted-passkeys.json");
    let whole = std::fs::read_to_string(&file).expect("text");
    let damaged = &whole[..whole.len() / 2];
    std::fs::write(&file, damaged).expect("written");
    asking.agent = asking.desktop.run_asking(&asking.app.url()).await;
    let aside = asking.agent.says("where it is", |line| {
        line.contains("set aside")
            .then(|| line.split_whitespace().find(|word| word.contains("damaged-")))?
            .map(str::to_owned)
    });
    let aside = aside.await;
    let kept = std::fs::read_to_string(aside.trim_end_matches(',')).expect("the damaged file");
    assert_eq!(kept, damaged);
    asking.ada.browser.curl(&asking.page("/")).await.must_be(401);
    asking.signs_in_and_waits().await;
}

#[tokio::test]
async fn unlinking_forgets_whom_the_desktop_trusted() {
    let asking = Asking::approved().await;
    let unlinked = asking.desktop.command(&["unlink", "--json"]).await;
    assert_eq!(unlinked.json()["linked"], json!(false));
    asking.agent.end().await;
    for file in ["trusted-passkeys.json", "sessions.json", "link.json"] {
        assert!(!asking.desktop.home().join(file).exists(), "{file}");
    }
}
