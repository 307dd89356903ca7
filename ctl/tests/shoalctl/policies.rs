//! `shoalctl policy` where files, several calls, or a failed check are in it.

use std::{fs, path::Path};

use shoal_ctl::Exit;
use tempfile::TempDir;

use crate::fake::{Node, Ran, run};

/// A folder with files in it.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().expect("a folder for the test");
    for (name, text) in files {
        fs::write(dir.path().join(name), text).expect("a file for the test");
    }
    dir
}

fn path(dir: &TempDir, name: &str) -> String {
    dir.path().join(name).to_str().expect("its path is UTF-8").to_owned()
}

async fn policy(node: &Node, words: &[&str]) -> Ran {
    run(&node.unix, &[&["policy"], words].concat(), "").await
}

fn error(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(&ran.err).expect("an error in JSON")
}

#[tokio::test]
async fn a_policy_file_is_sent_as_source_with_its_parameters() {
    let node = Node::start().await;
    let dir = folder(&[("near.lua", "return 1")]);
    let words = ["policy", "set", &path(&dir, "near.lua"), "--set", "zone=a=b"];
    let ran = run(&node.tcp, &words, "").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "policy near.lua is in force\n"));
    assert_eq!(ran.err, "warning: 'pairs' has no order\n");
    let seen = node.seen.last();
    assert!(seen.contains("Source(\"return 1\")") && seen.contains("\"zone\": \"a=b\""), "{seen}");
    assert!(seen.contains("torrent: None, shadow: false"), "{seen}");
    let ran = node.run("policy set least_uploaded").await;
    assert_eq!(ran.out, "policy least_uploaded is in force\n");
    assert!(node.seen.last().contains("Name(\"least_uploaded\")"));
    let ran = node.run("policy set fastest --set a=1 --set a=2").await;
    assert_eq!(ran.exit, Exit::Usage);
}

#[tokio::test]
async fn a_policy_may_be_a_torrents_or_a_shadow_or_none() {
    let node = Node::start().await;
    for (line, out, asked) in [
        (
            "policy set fastest --torrent film",
            "policy fastest is in force for torrent abababababab\n",
            "torrent: Some(\"film\"), shadow: false, policy: Some(Name(\"fastest\"))",
        ),
        (
            "policy set fastest --shadow",
            "policy fastest runs in the shadow\n",
            "torrent: None, shadow: true",
        ),
        ("policy set --none", "policy lowest_uploaded is in force\n", "None(true)"),
        (
            "policy set --none --torrent film",
            "film follows the node's policy lowest_uploaded\n",
            "torrent: Some(\"film\"), shadow: false",
        ),
        ("policy set --none --shadow", "nothing runs in the shadow\n", "shadow: true"),
    ] {
        let ran = node.run(line).await;
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, out), "{line}: {ran:?}");
        assert!(node.seen.last().contains(asked), "{line}: {}", node.seen.last());
    }
    let sent = node.seen.all().len();
    for line in [
        "policy set",
        "policy set fastest --none",
        "policy set --none --watch",
        "policy set --none --set zone=a",
        "policy check",
        "policy test",
        "policy bench",
    ] {
        let ran = node.run(line).await;
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""), "{line}");
    }
    assert_eq!(node.seen.all().len(), sent, "nothing is asked of the node");
}

