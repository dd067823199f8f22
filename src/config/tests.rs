use std::time::Duration;

use super::*;

const LEAST: &str = "base_domain = 'patapim.test'\n[tls]\ncert = 'cert.pem'\nkey = 'key.pem'\n";

fn parse_with(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let path = Path::new("/etc/edge.toml");
    let judged = parse(path, text, variables).judged(path);
    judged.map_err(|bad| bad.faults.iter().map(Fault::to_string).collect())
}

fn good(text: &str) -> Config {
    parse_with(text, &[]).expect("a good configuration").config
}

fn faults(text: &str) -> Vec<String> {
    parse_with(text, &[]).expect_err("a bad configuration")
}

fn only_fault(text: &str) -> String {
    let all = faults(text);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.into_iter().next().unwrap_or_default()
}

#[test]
fn three_keys_are_enough_and_the_rest_has_the_defaults_of_the_contract() {
    let config = good(LEAST);
    assert_eq!(config.edge.public_port, 443);
    assert_eq!(config.edge.webauthn.rp_id, "deployer.patapim.test");
    assert_eq!(config.edge.listen.https, ["0.0.0.0:443".parse().expect("an address")]);
    assert_eq!(config.edge.listen.admin.to_string(), "127.0.0.1:9090");
    assert_eq!(config.edge.session.token_ttl, Duration::from_secs(86_400));
    assert_eq!(config.edge.session.redeem_within, Duration::from_secs(60));
    assert_eq!(config.edge.session.idle_timeout, None);
    assert_eq!(config.edge.grace, Duration::from_secs(30));
    assert_eq!(config.edge.limits, crate::edge::Limits::default());
    assert!(config.edge.mail.is_none() && config.edge.upstreams.is_empty());
}

#[test]
fn every_fault_is_listed_with_line_key_and_mend() {
    let text = "public_port = 70000\n\
                colour = 'blue'\n\
                [listen]\nhttps = ['localhost']\nadmin = 9090\n\
                [session]\ntoken_tll = '24h'\nidle_timeout = 'soon'\n\
                [tls]\nkey = 'key.pem'\n";
    let expected = [
        "/etc/edge.toml: base_domain: this key is missing; add base_domain = \"patapim.example\"",
        "/etc/edge.toml:1: public_port: 70000 is out of bounds; write a whole number from 0 to 65535",
        "/etc/edge.toml:2: colour: there is no such key; remove it; known here: base_domain, data_dir, deployer, \
         limits, listen, mail, proxies, public_port, session, shutdown, store, tls, tunnel, upstream, webauthn",
        "/etc/edge.toml:4: listen.https: \"localhost\" is not an address with a port; write one such as \
         \"0.0.0.0:443\", \"[::]:443\" or \"127.0.0.1:9090\"; names are not looked up here",
        "/etc/edge.toml:5: listen.admin: this must be a text, and it is a number; put it in quotation marks",
        "/etc/edge.toml:7: session.token_tll: there is no such key; did you mean \"session.token_ttl\"?",
        "/etc/edge.toml:8: session.idle_timeout: \"soon\" is not a duration; write numbers with units, such as \
         \"24h\", \"90s\" or \"1h30m\"",
        "/etc/edge.toml:9: tls.cert: this key is missing; add cert = \"/etc/patapim-edge/fullchain.pem\"",
    ];
    assert_eq!(faults(text), expected);
}

#[test]
fn a_file_that_is_not_toml_is_told_with_its_lines_and_without_guesses_about_the_rest() {
    let all = faults("base_domain = patapim.test\npublic_port = 70000\n[tls\ncert = 'c'\n");
    assert!(all.iter().any(|fault| fault.starts_with("/etc/edge.toml:1: this is not TOML")), "{all:#?}");
    assert!(all.iter().any(|fault| fault.starts_with("/etc/edge.toml:3: this is not TOML")), "{all:#?}");
    assert!(all.iter().any(|fault| fault.contains("70000")), "{all:#?}");
    assert!(!all.iter().any(|fault| fault.contains("missing")), "{all:#?}");
}

