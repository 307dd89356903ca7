//! Errors and warnings of a policy as its author reads them. Never here: where they are shown.

use shoal::v1;

use crate::{
    clean::{clean, clean_lines},
    grid::indent,
    human,
};

/// `near.lua:3: attempt to index nil (runtime)`, and the whole report below it.
pub(super) fn diagnostic(label: &str, error: &v1::PolicyError) -> String {
    told(label, error, &clean(&error.kind))
}

/// The same with how often and when.
pub(super) fn happened(label: &str, error: &v1::PolicyError) -> String {
    let mut how = clean(&error.kind).into_owned();
    if error.count > 0 {
        how.push_str(&format!(", {}", human::count(error.count, "time")));
    }
    if error.at.is_some() {
        how.push_str(&format!(", last {}", human::time(error.at.as_ref())));
    }
    told(label, error, &how)
}

fn told(label: &str, error: &v1::PolicyError, how: &str) -> String {
    let place = match (error.file.as_str(), error.line) {
        ("", _) => String::new(),
        (file, 0) => format!("{}: ", clean(file)),
        (file, line) => format!("{}:{line}: ", clean(file)),
    };
    let message = clean(&error.message);
    format!("{label}: {place}{message} ({how})\n{}", indent(&clean_lines(&error.report)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_stands_below_its_place_and_message() {
        let error = v1::PolicyError {
            kind: "runtime".to_owned(),
            file: "near.lua".to_owned(),
            line: 3,
            message: "attempt to index nil".to_owned(),
            report: "3 | local x = y.z\n\t^".to_owned(),
            at: None,
            count: 2,
        };
        assert_eq!(
            happened("last error", &error),
            "last error: near.lua:3: attempt to index nil (runtime, 2 times)\n  \
             3 | local x = y.z\n      ^\n"
        );
        let bare = v1::PolicyError { line: 0, report: String::new(), ..error };
        assert_eq!(diagnostic("error", &bare), "error: near.lua: attempt to index nil (runtime)\n");
    }
}
