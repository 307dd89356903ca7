//! The files of `deploy/` that a node reads: the example configuration, and the unit that starts it.

use std::{collections::BTreeSet, fs, path::Path};

use shoal_node::{
    cli,
    config::{Env, NodeConfig, read_file},
};

use crate::{shoald, text};

const EXAMPLE: &str = include_str!("../../../deploy/shoald.toml");
const UNIT: &str = include_str!("../../../deploy/shoald.service");

/// The example with every key in force.
fn uncommented() -> String {
    let begins = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if begins(key) => key,
        Some(_) | None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn resolve(folder: &Path, text: &str) -> NodeConfig {
    let file = folder.join("shoald.toml");
    fs::write(&file, text).unwrap();
    let env = Env::from([("HOME".to_owned(), "/root".into())]);
    let layer = read_file(&file).unwrap();
    NodeConfig::resolve(layer, &env).unwrap()
}

/// `table.key` of every value of a document, tables of values as one.
fn keys(document: &str) -> BTreeSet<String> {
    let document: toml::Table = document.parse().unwrap();
    let mut keys = BTreeSet::new();
    for (key, value) in &document {
        match value.as_table() {
            Some(table) => keys.extend(table.keys().map(|inner| format!("{key}.{inner}"))),
            None => drop(keys.insert(key.clone())),
        }
    }
    keys
}

/// The keys that flags say there are: those of `tracker` and `peer` that `run` does not have are in
/// the table of the role.
fn flags() -> BTreeSet<String> {
    let command = cli::command();
    let of = |name: &str| {
        let sub = command.find_subcommand(name).unwrap();
        let longs = sub.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned));
        let others = ["config", "print-config", "help", "version"];
        let own = |long: &String| !others.contains(&long.as_str());
        longs.filter(own).collect::<BTreeSet<_>>()
    };
    let common = of("run");
    let of_role = |role: &str| {
        let flags = of(role);
        flags.difference(&common).map(|flag| format!("{role}.{flag}")).collect::<BTreeSet<_>>()
    };
    let roles = [of_role("tracker"), of_role("peer")].into_iter().flatten();
    common.iter().cloned().chain(roles).collect()
}

#[test]
fn the_example_configuration_has_every_key_and_no_other() {
    assert_eq!(keys(&uncommented()), flags());
    assert_eq!(keys(EXAMPLE), BTreeSet::new(), "nothing is in force but the table of a role");
}

#[test]
fn the_example_configuration_is_the_defaults_as_it_stands_and_uncommented() {
    let folder = tempfile::tempdir().unwrap();
    let defaults = resolve(folder.path(), "[peer]");
    assert_eq!(resolve(folder.path(), EXAMPLE), defaults);
    let both = resolve(folder.path(), "[tracker]\n[peer]");
    let whole = resolve(folder.path(), &uncommented());
    assert_eq!(whole.tracker, both.tracker);
    let (peer, expected) = (whole.peer.unwrap(), both.peer.unwrap());
    // What has no default, or one that depends on the machine, stands there as an example.
    let chunks = peer.downloads.join(".shoal");
    assert_eq!(peer.chunks, Some(chunks), "the default of the folder beside it");
    let same = shoal_node::config::PeerConfig {
        downloads: expected.downloads.clone(),
        chunks: None,
        policy: None,
        ..peer
    };
    assert_eq!(same, expected);
    assert_eq!((whole.log, whole.log_format), (both.log, both.log_format));
}

#[test]
fn every_key_of_the_example_is_explained_above_it() {
    let mut explained = false;
    for line in EXAMPLE.lines() {
        let key = line.strip_prefix('#').unwrap_or(line);
        if key.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') {
            assert!(explained, "{line} stands alone");
        } else {
            explained = line.starts_with("# ");
        }
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn the_unit_starts_a_node_with_flags_that_there_are() {
    let start = UNIT.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shoald.toml");
    fs::write(&file, EXAMPLE).unwrap();
    let words = start.replace("/etc/shoal/shoald.toml", &file.display().to_string());
    let words = words.replace("${STATE_DIRECTORY}", "/s").replace("${RUNTIME_DIRECTORY}", "/r");
    let mut args: Vec<_> = words.split(' ').skip(1).collect();
    args.push("--print-config");
    let printed = shoald(&args);
    assert!(printed.status.success(), "{}", text(&printed.stderr));
    let config = text(&printed.stdout);
    assert!(config.contains("\"unix:/r/shoald.sock\"") && config.contains("\"/s\""), "{config}");
    for kept in ["Type=notify", "NoNewPrivileges=yes", "ProtectSystem=strict", "User=shoal"] {
        assert!(UNIT.lines().any(|line| line == kept), "{kept}");
    }
}
