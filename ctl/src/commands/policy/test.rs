//! `shoalctl policy test`: which files are tests, of which policy, and what they said. Never here: a
//! test's run.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use shoal::v1;

use super::{
    junit,
    source::{Given, advise, params, text},
};
use crate::{
    clean::{clean, clean_lines},
    cli::policy::TestArgs,
    failure::Failure,
    grid::indent,
    human,
    session::Session,
};

/// Most test files of a call.
const FILES_MAX: usize = 64;

/// Most bytes of the test files of a call, together.
const SOURCES_LEN_MAX: usize = 1024 * 1024;

pub(super) async fn test(s: &mut Session<'_>, args: &TestArgs) -> Result<(), Failure> {
    let to_stdout = args.junit.as_deref() == Some(Path::new("-"));
    if to_stdout && !s.format.is_table() {
        return Err(Failure::usage("--junit - and -o both want standard output"));
    }
    let mut reply = v1::TestPolicyResponse::default();
    for call in calls(args)? {
        let named = call.policy.as_ref().and_then(|policy| policy.policy.clone());
        let answer = s
            .patient(s.policy().test_policy(s.long_request(call)))
            .await
            .map_err(|failure| advise(named.as_ref(), failure))?;
        reply.results.extend(answer.results);
    }
    if to_stdout {
        s.write(&junit::report(&reply.results))?;
        let told = told(&reply.results);
        told.lines().for_each(|line| s.ask(line));
    } else {
        s.reply(&reply, |reply, _| told(&reply.results))?;
        if let Some(path) = &args.junit {
            save(path, &junit::report(&reply.results))?;
        }
    }
    judge(&reply.results)
}

/// Replaces the report of the run before; what is no file (`/dev/null`) is written to.
fn save(path: &Path, report: &str) -> Result<(), Failure> {
    fs::File::create(path)
        .and_then(|mut file| file.write_all(report.as_bytes()))
        .map_err(|e| Failure::file(path, &e))
}

/// The requests: tests of the same policy together, as far as the limits of a call go.
fn calls(args: &TestArgs) -> Result<Vec<v1::TestPolicyRequest>, Failure> {
    let params = params(&args.params)?;
    let given = args.policy.as_deref().map(Given::read).transpose()?;
    let of_all = given.map(|given| given.with(params.clone()));
    let mut calls: Vec<v1::TestPolicyRequest> = Vec::new();
    let mut len = 0;
    for path in test_files(&args.tests)? {
        let source = text(&path, SOURCES_LEN_MAX as u64)?;
        let policy = match (&of_all, beside(&path)) {
            (Some(policy), _) => Some(policy.clone()),
            (None, Some(beside)) => Some(Given::file(&beside)?.with(params.clone())),
            (None, None) if params.is_empty() => None,
            (None, None) => {
                return Err(Failure::usage(format!(
                    "--set needs --policy: {} has no policy beside it",
                    path.display()
                )));
            }
        };
        len += source.len();
        let file = v1::TestFile { name: path.display().to_string(), source };
        match calls.last_mut().filter(|call| {
            call.policy == policy && call.files.len() < FILES_MAX && len <= SOURCES_LEN_MAX
        }) {
            Some(call) => call.files.push(file),
            None => {
                len = file.source.len();
                calls.push(v1::TestPolicyRequest { policy, files: vec![file] });
            }
        }
    }
    Ok(calls)
}

