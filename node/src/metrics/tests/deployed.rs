//! The files of `deploy/` against what a node tells: a dashboard or an alert about a metric that does
//! not exist is silent for ever.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{page::Page, *};

const DASHBOARD: &str = include_str!("../../../../deploy/grafana/shoal.json");
const ALERTS: &str = include_str!("../../../../deploy/prometheus/alerts.yml");

/// The metrics that an expression names: words with an underscore and a known first one, no labels
/// and no functions. And `up`, which Prometheus makes.
fn metrics_in(expr: &str) -> BTreeSet<&str> {
    let words = expr.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let is_ours = |word: &&str| {
        let labels = ["grpc_service", "grpc_method", "grpc_code"];
        ["shoal_", "grpc_", "process_"].iter().any(|own| word.starts_with(own))
            && !labels.contains(word)
    };
    words.filter(is_ours).collect()
}

/// What a node in both roles tells, once it was used.
async fn told() -> Page {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path()).await;
    use_it(&node, dir.path(), "a").await;
    let page = Page::settled(node.metrics_addr().unwrap()).await;
    node.shutdown().await;
    page
}

#[track_caller]
fn all_are_told(page: &Page, expr: &str) {
    let (told, named) = (page.names(), metrics_in(expr));
    assert!(!named.is_empty() || expr.contains("up{"), "no metric in {expr}");
    let missing: Vec<_> = named.difference(&told).collect();
    assert!(missing.is_empty(), "{missing:?} in {expr}");
    for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
        let count = |wanted| expr.chars().filter(|c| *c == wanted).count();
        assert_eq!(count(open), count(close), "{expr}");
    }
}

#[tokio::test]
async fn the_dashboard_shows_what_a_node_tells() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let page = told().await;
    let panels = dashboard["panels"].as_array().unwrap();
    let (mut shown, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{}", panel["title"]);
        for target in targets {
            let expr = target["expr"].as_str().unwrap();
            all_are_told(&page, expr);
            shown.extend(metrics_in(expr).into_iter().map(str::to_owned));
            assert!(expr.contains("$instance"), "{expr} is of all nodes whichever are chosen");
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            all_are_told(&page, variable["query"].as_str().unwrap());
        }
    }
    // And what a node tells is shown, but for the parts of histograms.
    let parts = ["_sum", "_count"];
    let told =
        page.names().into_iter().filter(|name| !parts.iter().any(|part| name.ends_with(part)));
    let hidden: Vec<_> = told.filter(|name| !shown.contains(*name)).collect();
    assert!(hidden.iter().all(|name| HIDDEN.contains(name)), "{hidden:?}");
}

/// What is told and not shown.
const HIDDEN: [&str; 0] = [];

#[tokio::test]
async fn alerts_are_about_what_a_node_tells() {
    let page = told().await;
    let (mut alerts, mut exprs) = (Vec::new(), Vec::new());
    let mut lines = ALERTS.lines().filter(|line| !line.trim_start().starts_with('#')).peekable();
    while let Some(line) = lines.next() {
        assert!(!line.contains('\t'), "{line}");
        let line = line.trim();
        if let Some(name) = line.strip_prefix("- alert: ") {
            alerts.push(name);
        } else if let Some(expr) = line.strip_prefix("expr: ") {
            let mut whole = expr.trim_start_matches(">-").to_owned();
            while expr == ">-" && lines.peek().is_some_and(|next| next.starts_with("          ")) {
                whole.push(' ');
                whole.push_str(lines.next().unwrap_or_default().trim());
            }
            exprs.push(whole);
        }
    }
    assert!((5..=12).contains(&alerts.len()), "a handful: {alerts:?}");
    assert_eq!(alerts.len(), exprs.len());
    assert_eq!(alerts.iter().collect::<BTreeSet<_>>().len(), alerts.len(), "{alerts:?}");
    exprs.iter().for_each(|expr| all_are_told(&page, expr));
    for said in ["summary:", "action:", "severity:"] {
        assert_eq!(ALERTS.matches(said).count(), alerts.len(), "each alert has its {said}");
    }
}