#[tokio::test]
async fn a_watched_file_is_named_by_its_path_on_the_node() {
    let node = Node::start().await;
    let dir = folder(&[("near.lua", "return 1")]);
    let file = path(&dir, "near.lua");
    let ran = run(&node.tcp, &["policy", "set", &file, "--watch"], "").await;
    assert_eq!(ran.exit, Exit::Ok, "{ran:?}");
    assert!(ran.out.ends_with(&format!("the node follows {file}\n")), "{}", ran.out);
    assert!(node.seen.last().contains(&format!("Path({file:?})")), "{}", node.seen.last());
    // The tests run in the package's folder.
    let here = std::env::current_dir().unwrap().join("src/lib.rs");
    assert_eq!(node.run("policy set src/lib.rs --watch").await.exit, Exit::Ok);
    assert!(node.seen.last().contains(&format!("Path({here:?})")), "{}", node.seen.last());
    let sent = node.seen.all().len();
    let ran = node.run("policy set fastest --watch").await;
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("no file 'fastest'"), "{}", ran.err);
    for name in ["fastest", "src/lib.rs"] {
        let ran = run(&node.tcp, &["policy", "set", name, "--watch"], "").await;
        assert_eq!(ran.exit, Exit::Usage);
        assert!(ran.err.contains("must be absolute"), "{}", ran.err);
    }
    assert_eq!(node.seen.all().len(), sent);
}

#[tokio::test]
async fn a_file_that_cannot_be_sent_is_told_before_the_node_is_asked() {
    let node = Node::start().await;
    let dir = folder(&[]);
    fs::write(dir.path().join("bytes.lua"), [0xff, 0xfe]).unwrap();
    fs::write(dir.path().join("large.lua"), "-".repeat(256 * 1024 + 1)).unwrap();
    for (name, exit, told) in [
        ("gone.lua", Exit::NotFound, "gone.lua: "),
        ("bytes.lua", Exit::Invalid, "is not UTF-8"),
        ("large.lua", Exit::Invalid, "is longer than 256.0 KiB"),
        ("", Exit::Invalid, "is a folder"),
    ] {
        let file = path(&dir, name);
        let commands = [
            vec!["check", &file],
            vec!["set", &file],
            vec!["bench", &file],
            vec!["test", "--policy", &file, &file],
        ];
        for words in commands {
            let ran = policy(&node, &words).await;
            assert_eq!((ran.exit, ran.out.as_str()), (exit, ""), "{words:?}: {ran:?}");
            assert!(ran.err.contains(told), "{words:?}: {}", ran.err);
        }
    }
    let gone = path(&dir, "gone.lua");
    let ran = policy(&node, &["check", &gone, "-o", "json"]).await;
    assert_eq!(error(&ran)["code"], "NOT_FOUND");
    let ran = policy(&node, &["test", &gone]).await;
    assert_eq!(ran.exit, Exit::NotFound);
    assert!(node.seen.all().is_empty());
}

#[tokio::test]
async fn a_name_that_the_node_does_not_know_is_its_error() {
    let node = Node::start().await;
    let dir = folder(&[("near_test.lua", "")]);
    let test = path(&dir, "near_test.lua");
    for words in [&["set"][..], &["bench"], &["test", &test, "--policy"]] {
        let ran = policy(&node, &[words, &["code:5"]].concat()).await;
        assert_eq!(ran.exit, Exit::NotFound, "{words:?}: {ran:?}");
        assert!(ran.err.starts_with("shoalctl: as asked\nhint: there is no file"), "{}", ran.err);
        let ran = policy(&node, &[words, &["near"]].concat()).await;
        assert!(ran.err.ends_with("hint: did you mean 'film'?\n"), "{words:?}: {}", ran.err);
        let ran = policy(&node, &[words, &["code:9"]].concat()).await;
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::Precondition, "shoalctl: as asked\n"));
    }
}

