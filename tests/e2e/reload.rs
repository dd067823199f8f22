//! A certificate renewed, a configuration changed, and nobody who is connected notices (contract, section 3).

use http::Method;

use crate::rig::ca::replace;
use crate::rig::journey::{jwt_parts, query};
use crate::rig::scene::Scene;

/// The log's word that all is read again.
fn read_again(line: &str) -> Option<()> {
    line.contains("read again").then_some(())
}

#[tokio::test]
async fn a_renewed_certificate_meets_new_connections_and_those_that_are_open_live_on() {
    for told in [Told::BySignal, Told::ByItself] {
        let scene = Scene::signed_in().await;
        let browser = &scene.ada.browser;
        let mut socket = browser.websocket(&scene.page("/ws")).await.expect("a socket");
        let mut events =
            browser.h2().fetch(Method::GET, &scene.page("/events/held")).open().await.expect("a stream");
        scene.app.streaming("held").await;
        let mut kept = browser.connect(&scene.page("/"), None).await.expect("a connection");
        let before = browser.certificate(&scene.page("/")).await;

        let renewed = scene.edge.ca.renewed();
        replace(&scene.edge.ca.cert_file, &renewed.chain);
        replace(&scene.edge.ca.key_file, &renewed.key);
        if told == Told::BySignal {
            scene.edge.process.signal("HUP");
        }
        scene.edge.process.says("that it has read the certificate again", read_again).await;

        for host in [scene.page("/"), scene.edge.deployer("/")] {
            let shown = browser.certificate(&host).await;
            assert_ne!(shown, before);
            assert_eq!(shown, renewed.der, "{told:?}");
        }
        assert_eq!(socket.ask("still here").await, "still here", "{told:?}");
        scene.app.tick("held", "still here");
        assert_eq!(events.text().await, "data: still here\n\n", "{told:?}");
        let answer = kept.send(browser.fetch(Method::GET, &scene.page("/echo"))).await.expect("kept alive");
        assert_eq!(answer.status(), 200, "{told:?}");
        scene.echo().await;
    }
}

/// How the edge hears of the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    BySignal,
    ByItself,
}

#[tokio::test]
async fn a_certificate_without_its_key_is_reported_and_taken_once_the_key_is_there() {
    let scene = Scene::signed_in().await;
    let browser = &scene.ada.browser;
    let before = browser.certificate(&scene.page("/")).await;
    let renewed = scene.edge.ca.renewed();
    replace(&scene.edge.ca.cert_file, &renewed.chain);
    let name = scene.edge.ca.cert_file.display().to_string();
    let reported = |line: &str| {
        (line.contains("the old one stays") && line.contains("not the key") && line.contains(&name))
            .then_some(())
    };
    scene.edge.process.says("that the key does not fit the certificate", reported).await;
    assert_eq!(browser.certificate(&scene.page("/")).await, before);
    scene.echo().await;

    replace(&scene.edge.ca.key_file, &renewed.key);
    scene.edge.process.says("that it has read the certificate again", read_again).await;
    assert_eq!(browser.certificate(&scene.page("/")).await, renewed.der);
}

#[tokio::test]
async fn what_can_change_while_it_runs_changes_and_what_cannot_is_named() {
    let mut scene = Scene::signed_in().await;
    let mut socket = scene.ada.browser.websocket(&scene.page("/ws")).await.expect("a socket");
    scene.edge.edit(|text| {
        assert!(text.contains("\nhttp = ["), "{text}");
        text.replace("\nhttp = [", "\nhttp = [\"127.0.0.1:0\", ") + "[session]\ntoken_ttl = \"3h\"\n"
    });
    scene.edge.process.says("that it has read the configuration again", read_again).await;
    let named =
        |line: &str| (line.contains("listen") && line.contains("next start")).then_some(line.to_owned());
    let line = scene.edge.process.says("what it cannot change", named).await;
    assert!(!line.contains("session") && !line.contains("base_domain"), "only what changed: {line}");

    let browser = scene.ada.browser.stranger();
    scene.ada.browser = browser;
    let link = scene.ada.token_for(&scene.page("/")).await;
    let (_, claims, _) = jwt_parts(&query(&link, "token").expect("a token"));
    let [iat, exp] = ["iat", "exp"].map(|name| claims[name].as_u64().expect("a number"));
    assert_eq!(exp - iat, 3 * 3600);
    assert_eq!(socket.ask("as before").await, "as before");
}

#[tokio::test]
async fn a_bad_new_configuration_is_reported_with_every_fault_and_changes_nothing() {
    let mut scene = Scene::signed_in().await;
    let good = std::fs::read_to_string(scene.edge.config()).expect("our own file");
    scene.edge.edit(|text| {
        text + "[session]\ntoken_ttl = \"soon\"\ncolour = \"red\"\n[shutdown]\ngrace = \"0s\"\n"
    });
    let faults = |line: &str| {
        let names_all = ["token_ttl", "soon", "colour", "the old one stays"];
        names_all.iter().all(|name| line.contains(name)).then_some(())
    };
    scene.edge.process.says("what is wrong with it", faults).await;
    let browser = scene.ada.browser.stranger();
    scene.ada.browser = browser;
    let page = scene.page("/");
    scene.ada.open(&page).await.must_be(200);

    scene.edge.edit(|_| good);
    scene.edge.process.says("that it has read the mended one", read_again).await;
    scene.echo().await;
}