#[test]
fn the_environment_goes_over_the_file() {
    let variables = [
        ("PATAPIM_EDGE__BASE_DOMAIN", "other.test"),
        ("PATAPIM_EDGE__PUBLIC_PORT", "8443"),
        ("PATAPIM_EDGE__LISTEN__HTTPS", "127.0.0.1:8443, [::1]:8443"),
        ("PATAPIM_EDGE__SESSION__TOKEN_TTL", "2h"),
        ("PATAPIM_EDGE__UPSTREAM__0__TUNNEL", "ada-abc234"),
        ("PATAPIM_EDGE__UPSTREAM__0__USER", "ada"),
        ("PATAPIM_EDGE__UPSTREAM__0__TO", "http://[::1]:3000"),
        ("PATAPIM_EDGE_CONFIG", "not an override"),
        ("HOME", "/root"),
    ];
    let config = parse_with(LEAST, &variables).expect("good").config;
    assert_eq!(config.edge.base.as_str(), "other.test");
    assert_eq!(config.edge.public_port, 8443);
    assert_eq!(config.edge.listen.https.len(), 2);
    assert_eq!(config.edge.session.token_ttl, Duration::from_secs(7200));
    assert_eq!((config.edge.upstreams[0].host.as_str(), config.edge.upstreams[0].port), ("::1", 3000));
    assert!(config.effective().contains("to = \"http://[::1]:3000\""));
}

#[test]
fn a_fault_in_the_environment_names_the_variable() {
    let variables = [
        ("PATAPIM_EDGE__LISTEN__HTPPS", "0.0.0.0:443"),
        ("PATAPIM_EDGE__SESSION__TOKEN_TTL", "soon"),
        ("PATAPIM_EDGE__UPSTREAM__3__TO", "http://127.0.0.1:1"),
        ("PATAPIM_EDGE__BASE_DOMAIN__X", "1"),
    ];
    let all = parse_with(LEAST, &variables).expect_err("bad");
    for part in [
        "environment PATAPIM_EDGE__LISTEN__HTPPS: listen.htpps: there is no such key; did you mean \"listen.https\"?",
        "environment PATAPIM_EDGE__SESSION__TOKEN_TTL: session.token_ttl: \"soon\" is not a duration",
        "environment PATAPIM_EDGE__UPSTREAM__3__TO: upstream.3.to: upstream has 0 entries, so the next one is number 0",
        "environment PATAPIM_EDGE__BASE_DOMAIN__X: base_domain.x: base_domain is not a section",
    ] {
        assert!(all.iter().any(|fault| fault.starts_with(part)), "{part}\n{all:#?}");
    }
}

#[test]
fn etcd_is_refused_with_a_sentence_of_its_own() {
    let fault = only_fault(&format!("{LEAST}[store]\nengine = 'etcd'\n"));
    assert!(fault.contains("\"etcd\" is reserved for a later version"), "{fault}");
}

#[test]
fn the_rp_id_is_the_deployers_host_or_the_base_domain() {
    assert_eq!(
        good(&format!("{LEAST}[webauthn]\nrp_id = 'deployer.patapim.test'")).edge.webauthn.rp_id,
        "deployer.patapim.test"
    );
    let parent = parse_with(&format!("{LEAST}[webauthn]\nrp_id = 'patapim.test'"), &[]).expect("good");
    assert!(parent.warnings.iter().any(|warning| warning.key == "webauthn.rp_id"));
    for other in
        ["test", "atapim.test", "x.patapim.test", "other.test", "a.deployer.patapim.test", "Patapim.test", ""]
    {
        let fault = only_fault(&format!("{LEAST}[webauthn]\nrp_id = '{other}'"));
        assert!(fault.contains("webauthn.rp_id"), "{fault}");
    }
}