#[tokio::test]
async fn a_check_tells_everything_and_fails_where_there_are_errors() {
    let node = Node::start().await;
    let dir = folder(&[("near.lua", "return {}"), ("bad.lua", "return {}")]);
    let ran = policy(&node, &["check", &path(&dir, "near.lua"), "--set", "zone=b"]).await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""));
    assert_eq!(
        ran.out,
        "warning: bad.lua:7: warned of (syntax)\n  > 3 |    choose\u{fffd}\n\
         near.lua would be put in force\n\
         name:        near\n\
         description: our zone first\n\
         functions:   score on.tick\n\
         PARAMETER  TYPE    VALUE  DEFAULT  MEANING\n\
         zone       string  b      a        our\u{fffd}zone\n"
    );
    assert!(node.seen.last().contains("{\"zone\": \"b\"}"), "{}", node.seen.last());
    let bad = path(&dir, "bad.lua");
    let ran = policy(&node, &["check", &bad]).await;
    assert_eq!(ran.exit, Exit::Invalid);
    assert_eq!(ran.err, "shoalctl: bad.lua would not be put in force: 2 errors\n");
    let found = "error: bad.lua:3: '=' expected (syntax)\n  > 3 |    choose\u{fffd}\n\
                 error: bad.lua:3: no 'api' (syntax)\n";
    assert!(ran.out.starts_with(found), "{}", ran.out);
    assert!(ran.out.contains("\nwarning: ") && !ran.out.contains("would be"), "{}", ran.out);
    let ran = policy(&node, &["check", &bad, "-o", "json"]).await;
    assert_eq!(ran.exit, Exit::Invalid);
    assert_eq!(ran.json()["errors"][1]["message"], "no 'api'");
    assert_eq!(error(&ran)["reason"], "BAD_POLICY");
}

#[tokio::test]
async fn the_status_shows_the_shadow_and_the_policies_of_torrents() {
    let node = Node::start().await;
    let ran = node.run("policy status").await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""));
    for part in [
        "decisions:     120 asked for, 100 chosen, ",
        "watched file:  /policies/near.lua\n",
        "\nlog:\n  hello\u{fffd}[2J\n",
        "\nin the shadow:\n  policy:        shadow.lua (custom)\n",
        "\n  agreement:     75% (3 of 4 decisions)\n",
        "  film.webm.part3  -        -       10.0.0.3:7000  in the zone\n",
        "\ncdcdcdcdcdcd  own.lua  active        120        0       2  0 µs\n",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    assert_eq!(node.seen.last(), "GetPolicyRequest { torrent: None }");
    node.run("policy status --torrent film").await;
    assert_eq!(node.seen.last(), "GetPolicyRequest { torrent: Some(\"film\") }");
    let ran = node.run("policy reset --torrent film").await;
    assert_eq!(ran.out, "policy near.lua of torrent abababababab begins anew\n");
}

#[tokio::test]
async fn an_explanation_shows_candidates_and_who_is_none() {
    let node = Node::start().await;
    let ran = node.run("policy explain film.webm.part3").await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""));
    assert!(ran.out.contains("reason:  in the\u{fffd} zone\n"), "{}", ran.out);
    assert!(ran.out.contains("\nd 10.0.0.2:7002      1 "), "{}", ran.out);
    assert!(ran.out.contains("10.0.0.2:7003  has it not  it has 2 of 3 chunks\n"), "{}", ran.out);
    let seen = node.seen.last();
    assert_eq!(seen, "ExplainDecisionRequest { torrent: \"\", chunk: \"film.webm.part3\" }");
    let json = node.run("policy explain -o json").await.json();
    assert_eq!(json["candidates"][1]["score"], 1.0);
    assert_eq!(json["leftOut"][0]["why"], "LEFT_OUT_HAS_IT_NOT");
}

