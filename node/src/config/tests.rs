//! Precedence, unknown keys, and what is refused.

use shoal_core::config::Unchoke;

use super::*;

fn env(pairs: &[(&str, &str)]) -> Env {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
}

fn file(text: &str) -> CommonLayer {
    parse_file(Path::new("shoal.toml"), text).unwrap()
}

fn peer(text: &str) -> Result<PeerConfig, ConfigError> {
    let text = format!("state-dir = \"/s\"\n[peer]\n{text}");
    Ok(NodeConfig::resolve(file(&text), &Env::new())?.peer.unwrap())
}

#[test]
fn a_flag_beats_a_variable_beats_the_file() {
    let below: TrackerLayer =
        file("[tracker]\ninterval = 3\nudp = false\nonly = ['f']").tracker.unwrap();
    let vars = env(&[("SHOAL_INTERVAL", "2"), ("SHOAL_TRACKER_LISTEN", "127.0.0.1:1")]);
    let middle: TrackerLayer = env::layer(&vars).unwrap();
    let flags = TrackerLayer { listen: "127.0.0.1:2".parse().ok(), ..TrackerLayer::default() };
    let merged = TrackerConfig::resolve(flags.over(middle).over(below));
    assert_eq!(merged.listen, "127.0.0.1:2".parse().unwrap());
    assert_eq!(merged.interval, 2);
    assert!(!merged.udp && TrackerConfig::default().udp);
    assert_eq!(merged.only, [PathBuf::from("f")]);
}

#[test]
fn unknown_keys_are_refused_with_file_line_and_name() {
    let check = |text: &str, line: usize, name: &str| {
        let error = parse_file(Path::new("shoal.toml"), text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("shoal.toml:{line}: ")), "{error}");
        assert!(error.contains(name) && !error.contains('\n'), "{error}");
    };
    check("log = 'info'\ncolour = 1", 2, "colour");
    check("[peer]\n\nlisten = '127.0.0.1:1'\ndownlods = 'x'", 4, "downlods");
    check("[tracker]\nlisten = 'here'", 2, "socket address");
    check("[sim]", 1, "sim");
}

#[test]
fn variables_hold_lists_pairs_and_switches() {
    let vars = env(&[
        ("SHOAL_LABEL", "zone=a,rack=7"),
        ("SHOAL_AUTO_DOWNLOAD", "true"),
        ("SHOAL_SEED", "a.torrent=b"),
        ("SHOAL_POLICY", ""),
        ("SHOAL_ENDPOINT", "somebody else's"),
    ]);
    let layer: PeerLayer = env::layer(&vars).unwrap();
    assert_eq!(layer.label.len(), 2);
    assert_eq!(layer.auto_download, Some(true));
    assert_eq!(layer.seed.len(), 1);
    assert_eq!(layer.policy, None);
}

#[test]
fn a_bad_variable_is_named() {
    let error = env::layer::<TrackerLayer>(&env(&[("SHOAL_INTERVAL", "soon")])).unwrap_err();
    assert!(error.to_string().starts_with("SHOAL_INTERVAL: invalid value 'soon'"), "{error}");
}

#[test]
fn absurd_values_are_refused_by_name() {
    let check = |text: &str, key: &str| {
        let error = peer(text).unwrap_err().to_string();
        assert!(error.starts_with(key), "{text}: {error}");
    };
    check("connections = 0", "connections: ");
    check("buffer-budget = '4095KiB'", "buffer-budget: ");
    check("exit-when-complete = true", "exit-when-complete: ");
    check(&format!("label = {{ zone = '{}' }}", "x".repeat(65)), "label: ");
    check("upload-limit = '1'", "upload-limit: ");
    check("upload-limit = '1023'", "upload-limit: 1023 bytes a second is below 1KiB");
    check("download-limit = '20'", "download-limit: ");
    assert!(peer("upload-limit = '1024'\ndownload-limit = '0'").is_ok());
    assert!(peer("buffer-budget = '4MiB'").is_ok());
    assert!(peer(&format!("label = {{ zone = '{}' }}", "x".repeat(64))).is_ok());
}

#[test]
fn rates_are_limited_by_flag_variable_or_file_and_unlimited_by_default() {
    let rates = |text: &str| {
        let peer = peer(text).unwrap();
        [peer.upload_limit, peer.download_limit].map(|ByteRate(bps)| bps)
    };
    assert_eq!(rates(""), [0, 0]);
    let limited = rates("upload-limit = '20MB'\ndownload-limit = '512KiB/s'");
    assert_eq!(limited, [20_000_000, 512 << 10]);
    let below = file("[peer]\nupload-limit = '3MB'\ndownload-limit = '3MB'").peer.unwrap();
    let vars = env(&[("SHOAL_UPLOAD_LIMIT", "2MB"), ("SHOAL_DOWNLOAD_LIMIT", "2MB")]);
    let middle: PeerLayer = env::layer(&vars).unwrap();
    let flags = PeerLayer { upload_limit: Some(ByteRate(0)), ..PeerLayer::default() };
    let merged = PeerConfig::resolve(flags.over(middle).over(below), Path::new("/s"));
    assert_eq!((merged.upload_limit, merged.download_limit), (ByteRate(0), ByteRate(2_000_000)));
    let error = parse_file(Path::new("shoal.toml"), "[peer]\nupload-limit = 'fast'").unwrap_err();
    assert!(error.to_string().starts_with("shoal.toml:2: 'fast' is no rate"), "{error}");
}