#[test]
fn a_fixed_upstream_is_a_host_and_a_port_over_plain_http() {
    let with = |to: &str| format!("{LEAST}[[upstream]]\ntunnel = 'ada-abc234'\nuser = 'ada'\nto = '{to}'\n");
    assert_eq!(good(&with("http://localhost:80")).edge.upstreams[0].port, 80);
    for bad in [
        "https://127.0.0.1:3000",
        "http://127.0.0.1",
        "http://127.0.0.1:3000/",
        "http://127.0.0.1:3000/path",
        "http://me@127.0.0.1:3000",
        "http://127.0.0.1:0",
        "127.0.0.1:3000",
        "",
    ] {
        let fault = only_fault(&with(bad));
        assert!(fault.contains("upstream[0].to"), "{fault}");
    }
    let twice = with("http://127.0.0.1:1").replace(LEAST, "");
    let fault = only_fault(&format!("{LEAST}{twice}{twice}"));
    assert!(fault.contains("upstream[1].tunnel"), "{fault}");
}

#[test]
fn an_admin_listener_off_loopback_is_allowed_and_warned_about() {
    let loaded = parse_with(&format!("{LEAST}[listen]\nadmin = '0.0.0.0:9090'"), &[]).expect("good");
    assert!(loaded.warnings.iter().any(|warning| warning.key == "listen.admin"));
}

#[test]
fn one_address_for_two_listeners_is_a_fault_and_port_zero_is_not() {
    let twice = only_fault(&format!("{LEAST}[listen]\nhttps = ['127.0.0.1:1443']\nadmin = '127.0.0.1:1443'"));
    assert!(twice.contains("listen.admin: 127.0.0.1:1443 is there twice"), "{twice}");
    good(&format!("{LEAST}[listen]\nhttps = ['127.0.0.1:0', '127.0.0.1:0']\nadmin = '127.0.0.1:0'"));
}

#[test]
fn a_secret_in_the_file_is_refused_and_one_in_the_environment_is_never_shown() {
    const MAIL: &str = "[mail]\nsmtp = 'smtps://ada@mail.test'\nfrom = 'Edge <edge@patapim.test>'\n";
    let inline = only_fault(&format!("{LEAST}{MAIL}password = 'hush'\n"));
    assert!(inline.contains("mail.password") && !inline.contains("hush"), "{inline}");
    let in_url = only_fault(&format!("{LEAST}{}", MAIL.replace("ada@", "ada:hush@")));
    assert!(in_url.contains("mail.smtp") && !in_url.contains("hush"), "{in_url}");
    let variables = [("PATAPIM_EDGE__MAIL__PASSWORD", "hush")];
    let loaded = parse_with(&format!("{LEAST}{MAIL}"), &variables).expect("good");
    let shown = loaded.config.effective();
    assert!(shown.contains("password = \"[redacted]\"") && !shown.contains("hush"), "{shown}");
    assert!(!format!("{:?}", loaded.config).contains("hush"));
}

#[test]
fn the_effective_configuration_reads_back_as_itself() {
    let text =
        format!("{LEAST}[[upstream]]\ntunnel = 'ada-abc234'\nuser = 'ada'\nto = 'http://[::1]:3000'\n");
    let once = good(&text).effective();
    assert_eq!(good(&once).effective(), once);
    assert!(once.contains("cert = \"/etc/cert.pem\""), "{once}");
}

#[test]
fn the_annotated_reference_names_every_key_with_its_default() {
    let reference = include_str!("../../conf/edge.toml");
    let shown = good(reference).effective();
    let least = LEAST
        .replace("patapim.test", "patapim.example")
        .replace("cert.pem", "/etc/patapim-edge/fullchain.pem")
        .replace("key.pem", "/etc/patapim-edge/privkey.pem");
    assert_eq!(shown, good(&least).effective());

    let setting =
        |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).map(str::to_owned);
    let lines = reference.lines().map(|line| setting(line).unwrap_or_else(|| line.to_owned()));
    let uncommented = lines.collect::<Vec<_>>().join("\n");
    let (table, errors) = document::parse(&Path::new("edge.toml").into(), &uncommented);
    assert_eq!(errors, []);
    let read = parse(Path::new("edge.toml"), &uncommented, []);
    let asked = read.findings.asked();
    assert!(asked.iter().any(|key| key == "upstream[0].to"), "{asked:?}");
    for key in asked {
        assert!(key == "mail.password" || names(&table, &key), "conf/edge.toml does not name {key}");
    }
}

