//! Commands that pages show are run, in the order in which they stand there: the blocks behind
//! `<!-- run -->`, one script a page, on ports and in a folder of its own. It needs the programs.

use std::{
    env,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::page::{Page, root};

/// How long a page may take, seconds.
const LIMIT_S: &str = "120";

/// The folder of `shoald` and `shoalctl`, or none with a loud word.
fn programs() -> Option<PathBuf> {
    let named = env::var_os("SHOALD_BIN").map(PathBuf::from);
    let shoald =
        named.or_else(|| Some(env::current_exe().ok()?.parent()?.parent()?.join("shoald")))?;
    let folder = shoald.parent()?.to_owned();
    if shoald.is_file() && folder.join("shoalctl").is_file() {
        return Some(folder);
    }
    let text = format!("SKIPPED: no shoald and shoalctl in {}; set SHOALD_BIN", folder.display());
    assert!(env::var_os("SHOAL_REQUIRE_BINARIES").is_none(), "{text}");
    eprintln!("{text}");
    None
}

/// The blocks of a page that are run, as one script.
fn script(page: &Page) -> String {
    let lines: Vec<_> = page.text.lines().collect();
    let marked = page.blocks().into_iter().filter(|&(_, first, _)| {
        // The block's first line from 1, its fence above, the mark above that.
        first >= 3 && lines[first - 3] == "<!-- run -->"
    });
    marked.map(|(_, _, text)| text).collect()
}

/// Runs a script with the ports and the folder of the pages replaced; what it left running ends.
fn run(script: &str) -> Option<Output> {
    let programs = programs()?;
    let dir = tempfile::tempdir().unwrap();
    let ports = [(); 5].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let mut script = script.replace("/tmp/shoal", &dir.path().join("s").display().to_string());
    for (shown, free) in ["7001", "7000", "7010", "7002", "7003"].iter().zip(&ports) {
        let free = free.local_addr().unwrap().port();
        for host in ["127.0.0.1:", "127.0.0.1 ", "0.0.0.0:", "localhost:"] {
            script = script.replace(&format!("{host}{shown}"), &format!("{host}{free}"));
        }
    }
    drop(ports);
    let whole =
        format!("set -euxo pipefail\nmkdir -p s\ntrap 'kill $(jobs -p) || :; wait' EXIT\n{script}");
    let path = format!("{}:{}", programs.display(), env::var("PATH").unwrap_or_default());
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", LIMIT_S, "bash", "-c", &whole]);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("SHOAL") {
            command.env_remove(name);
        }
    }
    command.env("PATH", path).env("HOME", dir.path()).env_remove("XDG_STATE_HOME");
    command.env_remove("XDG_CONFIG_HOME").current_dir(dir.path()).stdin(Stdio::null());
    Some(command.output().unwrap())
}

#[track_caller]
fn assert_runs(name: &str, before: &str) {
    let page = Page::read(&root().join(Path::new(name)));
    let script = script(&page);
    assert!(script.lines().count() > 5, "{name}: hardly anything to run");
    let Some(output) = run(&format!("{before}{script}")) else { return };
    let said = format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{name}: {}\n{said}", output.status);
}

/// What the pages beside `operating.md` take for granted.
fn a_node() -> String {
    script(&Page::read(&root().join("docs/operating.md"))).lines().fold(
        String::new(),
        |mut script, line| {
            if !script.contains("shoalctl connect-tracker") {
                script.push_str(line);
                script.push('\n');
            }
            script
        },
    )
}

#[test]
fn the_commands_of_the_readme_run() {
    assert_runs("README.md", "");
}

#[test]
fn the_commands_of_operating_run() {
    assert_runs("docs/operating.md", "");
}

#[test]
fn the_commands_of_policies_run() {
    assert_runs("docs/policies.md", &a_node());
}