#[test]
fn everybody_is_unchoked_unless_slots_are_named() {
    let unchoke = |text: &str| peer(text).map(|peer| peer.core().unchoke);
    assert_eq!(unchoke(""), Ok(Unchoke::All));
    assert_eq!(unchoke("unchoke = 'all'"), Ok(Unchoke::All));
    assert_eq!(unchoke("unchoke = '4'"), Ok(Unchoke::Slots(4)));
    let layer: PeerLayer = env::layer(&env(&[("SHOAL_UNCHOKE", "7")])).unwrap();
    assert_eq!(layer.unchoke, Some(Unchoking(Unchoke::Slots(7))));
    let error = parse_file(Path::new("shoal.toml"), "[peer]\nunchoke = '0'").unwrap_err();
    assert!(error.to_string().starts_with("shoal.toml:2: '0' is neither 'all'"), "{error}");
}

#[test]
fn beyond_loopback_the_control_surface_needs_tls_and_its_paths_are_short() {
    let control = |text: &str| {
        let text = format!("state-dir = '/s'\ncontrol = ['{text}']\n[tracker]");
        NodeConfig::resolve(file(&text), &Env::new())
    };
    for good in ["127.0.0.1:0", "[::1]:7002", &format!("unix:/{}", "x".repeat(102))] {
        assert!(control(good).is_ok(), "{good}");
    }
    for beyond in ["0.0.0.0:7002", "[::]:7002", "192.168.1.1:7002"] {
        let tcp = control(beyond).unwrap_err().to_string();
        assert!(tcp.contains("--tls-cert and --tls-key") && !tcp.contains('\n'), "{tcp}");
        let tls = format!("{beyond}']\ntls-cert = 'c'\ntls-key = 'k'\nlog = '{beyond}");
        let text = format!("state-dir = '/s'\ncontrol = ['{tls}'\n[tracker]");
        assert!(NodeConfig::resolve(file(&text), &Env::new()).is_ok(), "{text}");
    }
    let long = control(&format!("unix:/{}", "x".repeat(103))).unwrap_err().to_string();
    assert!(long.contains("104 bytes"), "{long}");
}

#[test]
fn the_files_of_tls_come_together() {
    let tls = |text: &str| {
        let text = format!("state-dir = '/s'\n{text}\n[tracker]");
        NodeConfig::resolve(file(&text), &Env::new()).map_err(|error| error.to_string())
    };
    for (text, key) in [
        ("tls-cert = 'c'", "tls-cert: "),
        ("tls-key = 'k'", "tls-key: "),
        ("tls-client-ca = 'a'", "tls-client-ca: "),
        ("tls-client-ca = 'a'\ntls-cert = 'c'", "tls-cert: "),
    ] {
        let refused = tls(text).unwrap_err();
        assert!(refused.starts_with(key), "{text}: {refused}");
    }
    let config = tls("tls-client-ca = 'a'\ntls-cert = 'c'\ntls-key = 'k'").unwrap();
    let below = file(&config.to_toml().unwrap());
    let vars = env(&[("SHOAL_TLS_CERT", "v"), ("SHOAL_TLS_KEY", "v")]);
    let flags = CommonLayer { tls_key: Some("f".into()), ..CommonLayer::default() };
    let merged = flags.over(env::layer(&vars).unwrap()).over(below);
    let config = NodeConfig::resolve(merged, &Env::new()).unwrap();
    let paths = [config.tls_client_ca, config.tls_cert, config.tls_key].map(Option::unwrap);
    assert_eq!(paths, ["a", "v", "f"].map(PathBuf::from));
}

#[test]
fn the_state_of_the_two_roles_lies_apart() {
    let home = env(&[("HOME", "/home/a")]);
    let dir = |text: &str, env: &Env| {
        Ok::<_, ConfigError>(NodeConfig::resolve(file(text), env)?.state_dir)
    };
    assert_eq!(dir("[peer]", &home), Ok("/home/a/.local/state/shoal".into()));
    assert_eq!(dir("[tracker]", &home), Ok("/home/a/.local/state/shoal-tracker".into()));
    let xdg = env(&[("HOME", "/home/a"), ("XDG_STATE_HOME", "/x")]);
    assert_eq!(dir("[peer]\n[tracker]", &xdg), Ok("/x/shoal".into()));
    assert!(dir("[peer]", &Env::new()).is_err());
}

#[test]
fn what_is_printed_can_be_read() {
    let text = "state-dir = '/s'\nadvertise = '10.0.0.1'\n[tracker]\n[peer]\nseed = ['a.torrent=b']\n\
                label = { zone = 'a' }\nset = { x = '1' }\npolicy = 'p.lua'\nchunks = '/c'\n\
                upload-limit = '20MB'\nunchoke = '4'";
    let config = NodeConfig::resolve(file(text), &Env::new()).unwrap();
    let again = NodeConfig::resolve(file(&config.to_toml().unwrap()), &Env::new()).unwrap();
    assert_eq!(config, again);
}

#[test]
fn a_node_has_a_role() {
    let error = NodeConfig::resolve(file("state-dir = '/s'"), &Env::new()).unwrap_err();
    assert!(error.to_string().contains("no role"), "{error}");
}
