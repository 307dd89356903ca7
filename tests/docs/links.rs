//! Links within the repository lead somewhere, down to the heading.

use std::{fs, path::Path};

use crate::page::{Page, root};

/// The anchor of a heading, as forges make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|&c| c.is_alphanumeric() || c == ' ' || c == '-' || c == '_');
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(prose: &str) -> Vec<String> {
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

/// The targets of `[text](target)` outside of code.
fn targets(prose: &str) -> Vec<String> {
    let plain: String = prose.split('`').step_by(2).collect::<Vec<_>>().join("``");
    let parts = plain.split("](").skip(1);
    parts.filter_map(|part| Some(part.split_once(')')?.0.to_owned())).collect()
}

#[test]
fn links_lead_somewhere() {
    let (mut seen, mut bad) = (0, Vec::new());
    for page in Page::all() {
        for target in targets(&page.prose()) {
            if target.contains("://") {
                continue;
            }
            seen += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let here = root().join(&page.name);
            let folder = here.parent().unwrap_or(root());
            let file = if path.is_empty() { here.clone() } else { folder.join(path) };
            if !leads(&file, anchor) {
                bad.push(format!("{}: {target}", page.name));
            }
        }
    }
    assert!(seen > 20, "only {seen} links");
    assert!(bad.is_empty(), "{bad:#?}");
}

fn leads(file: &Path, anchor: &str) -> bool {
    if anchor.is_empty() {
        return file.exists();
    }
    let Ok(text) = fs::read_to_string(file) else { return false };
    let page = Page { name: String::new(), text };
    anchors(&page.prose()).iter().any(|known| known == anchor)
}
