//! Every command in every format: it is written in it, or refused before anything is done.

use std::{collections::BTreeSet, fs, path::Path};

use clap::ValueEnum as _;
use serde_json::Value;
use shoal_ctl::{Exit, Places, cli::Format, methods::ENTRIES};

use crate::{
    coverage::commands,
    fake::{Node, Ran, run_at},
};

/// A line for each command; `@` is a folder with the files that are named in it.
const LINES: &[(&str, &str)] = &[
    ("connect-tracker", ""),
    ("get-peer-set", ""),
    ("update-status-to-tracker", ""),
    ("disconnect-tracker", ""),
    ("quit-torrent", ""),
    ("connect-peer", "10.0.0.2 7000"),
    ("ping", "10.0.0.2 7000"),
    ("request-download", "10.0.0.2 7000 @2"),
    ("disconnect-peer", "10.0.0.2 7000"),
    ("check-tracker-connected", ""),
    ("check-target-peer-connected", "10.0.0.2 7000"),
    ("see-this-peer-info", ""),
    ("see-peer-set", ""),
    ("see-connected", ""),
    ("see-chunk-status", ""),
    ("merge-chunks", ""),
    ("auto-download", ""),
    ("torrent create", "/data"),
    ("torrent add", "@/a.torrent"),
    ("torrent list", ""),
    ("torrent show", ""),
    ("torrent select", "--all"),
    ("torrent verify", ""),
    ("torrent pause", ""),
    ("torrent resume", ""),
    ("torrent remove", "film --yes"),
    ("jobs list", ""),
    ("jobs wait", "9"),
    ("jobs cancel", "9"),
    ("tracker swarms", ""),
    ("tracker peers", ""),
    ("node info", ""),
    ("settings show", ""),
    ("settings set", "upload-limit=20MB"),
    ("node shutdown", ""),
    ("events", ""),
    ("token create", "ci --scope read"),
    ("token list", ""),
    ("token revoke", "ci"),
    ("policy init", "near --dir @/new"),
    ("policy check", "@/a.lua"),
    ("policy set", "rarest"),
    ("policy status", ""),
    ("policy explain", ""),
    ("policy trace", ""),
    ("policy test", "@/a_test.lua"),
    ("policy sim", ""),
    ("policy bench", "fastest"),
    ("policy list", ""),
    ("policy reset", ""),
    ("call", "ListJobs"),
    ("describe", "GetInfo"),
    ("context add", "other --endpoint unix:///x"),
    ("context list", ""),
    ("context use", "lab"),
    ("context remove", "lab"),
    ("context show", "lab"),
    ("top", "--once"),
    ("shell", ""),
    ("top", "--once"),
    ("completions", "bash"),
    ("man", "--dir @/new"),
];

/// Commands whose stream only ends when something went wrong.
const ENDLESS: [&str; 1] = ["events"];

/// Everything that a line could want, as it was at first.
fn prepare(dir: &Path, node: &Node) -> Places {
    let _ = fs::remove_dir_all(dir.join("new"));
    for (name, text) in [("a.torrent", "d4:spam"), ("a.lua", "return {}"), ("a_test.lua", "test()")]
    {
        fs::write(dir.join(name), text).unwrap();
    }
    let contexts = format!("current = 'lab'\n[contexts.lab]\nendpoint = '{}'\n", node.unix);
    fs::write(dir.join("shoalctl.toml"), contexts).unwrap();
    Places { config: Some(dir.to_owned()), state: None }
}

async fn ran(node: &Node, dir: &Path, command: &str, rest: &str, format: Format) -> Ran {
    let places = prepare(dir, node);
    let format = format.to_possible_value().unwrap();
    let folder = dir.to_str().unwrap();
    let rest = rest.replace("@/", &format!("{folder}/"));
    let line = format!("{command} {rest} -o {}", format.get_name());
    run_at(places, &line.split_whitespace().collect::<Vec<_>>(), "").await
}

fn documents(text: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(text).into_iter().collect::<Result<_, _>>().unwrap()
}