#[tokio::test]
async fn tests_are_told_one_by_one_and_the_exit_code_says_whether_all_held() {
    let node = Node::start().await;
    let dir = folder(&[
        ("far.lua", "return 2"),
        ("far_test.lua", "it fails"),
        ("near.lua", "return 1"),
        ("near_test.lua", "it holds"),
        ("other.lua", "policy 'fastest'"),
    ]);
    let near = path(&dir, "near_test.lua");
    let ran = policy(&node, &["test", &near]).await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""));
    assert_eq!(
        ran.out,
        format!("ok      {near}: prefers our zone (12 µs)\n1 test, 0 failed, 12 µs\n")
    );
    let seen = node.seen.last();
    assert!(seen.contains("Source(\"return 1\")") && seen.contains("\"near.lua\""), "{seen}");
    let ran = policy(&node, &["test", &path(&dir, "")]).await;
    assert_eq!(ran.exit, Exit::Precondition);
    assert_eq!(ran.err, "shoalctl: 1 of 3 tests failed\n");
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with("FAILED  ") && lines[3].starts_with("ok  "), "{}", ran.out);
    assert!(lines[1].ends_with("far_test.lua:3: expected \"near\", got \"far\""), "{}", ran.out);
    assert_eq!(lines[2], "    > 3 | expect(s.choose().peer, \"near\")\u{fffd}");
    assert_eq!(lines.last(), Some(&"3 tests, 1 failed, 36 µs"));
    let seen = node.seen.all();
    assert!(seen[seen.len() - 1].contains("policy: None"), "{seen:?}");
    assert!(seen[seen.len() - 3].contains("Source(\"return 2\")"), "{seen:?}");
    let ran = policy(&node, &["test", &path(&dir, ""), "-o", "json"]).await;
    assert_eq!(ran.exit, Exit::Precondition);
    assert_eq!(ran.json()["results"].as_array().unwrap().len(), 3);
    assert_eq!(error(&ran)["reason"], "TESTS_FAILED");
}

#[tokio::test]
async fn nothing_to_test_is_no_success() {
    let node = Node::start().await;
    let empty = folder(&[("notes.txt", "")]);
    let ran = policy(&node, &["test", &path(&empty, "")]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::NotFound, ""));
    assert!(ran.err.contains("no *.lua file is there"), "{}", ran.err);
    assert!(node.seen.all().is_empty());
    let dir = folder(&[("a.lua", "no tests")]);
    let ran = policy(&node, &["test", &path(&dir, "")]).await;
    assert_eq!(ran.exit, Exit::Precondition);
    assert!(ran.err.contains("no test was there"), "{}", ran.err);
}

#[tokio::test]
async fn a_junit_report_is_written_beside_the_table_or_to_standard_output() {
    let node = Node::start().await;
    let dir = folder(&[("a.lua", "it fails")]);
    let (test, report) = (path(&dir, "a.lua"), path(&dir, "report.xml"));
    fs::write(&report, "of an earlier run ".repeat(100)).unwrap();
    let ran = policy(&node, &["test", &test, "--junit", &report]).await;
    assert_eq!(ran.exit, Exit::Precondition);
    assert!(ran.out.starts_with("FAILED"), "{}", ran.out);
    let xml = fs::read_to_string(&report).unwrap();
    assert!(xml.starts_with("<?xml ") && xml.ends_with("</testsuites>\n"), "{xml}");
    assert!(xml.contains("tests=\"1\" failures=\"1\""), "{xml}");
    let ran = policy(&node, &["test", &test, "--junit", "-"]).await;
    assert_eq!((ran.exit, ran.out), (Exit::Precondition, xml));
    assert!(ran.err.starts_with("FAILED") && ran.err.contains("1 test, 1 failed"), "{}", ran.err);
    let ran = policy(&node, &["test", &test, "--junit", "-", "-o", "json"]).await;
    assert_eq!(ran.exit, Exit::Usage);
    let ran = policy(&node, &["test", &test, "--junit", &path(&dir, "gone/report.xml")]).await;
    assert_eq!(ran.exit, Exit::NotFound);
}

#[tokio::test]
async fn a_new_policy_needs_no_node_and_overwrites_nothing() {
    let dir = folder(&[]);
    let words = ["policy", "init", "near", "--dir", &path(&dir, "policies")];
    let ran = run("unix:///nowhere", &words, "").await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""), "{ran:?}");
    assert_eq!(ran.out.lines().filter(|line| line.starts_with("wrote ")).count(), 4);
    for name in ["near.lua", "near_test.lua", ".luarc.json", "types/shoal.d.lua"] {
        assert!(Path::new(&path(&dir, "policies")).join(name).is_file(), "{name}");
    }
    let ran = run("unix:///nowhere", &words, "").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Precondition, ""));
    assert!(ran.err.contains("near.lua exists: nothing was written\nhint: "), "{}", ran.err);
    let words = ["policy", "init", "far", "--dir", &path(&dir, "policies"), "-o", "json"];
    let ran = run("unix:///nowhere", &words, "").await;
    assert_eq!(ran.json()["created"].as_array().unwrap().len(), 2);
    let ran = run("unix:///nowhere", &["policy", "init", "../near"], "").await;
    assert_eq!(ran.exit, Exit::Usage);
}

