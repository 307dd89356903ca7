//! That bounds hold where they say, and that no input is too bad to be refused in one line.

use super::*;
use crate::plan::limits::PLAN_LEN_MAX;

#[test]
fn each_bound_holds_at_and_not_beyond() {
    let check = |most: usize, key: &str, plan: &dyn Fn(usize) -> String| {
        let at = Plan::read(&plan(most));
        assert!(at.is_ok(), "{key}: {at:?}");
        let beyond = Plan::read(&plan(most + 1)).unwrap_err().to_string();
        assert!(beyond.contains(key), "{key}: {beyond}");
    };
    let many =
        |count: usize, table: &dyn Fn(usize) -> String| (0..count).map(table).collect::<String>();
    check(PLAN_LEN_MAX, "may have 262144", &|bytes| {
        format!("{LEAST}#{}", "x".repeat(bytes - LEAST.len() - 1))
    });
    check(64, "name", &|letters| LEAST.replace("least", &"x".repeat(letters)));
    let described = |letters| format!("description = '{}'{LEAST}", "é".repeat(letters));
    check(256, "description", &described);
    check(64, "class", &|count| {
        let class = |i| format!("[[class]]\nname = \"c{i}\"\ncount = 1\n");
        format!("{LEAST}{}", many(count - 1, &class))
    });
    check(64, "zone", &|count| {
        let zone = |i| format!("[[zone]]\nname = \"z{i}\"\n");
        format!("{LEAST}zone = \"z0\"\n{}", many(count, &zone))
    });
    check(256, "fault", &|count| {
        let fault = |_| "[[fault]]\nkind = \"crash\"\nclass = \"seed\"\nat = \"1s\"\n".to_owned();
        format!("{LEAST}{}", many(count, &fault))
    });
    check(100_000, "count", &|count| LEAST.replace("count = 1", &format!("count = {count}")));
    check(1 << 20, "content", &|pieces| {
        let content = format!("piece = \"16KiB\"\ncontent = {}", pieces << 14);
        LEAST.replace("content = \"1MiB\"", &content)
    });
}

#[test]
fn split_classes_and_faults_count_for_each_zone() {
    let zones = (0..33).map(|i| format!("[[zone]]\nname = \"z{i}\"\n")).collect::<String>();
    let names = (0..33).map(|i| format!("\"z{i}\",")).collect::<String>();
    let class = |name: &str| {
        format!("[[class]]\nname = \"{name}\"\ncount = 33\nzones = [{names}]\nhas = 1\n")
    };
    let head = format!("name = \"x\"\ncontent = \"1MiB\"\n{zones}{}", class("a"));
    let error = Plan::read(&format!("{head}{}", class("b"))).unwrap_err().to_string();
    assert!(
        error.contains("class: what is in several zones counts in each: these are 66"),
        "{error}"
    );
    let fault = "[[fault]]\nkind = \"crash\"\nclass = \"a\"\nat = \"1s\"\n";
    let error = Plan::read(&format!("{head}{}", fault.repeat(8))).unwrap_err().to_string();
    assert!(error.contains("fault: what is in several zones counts in each: these are 264"));
}

/// Values that fit nowhere, or only just.
const NASTY: &[&str] = &[
    "",
    "=",
    "0",
    "-1",
    "1e308",
    "nan",
    "-inf",
    "9223372036854775807",
    "-9223372036854775808",
    "true",
    "\"\"",
    "\"\\u0000\\n\"",
    "\"99999999999999999999EiB\"",
    "\"18446744073709551615d\"",
    "\"0s\"",
    "\"-5%\"",
    "\"🐟\"",
    "[]",
    "{}",
    "[[]]",
    "[{}]",
    "[\"a\", \"a\"]",
    "{ over = [] }",
    "{ about = {} }",
    "1979-05-27T07:32:00Z",
    "[[[[[[[[[[[[[[[[",
    "\"\"\"x",
];

#[test]
fn no_input_panics_and_every_error_is_one_line() {
    let check = |text: &str| {
        if let Err(error) = Plan::read(text) {
            let said = error.to_string();
            assert!(!said.contains('\n') && said.len() < 400, "{said}");
        }
    };
    for text in shipped::all().map(|(_, text)| text).chain([FULL, LEAST]) {
        let lines = text.lines().collect::<Vec<_>>();
        for (index, line) in lines.iter().enumerate().filter(|(_, line)| !line.starts_with('#')) {
            let mut with = lines.clone();
            with.remove(index);
            check(&with.join("\n"));
            let Some((key, _)) = line.split_once('=') else { continue };
            for value in NASTY {
                let bad = format!("{key}= {value}");
                let mut with = lines.clone();
                with[index] = &bad;
                check(&with.join("\n"));
            }
        }
    }
    for end in 0..FULL.len() {
        check(&FULL[..end]);
    }
    check(&"[".repeat(PLAN_LEN_MAX));
    check(&format!("x = {}", "[".repeat(100_000)));
    check(&"a.".repeat(100_000));
    check(&format!("{} = 1", "a".repeat(100_000)));
}