/// What a format promises of what is written.
fn check(format: Format, ran: &Ran) {
    match format {
        Format::Table => {}
        Format::Json => assert!(documents(&ran.out).iter().all(Value::is_object), "{ran:?}"),
        Format::Jsonl => {
            for line in ran.out.lines() {
                let value: Value =
                    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
                assert!(value.is_object(), "{line}");
            }
        }
        Format::Yaml => {
            let read: Vec<Value> = serde_saphyr::from_multiple(&ran.out)
                .unwrap_or_else(|e| panic!("{e}: {}", ran.out));
            assert!(read.iter().all(Value::is_object), "{ran:?}");
        }
        Format::Name => assert!(!ran.out.contains(char::is_control) || ran.out.ends_with('\n')),
    }
}

#[test]
fn every_command_has_a_line_here() {
    let lines: BTreeSet<String> = LINES.iter().map(|(command, _)| (*command).to_owned()).collect();
    assert_eq!(lines, commands());
}

#[tokio::test]
async fn every_command_writes_every_format_or_refuses_it_before_anything_is_done() {
    let node = Node::start().await;
    let dir = tempfile::tempdir().unwrap();
    for (command, rest) in LINES {
        let entry = ENTRIES.iter().find(|entry| entry.command == *command).unwrap();
        for &format in Format::value_variants() {
            let seen = node.seen.all().len();
            let ran = ran(&node, dir.path(), command, rest, format).await;
            if entry.knows.has(format) {
                let ends = if ENDLESS.contains(command) { Exit::Internal } else { Exit::Ok };
                assert_eq!(ran.exit, ends, "{command} {format:?}: {ran:?}");
                // Lists may be empty, and the shell is told nothing.
                let may_be_silent =
                    *command == "shell" || matches!(format, Format::Name | Format::Jsonl);
                assert!(!ran.out.is_empty() || may_be_silent, "{command} {format:?}");
                check(format, &ran);
                continue;
            }
            assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""), "{command} {format:?}");
            assert!(ran.err.contains("has no"), "{command}: {}", ran.err);
            assert_eq!(node.seen.all().len(), seen, "{command} was carried out");
            if format != Format::Name {
                assert_eq!(documents(&ran.err).len(), 1, "{}", ran.err);
            }
        }
    }
}

#[tokio::test]
async fn every_format_says_the_same() {
    let node = Node::start().await;
    for command in ["torrent list", "see-peer-set", "node info", "policy status", "jobs list"] {
        let json = node.run(&format!("{command} -o json")).await.json();
        let yaml = node.run(&format!("{command} -o yaml")).await.out;
        assert_eq!(serde_saphyr::from_str::<Value>(&yaml).unwrap(), json, "{command}");
    }
    let json = node.run("torrent list -o json").await.json();
    let lines = node.run("torrent list -o jsonl").await.out;
    assert_eq!(Value::from(documents(&lines)), json["torrents"]);
}

#[tokio::test]
async fn names_are_for_xargs() {
    let node = Node::start().await;
    for (line, names) in [
        ("torrent list", format!("{}\n", "ab".repeat(20))),
        ("see-peer-set", "10.0.0.1:7000\n10.0.0.7:7007\n".to_owned()),
        ("jobs list", "9\n10\n".to_owned()),
        ("see-chunk-status --limit 2", "film.webm.part1\nfilm.webm.part2\n".to_owned()),
        ("auto-download", "9\n".to_owned()),
        ("merge-chunks film.webm", "/downloads/film.webm\n".to_owned()),
        ("policy explain", "10.0.0.2:7001\n".to_owned()),
    ] {
        let ran = node.run(&format!("{line} -o name")).await;
        assert_eq!((ran.exit, ran.out, ran.err.as_str()), (Exit::Ok, names, ""), "{line}");
    }
}

#[tokio::test]
async fn an_error_is_an_object_wherever_programs_read() {
    let node = Node::start().await;
    for format in ["json", "jsonl", "yaml"] {
        let ran = node.run(&format!("ping 10.0.0.2 7000 --torrent near -o {format}")).await;
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::NotFound, ""));
        assert_eq!(documents(&ran.err)[0]["reason"], "NO_SUCH_TORRENT", "{format}");
    }
    let ran = node.run("jobs cancel 9 --torrent near -o yaml").await;
    assert_eq!(documents(&ran.err)[0]["reason"], "USAGE");
}