#[tokio::test]
async fn a_written_policy_can_be_checked_and_tested_as_it_is() {
    let node = Node::start().await;
    let dir = folder(&[]);
    let line = format!("policy init near --dir {}\n", path(&dir, ""));
    let ran = run(&node.unix, &["shell"], &line).await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""), "a shell writes it too");
    assert_eq!(policy(&node, &["check", &path(&dir, "near.lua")]).await.exit, Exit::Ok);
    assert_eq!(policy(&node, &["test", &path(&dir, "")]).await.exit, Exit::Ok);
    let seen = node.seen.all();
    assert_eq!(seen.len(), 2, "the folder holds one test, and its policy is no other");
    assert!(seen[1].contains("source_name: \"near.lua\""), "{}", seen[1]);
}

#[tokio::test]
async fn a_simulation_is_asked_for_with_files_of_this_side_and_its_report_printed() {
    let node = Node::start().await;
    let dir = folder(&[("near.lua", "return 1"), ("mine.toml", "name = 'mine'")]);
    let (near, mine) = (path(&dir, "near.lua"), path(&dir, "mine.toml"));
    let ran = policy(&node, &["sim"]).await;
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""));
    assert_eq!(ran.out, "flash_crowd\n  hosts\u{fffd}  121\n");
    let seen = node.seen.last();
    assert!(seen.contains("PlanName(\"flash_crowd\")") && seen.contains("seed: Some(1)"), "{seen}");
    let words = ["sim", &mine, "--policy", &near, "--set", "zone=b", "--small", "--compare"];
    let ran = policy(&node, &[&words[..], &["native:fastest", "random"]].concat()).await;
    assert_eq!(ran.exit, Exit::Ok, "{ran:?}");
    let seen = node.seen.last();
    for part in [
        "PlanToml(\"name = 'mine'\")",
        "Source(\"return 1\")",
        "{\"zone\": \"b\"}",
        "Name(\"native:fastest\")",
        "Name(\"random\")",
        "small: true, picture: false",
        &format!("plan_file: \"{mine}\""),
    ] {
        assert!(seen.contains(part), "{part} in {seen}");
    }
}

#[tokio::test]
async fn a_simulation_is_a_document_a_picture_and_an_exit_code() {
    let node = Node::start().await;
    let dir = folder(&[]);
    let picture = path(&dir, "curves.svg");
    let ran = policy(&node, &["sim", "baseline", "-o", "json", "--picture", &picture]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, "{\"holds\":true}\n"));
    assert_eq!(fs::read_to_string(&picture).expect("it is there"), "<svg/>");
    let ran = policy(&node, &["sim", "--seed", "13"]).await;
    assert_eq!(ran.exit, Exit::Precondition);
    assert!(ran.out.starts_with("flash_crowd\n"));
    let again = "hint: again by: shoald sim flash_crowd --seed 13\n";
    assert_eq!(ran.err, format!("shoalctl: 1 run did not hold\n{again}"));
    for (words, exit) in [
        (&["sim", "--set", "a=1"][..], Exit::Usage),
        (&["sim", "--seeds", "65"], Exit::Usage),
        (&["sim", "none.toml"], Exit::NotFound),
        (&["sim", "--policy", "./none.lua"], Exit::NotFound),
        (&["sim", "--policy", "cut"], Exit::Internal),
        (&["sim", "--policy", "code:5"], Exit::NotFound),
        (&["sim", "--policy", "hang", "--timeout", "50ms"], Exit::Deadline),
    ] {
        let ran = policy(&node, words).await;
        assert_eq!((ran.exit, ran.out.as_str()), (exit, ""), "{words:?}: {ran:?}");
    }
}