fn names(table: &document::Table, key: &str) -> bool {
    let (step, rest) = key.split_once('.').map_or((key, None), |(step, rest)| (step, Some(rest)));
    match (table.get(step.trim_end_matches("[0]")).map(|node| &node.value), rest) {
        (Some(_), None) => true,
        (Some(document::Value::Table(inner)), Some(rest)) => names(inner, rest),
        (Some(document::Value::List(items)), Some(rest)) => {
            matches!(&items[0].value, document::Value::Table(inner) if names(inner, rest))
        }
        _ => false,
    }
}

#[test]
fn the_profile_of_the_first_installation_is_good() {
    let config = good(include_str!("../../conf/patapim.ai.toml"));
    assert_eq!(
        (config.edge.base.as_str(), config.edge.webauthn.rp_id.as_str()),
        ("patapim.ai", "patapim.ai")
    );
}

mod files {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let names = ["deployer.patapim.test".to_owned(), "*.tunnel.patapim.test".to_owned()];
        let key = rcgen::generate_simple_self_signed(names).expect("a certificate");
        std::fs::write(folder.path().join("edge.toml"), LEAST.replace("[tls]", "data_dir = 'data'\n[tls]"))
            .expect("written");
        std::fs::write(folder.path().join("cert.pem"), key.cert.pem()).expect("written");
        std::fs::write(folder.path().join("key.pem"), key.signing_key.serialize_pem()).expect("written");
        chmod(&folder, "key.pem", 0o600);
        folder
    }

    fn chmod(folder: &tempfile::TempDir, file: &str, mode: u32) {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.path().join(file), permissions).expect("ours");
    }

    fn load_in(folder: &tempfile::TempDir) -> Result<Loaded, String> {
        load(&folder.path().join("edge.toml"), []).map_err(|bad| bad.to_string())
    }

    #[test]
    fn files_that_are_there_and_right_are_good() {
        let loaded = load_in(&folder()).expect("good");
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    }

    #[test]
    fn a_missing_file_is_listed_beside_other_faults() {
        let folder = folder();
        std::fs::remove_file(folder.path().join("cert.pem")).expect("there");
        std::fs::write(folder.path().join("key.pem"), "nothing").expect("written");
        let text = LEAST.replace("[tls]", "public_port = -1\n[tls]");
        std::fs::write(folder.path().join("edge.toml"), text).expect("written");
        let bad = load_in(&folder).expect_err("bad");
        assert!(bad.contains("has 3 faults:"), "{bad}");
        for part in [
            "edge.toml:2: public_port",
            "edge.toml:4: tls.cert: the certificate cannot be read",
            "has no private key in it",
        ] {
            assert!(bad.contains(part), "{part}\n{bad}");
        }
    }

    #[test]
    fn a_certificate_for_other_names_or_another_key_is_told_before_anything_starts() {
        let folder = folder();
        let text = LEAST.replace("patapim.test", "other.test");
        std::fs::write(folder.path().join("edge.toml"), text).expect("written");
        let bad = load_in(&folder).expect_err("bad");
        assert!(bad.contains("edge.toml:3: tls.cert") && bad.contains("deployer.other.test"), "{bad}");

        let folder = self::folder();
        let other = rcgen::KeyPair::generate().expect("a key").serialize_pem();
        std::fs::write(folder.path().join("key.pem"), other).expect("written");
        let bad = load_in(&folder).expect_err("bad");
        assert!(bad.contains("is not the key of the certificate"), "{bad}");
    }

    #[test]
    fn a_private_key_that_everybody_may_read_is_refused() {
        let folder = folder();
        chmod(&folder, "key.pem", 0o644);
        let bad = load_in(&folder).expect_err("bad");
        assert!(bad.contains("tls.key") && bad.contains("(mode 644)") && bad.contains("run: chmod"), "{bad}");
        chmod(&folder, "key.pem", 0o640);
        load_in(&folder).expect("a group may read it");
    }

    #[test]
    fn a_file_that_is_not_there_is_told_with_a_way_on() {
        let bad = load(Path::new("/nowhere/edge.toml"), []).expect_err("bad").to_string();
        assert!(
            bad.contains("/nowhere/edge.toml: this file cannot be read") && bad.contains("--config"),
            "{bad}"
        );
    }
}
