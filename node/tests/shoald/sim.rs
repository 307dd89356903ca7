//! `shoald sim`: the report is data and always the same, the rest is talk, and the exit code tells.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{shoald, text};

/// Milliseconds of a debug build.
const BASELINE: [&str; 3] = ["sim", "baseline", "--small"];

#[test]
fn the_same_words_print_the_same_bytes_on_any_number_of_threads() {
    let run = |more: &[&str]| shoald(&[&BASELINE[..], &["--seeds", "3"], more].concat());
    let (one, again) = (run(&["--threads", "1"]), run(&["--threads", "3"]));
    assert!(one.status.success(), "{}", text(&one.stderr));
    assert_eq!(text(&one.stdout), text(&again.stdout));
    assert!(text(&one.stdout).lines().all(|line| line.chars().count() <= 80));
    assert!(text(&one.stderr).starts_with("3 runs, "), "{}", text(&one.stderr));
}

#[test]
fn a_comparison_is_a_document_and_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let (mine, picture) = (folder.path().join("mine.lua"), folder.path().join("curves.svg"));
    let score = "return { api = 1, name = 'mine', score = function(ctx, peer) return 0 end }";
    fs::write(&mine, score).unwrap();
    let (mine, picture) = (mine.to_str().unwrap(), picture.to_str().unwrap());
    let words = ["--seeds", "2", "-o", "json", "--picture", picture];
    let compare = ["--compare", "native:fastest", mine];
    let ran = shoald(&[&BASELINE[..], &words, &compare].concat());
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let json: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(json["holds"], true);
    assert_eq!(json["policies"][1]["policy"], mine);
    assert_eq!(json["policies"][0]["runs"].as_array().unwrap().len(), 2);
    assert_eq!(json["comparison"].as_array().unwrap().len(), 1);
    let drawn = fs::read_to_string(picture).unwrap();
    assert!(drawn.starts_with("<svg") && drawn.contains("native:fastest"), "{drawn}");
}

#[test]
fn what_is_wrong_is_named_and_has_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("my plan.toml");
    let class = "name = 'x'\ncontent = '1MiB'\n[[class]]\nname = 's'\ncount = 1\n";
    let file = plan.to_str().unwrap();
    for (rest, words, exit, said) in [
        ("cuont = 1", &["sim", file][..], 8, "'cuont' is no key here; did you mean 'count'?"),
        ("", &["sim", "flash_croud"], 3, "did you mean 'flash_crowd'?"),
        ("", &["sim"], 2, "<PLAN>"),
        ("has = 1", &["sim", file, "--seed", "x"], 2, "--seed"),
        ("has = 1", &["sim", file, "--policy", "nobody"], 3, "unknown policy 'nobody'"),
        ("has = 1\n[expect]\np99_max = '1ms'", &["sim", file], 7, "shoald sim '"),
    ] {
        fs::write(&plan, format!("{class}{rest}\n")).unwrap();
        let ran = shoald(words);
        assert_eq!(ran.status.code(), Some(exit), "{words:?}: {}", text(&ran.stderr));
        assert!(text(&ran.stderr).contains(said), "{words:?}: {}", text(&ran.stderr));
    }
}

#[test]
fn plans_are_listed_within_80_columns_and_shown() {
    let list = shoald(&["sim", "--list"]);
    assert!(list.status.success());
    assert!(text(&list.stdout).contains("flash_crowd"));
    assert!(text(&list.stdout).lines().all(|line| line.chars().count() <= 80));
    let shown = shoald(&["sim", "two_zones", "--show"]);
    assert!(text(&shown.stdout).contains("[[between]]"));
}

#[test]
fn an_interrupt_ends_it_at_once() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoald"));
    let command = command.args(["sim", "thousands"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let catches = || {
        let status = fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        u64::from_str_radix(caught, 16).unwrap() & 0b10 != 0
    };
    let began = Instant::now();
    while !catches() {
        assert!(began.elapsed() < Duration::from_secs(30), "it never listens");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
