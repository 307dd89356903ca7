//! The results of tests as JUnit XML, as build servers read it. Never here: where it goes.

use shoal::v1;

use crate::clean::{clean, clean_lines};

/// The document: a suite a file, a case a test.
pub(super) fn report(results: &[v1::TestResult]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    text.push_str(&format!("<testsuites name=\"shoalctl policy test\" {}>\n", sums(results)));
    for suite in results.chunk_by(|one, next| one.file == next.file) {
        let file = suite.first().map_or("", |result| &result.file);
        text.push_str(&format!("  <testsuite name=\"{}\" {}>\n", attribute(file), sums(suite)));
        for result in suite {
            text.push_str(&case(result));
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

fn sums(results: &[v1::TestResult]) -> String {
    let failed = results.iter().filter(|result| !result.passed).count();
    let spent = results.iter().fold(0, |sum: u64, result| sum.saturating_add(result.spent_us));
    format!(
        "tests=\"{}\" failures=\"{failed}\" errors=\"0\" time=\"{}\"",
        results.len(),
        seconds(spent)
    )
}

fn case(result: &v1::TestResult) -> String {
    let (file, name) = (attribute(&result.file), attribute(&result.name));
    let line = if result.line > 0 { format!(" line=\"{}\"", result.line) } else { String::new() };
    let head = format!(
        "    <testcase classname=\"{file}\" name=\"{name}\" file=\"{file}\"{line} time=\"{}\"",
        seconds(result.spent_us)
    );
    if result.passed {
        return format!("{head}/>\n");
    }
    format!(
        "{head}>\n      <failure message=\"{}\">{}</failure>\n    </testcase>\n",
        attribute(&result.message),
        content(&result.report)
    )
}

/// Microseconds as seconds.
fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

/// Text of one line, as it may stand in an attribute.
fn attribute(text: &str) -> String {
    escaped(&clean(text))
}

/// Text of several lines, as it may stand in an element.
fn content(text: &str) -> String {
    escaped(&clean_lines(text))
}

/// XML has no way to write most control characters, nor U+FFFE and U+FFFF; the former are cleaned.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_a_file_and_hostile_text_is_escaped() {
        let result = |file: &str, name: &str, passed| v1::TestResult {
            file: file.to_owned(),
            name: name.to_owned(),
            passed,
            spent_us: 1_500,
            ..v1::TestResult::default()
        };
        let failed = v1::TestResult {
            message: "got\n<b>".to_owned(),
            line: 7,
            report: "]]>\n\x1b & \u{ffff}".to_owned(),
            ..result("b.lua", "\"2\"", false)
        };
        assert_eq!(
            report(&[result("a.lua", "one", true), failed]),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites name=\"shoalctl policy test\" tests=\"2\" failures=\"1\" errors=\"0\" \
             time=\"0.003000\">\n  \
             <testsuite name=\"a.lua\" tests=\"1\" failures=\"0\" errors=\"0\" time=\"0.001500\">\n    \
             <testcase classname=\"a.lua\" name=\"one\" file=\"a.lua\" time=\"0.001500\"/>\n  \
             </testsuite>\n  \
             <testsuite name=\"b.lua\" tests=\"1\" failures=\"1\" errors=\"0\" time=\"0.001500\">\n    \
             <testcase classname=\"b.lua\" name=\"&quot;2&quot;\" file=\"b.lua\" line=\"7\" \
             time=\"0.001500\">\n      \
             <failure message=\"got\u{fffd}&lt;b&gt;\">]]&gt;\n\u{fffd} &amp; \u{fffd}</failure>\n    \
             </testcase>\n  \
             </testsuite>\n\
             </testsuites>\n"
        );
    }

    #[test]
    fn nothing_is_a_report_too() {
        assert!(report(&[]).contains("tests=\"0\""));
    }
}