/// The files that are named, folders by their Lua files.
fn test_files(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in named {
        if path.is_dir() {
            files.extend(folder(path)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// The tests of a folder: its Lua files in order of name, but for a policy whose test is there too.
fn folder(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |e: &std::io::Error| Failure::file(path, e);
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(path).map_err(|e| failed(&e))? {
        let file = entry.map_err(|e| failed(&e))?.path();
        if file.extension().is_some_and(|extension| extension == "lua") && file.is_file() {
            files.insert(file);
        }
    }
    let policies: Vec<PathBuf> = files
        .iter()
        .filter_map(|test| beside(test))
        .filter(|policy| files.contains(policy))
        .collect();
    for policy in policies {
        files.remove(&policy);
    }
    if files.is_empty() {
        return Err(Failure::no_file(format!("{}: no *.lua file is there", path.display())));
    }
    Ok(files.into_iter().collect())
}

/// The policy that a test stands beside: `x.lua`, for `x_test.lua`.
fn beside(test: &Path) -> Option<PathBuf> {
    let stem = test.file_name()?.to_str()?.strip_suffix("_test.lua").filter(|s| !s.is_empty())?;
    Some(test.with_file_name(format!("{stem}.lua"))).filter(|policy| policy.is_file())
}

/// A line a test, the report of each that failed, and the sum.
fn told(results: &[v1::TestResult]) -> String {
    let mut text = String::new();
    for result in results {
        let (file, name) = (clean(&result.file), clean(&result.name));
        let spent = human::micros(result.spent_us);
        if result.passed {
            text.push_str(&format!("ok      {file}: {name} ({spent})\n"));
            continue;
        }
        text.push_str(&format!("FAILED  {file}: {name} ({spent})\n"));
        let place =
            if result.line > 0 { format!("{file}:{}: ", result.line) } else { String::new() };
        text.push_str(&format!("  {place}{}\n", clean(&result.message)));
        text.push_str(&indent(&indent(&clean_lines(&result.report))));
    }
    let spent = results.iter().fold(0, |sum: u64, result| sum.saturating_add(result.spent_us));
    let count = human::count(results.len() as u64, "test");
    text.push_str(&format!("{count}, {} failed, {}\n", failed(results), human::micros(spent)));
    text
}

fn failed(results: &[v1::TestResult]) -> usize {
    results.iter().filter(|result| !result.passed).count()
}

fn judge(results: &[v1::TestResult]) -> Result<(), Failure> {
    match (failed(results), results.len() as u64) {
        (_, 0) => Err(Failure::tests_failed("no test was there to run")),
        (0, _) => Ok(()),
        (failed, all) => {
            Err(Failure::tests_failed(format!("{failed} of {} failed", human::count(all, "test"))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::policy::Params;

    fn args(tests: &[&Path]) -> TestArgs {
        TestArgs {
            tests: tests.iter().map(|&path| path.to_owned()).collect(),
            policy: None,
            params: Params { set: Vec::new() },
            junit: None,
        }
    }

    fn write(dir: &Path, names: &[&str]) {
        for name in names {
            fs::write(dir.join(name), format!("-- {name}")).unwrap();
        }
    }

    /// Each call: its policy's file, and the names of its tests.
    fn planned(args: &TestArgs) -> Vec<(String, Vec<String>)> {
        let name = |file: &v1::TestFile| {
            Path::new(&file.name).file_name().unwrap().to_str().unwrap().to_owned()
        };
        calls(args)
            .unwrap()
            .into_iter()
            .map(|call| {
                let policy = call.policy.map(|policy| policy.source_name).unwrap_or_default();
                (policy, call.files.iter().map(name).collect())
            })
            .collect()
    }

    #[test]
    fn a_folder_is_its_tests_in_order_each_with_the_policy_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &["b_test.lua", "b.lua", "a.lua", "c_test.lua", "notes.txt", "_test.lua"],
        );
        fs::create_dir(dir.path().join("types.lua")).unwrap();
        let own = |names: &[&str]| (String::new(), names.iter().map(|&n| n.to_owned()).collect());
        let wanted = vec![
            own(&["_test.lua", "a.lua"]),
            ("b.lua".to_owned(), vec!["b_test.lua".to_owned()]),
            own(&["c_test.lua"]),
        ];
        assert_eq!(planned(&args(&[dir.path()])), wanted);
    }

    #[test]
    fn a_policy_that_is_named_is_that_of_every_test() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &["b_test.lua", "b.lua", "c_test.lua"]);
        let mut args = args(&[dir.path()]);
        args.policy = Some("fastest".to_owned());
        args.params.set.push(("zone".to_owned(), "b".to_owned()));
        let calls = calls(&args).unwrap();
        assert_eq!((calls.len(), calls[0].files.len()), (1, 2));
        let policy = calls[0].policy.clone().unwrap();
        assert_eq!(policy, Given::Name("fastest".to_owned()).with(params(&args.params).unwrap()));
    }

    #[test]
    fn parameters_need_a_policy() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &["b_test.lua", "b.lua", "c_test.lua"]);
        let mut args = args(&[&dir.path().join("b_test.lua")]);
        args.params.set.push(("zone".to_owned(), "b".to_owned()));
        assert_eq!(calls(&args).unwrap()[0].policy.as_ref().unwrap().params["zone"], "b");
        args.tests = vec![dir.path().join("c_test.lua")];
        assert!(calls(&args).is_err());
    }

    #[test]
    fn a_call_keeps_the_limits_of_the_node() {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..=FILES_MAX).map(|i| format!("{i:03}_test.lua")).collect();
        write(dir.path(), &names.iter().map(String::as_str).collect::<Vec<_>>());
        let sizes = |args: &TestArgs| -> Vec<usize> {
            calls(args).unwrap().iter().map(|call| call.files.len()).collect()
        };
        assert_eq!(sizes(&args(&[dir.path()])), [FILES_MAX, 1]);
        let [one, two, three] = [0, 1, 2].map(|i| dir.path().join(&names[i]));
        fs::write(&one, "-".repeat(SOURCES_LEN_MAX - 8)).unwrap();
        fs::write(&two, "-".repeat(8)).unwrap();
        fs::write(&three, "-").unwrap();
        assert_eq!(sizes(&args(&[&one, &two, &three])), [2, 1]);
        fs::write(&one, "-".repeat(SOURCES_LEN_MAX + 1)).unwrap();
        assert!(calls(&args(&[&one])).is_err());
    }

    #[test]
    fn each_test_is_a_line_and_a_failed_one_has_its_report() {
        let ok = v1::TestResult {
            file: "near_test.lua".to_owned(),
            name: "prefers our zone".to_owned(),
            passed: true,
            spent_us: 12,
            ..v1::TestResult::default()
        };
        let bad = v1::TestResult {
            name: "spills\x1b[2J".to_owned(),
            passed: false,
            message: "expected \"far\", got \"near\"".to_owned(),
            line: 14,
            report: "> 14 |\texpect(s.choose().peer, \"far\")".to_owned(),
            ..ok.clone()
        };
        assert_eq!(
            told(&[ok, bad]),
            "ok      near_test.lua: prefers our zone (12 µs)\n\
             FAILED  near_test.lua: spills\u{fffd}[2J (12 µs)\n  \
             near_test.lua:14: expected \"far\", got \"near\"\n    \
             > 14 |    expect(s.choose().peer, \"far\")\n\
             2 tests, 1 failed, 24 µs\n"
        );
    }
}
