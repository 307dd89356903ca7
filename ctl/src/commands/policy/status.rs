//! `shoalctl policy status`: the policy in force, what runs in its shadow, and the policies of single
//! torrents. Never here: how any of it is counted.

use std::collections::HashMap;

use shoal::v1;

use super::report::happened;
use crate::{
    clean::clean,
    cli::policy::Scope,
    failure::Failure,
    grid::{Column, Grid, block_within, indent},
    human,
    session::Session,
};

pub(super) async fn status(s: &mut Session<'_>, scope: Scope) -> Result<(), Failure> {
    let request = s.request(v1::GetPolicyRequest { torrent: scope.torrent });
    let reply = s.unary(s.policy().get_policy(request)).await?;
    s.reply(&reply, whole)
}

fn whole(reply: &v1::GetPolicyResponse, width: Option<usize>) -> String {
    let mut text = String::new();
    if let Some(status) = &reply.status {
        text.push_str(&block_within(width, in_force(status)));
        text.push_str(&happenings(status));
    }
    if let Some(shadow) = &reply.shadow {
        text.push_str("\nin the shadow:\n");
        text.push_str(&indent(&shadowed(shadow, width.map(|width| width.saturating_sub(2)))));
    }
    if !reply.torrents.is_empty() {
        text.push_str("\ntorrents with a policy of their own:\n");
        text.push_str(&torrents(&reply.torrents).render(width));
    }
    text
}

type Lines = Vec<(&'static str, String)>;

/// A line for each figure. What does not apply to a native policy has none.
fn in_force(status: &v1::PolicyStatus) -> Lines {
    let mut lines = identity(status);
    lines.extend([("decisions", decisions(status)), ("by default", by_default(status))]);
    lines.extend(cost(status));
    lines.push(("policy thread", format!("{} of CPU time", human::micros(status.thread_cpu_us))));
    lines
}

/// What it is, and whether it works.
fn identity(status: &v1::PolicyStatus) -> Lines {
    let kind = human::word(status.kind().as_str_name(), "POLICY_KIND_");
    let mut lines = vec![("policy", format!("{} ({kind})", status.name))];
    if !status.info_hash.is_empty() {
        lines.push(("torrent", status.info_hash.clone()));
    }
    lines.extend([
        ("description", or_dash(status.description.clone())),
        ("state", state(status)),
        ("parameters", human::pairs(&status.params)),
    ]);
    if status.kind() != v1::PolicyKind::Native {
        lines.extend([
            ("functions", or_dash(status.hooks.join(" "))),
            ("state version", status.version.to_string()),
            ("content hash", or_dash(status.content_hash.clone())),
            ("watched file", or_dash(status.watched_path.clone())),
        ]);
    }
    lines
}

/// Errors, time, and what else its calls used.
fn cost(status: &v1::PolicyStatus) -> Lines {
    let mut lines =
        vec![("errors", map(&status.errors, |count| count.to_string())), ("time", times(status))];
    if status.kind() != v1::PolicyKind::Native {
        let events = format!("{} handled, {} dropped", status.events, status.events_dropped);
        lines.extend([
            ("events", events),
            ("memory", human::bytes(status.memory_bytes)),
            ("metrics", map(&status.metrics, human::number)),
        ]);
    }
    lines
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

/// `key=value` in order of key; `-` for none.
fn map<V: Copy>(map: &HashMap<String, V>, shown: fn(V) -> String) -> String {
    let pairs: HashMap<String, String> =
        map.iter().map(|(key, &value)| (key.clone(), shown(value))).collect();
    human::pairs(&pairs)
}

fn state(status: &v1::PolicyStatus) -> String {
    let trips = match status.trips {
        0 => String::new(),
        trips => format!(", tripped {}", human::count(trips, "time")),
    };
    match status.state() {
        v1::PolicyState::Tripped => format!(
            "tripped until {}, the default policy decides{trips}",
            human::time(status.tripped_until.as_ref())
        ),
        v1::PolicyState::Wedged => format!(
            "wedged: its thread does not answer, the default policy decides; shoalctl policy reset \
             begins anew{trips}"
        ),
        state @ (v1::PolicyState::Unspecified | v1::PolicyState::Active) => {
            format!("{}{trips}", human::word(state.as_str_name(), "POLICY_STATE_"))
        }
    }
}

fn decisions(status: &v1::PolicyStatus) -> String {
    format!(
        "{} asked for, {} chosen, {} abstained, {} deferred, {} starved",
        status.calls, status.chosen, status.abstained, status.deferred, status.starved
    )
}

/// What the default policy decided instead, and how much of that the policy was not even asked.
fn by_default(status: &v1::PolicyStatus) -> String {
    format!("{} instead of it, {} without asking it", status.fallbacks, status.bypassed)
}

fn times(status: &v1::PolicyStatus) -> String {
    format!(
        "{} median, {} p99, {} over 500 µs",
        human::micros(status.p50_us),
        human::micros(status.p99_us),
        status.slow
    )
}

/// What went wrong, and what the policy logged.
fn happenings(status: &v1::PolicyStatus) -> String {
    let mut text = String::new();
    if let Some(refused) = &status.refused {
        text.push_str(&happened("last change refused", refused));
    }
    if let Some(error) = &status.last_error {
        text.push_str(&happened("last error", error));
    }
    if status.log.is_empty() && status.log_suppressed == 0 {
        return text;
    }
    match status.log_suppressed {
        0 => text.push_str("log:\n"),
        more => text.push_str(&format!("log ({} suppressed):\n", human::count(more, "line"))),
    }
    for line in &status.log {
        text.push_str(&format!("  {}\n", clean(line)));
    }
    text
}

/// The shadow itself, how often it agrees, and where it does not.
fn shadowed(shadow: &v1::PolicyShadow, width: Option<usize>) -> String {
    let status = shadow.status.clone().unwrap_or_default();
    let mut lines = identity(&status);
    lines.push(("agreement", agreement(shadow)));
    lines.push(("decisions", decisions(&status)));
    lines.extend(cost(&status));
    let mut text = block_within(width, lines);
    text.push_str(&happenings(&status));
    if !shadow.differences.is_empty() {
        text.push_str("last differences:\n");
        text.push_str(&differences(&shadow.differences).render(width));
    }
    text
}

fn agreement(shadow: &v1::PolicyShadow) -> String {
    let all = shadow.agreed.saturating_add(shadow.differed);
    match all {
        0 => "nothing compared yet".to_owned(),
        _ => format!(
            "{} ({} of {})",
            human::percent(shadow.agreed, all),
            shadow.agreed,
            human::count(all, "decision")
        ),
    }
}

fn differences(differences: &[v1::ShadowDifference]) -> Grid {
    let mut grid = Grid::new([
        Column::Tail("CHUNK"),
        Column::Left("TORRENT"),
        Column::Tail("CHOSEN"),
        Column::Tail("BY SHADOW"),
        Column::Elastic("REASON"),
    ]);
    for difference in differences {
        grid.row([
            difference.chunk.clone(),
            human::short_id(&difference.info_hash),
            or_dash(difference.chosen.clone()),
            or_dash(difference.shadow.clone()),
            or_dash(difference.reason.clone()),
        ]);
    }
    grid
}

fn torrents(statuses: &[v1::PolicyStatus]) -> Grid {
    let mut grid = Grid::new([
        Column::Left("TORRENT"),
        Column::Elastic("POLICY"),
        Column::Left("STATE"),
        Column::Right("DECISIONS"),
        Column::Right("DEFAULT"),
        Column::Right("ERRORS"),
        Column::Right("P99"),
    ]);
    for status in statuses {
        let errors = status.errors.values().fold(0, |sum: u64, &count| sum.saturating_add(count));
        grid.row([
            human::short_id(&status.info_hash),
            status.name.clone(),
            human::word(status.state().as_str_name(), "POLICY_STATE_"),
            status.calls.to_string(),
            status.fallbacks.to_string(),
            errors.to_string(),
            human::micros(status.p99_us),
        ]);
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> v1::PolicyStatus {
        v1::PolicyStatus {
            name: "near.lua".to_owned(),
            kind: v1::PolicyKind::Custom.into(),
            state: v1::PolicyState::Tripped.into(),
            calls: 120,
            chosen: 100,
            starved: 3,
            errors: HashMap::from([("runtime".to_owned(), 2), ("budget".to_owned(), 1)]),
            tripped_until: Some(prost_types::Timestamp { seconds: 1_777_890_030, nanos: 5 }),
            trips: 2,
            metrics: HashMap::from([("near".to_owned(), 0.5)]),
            log: vec!["hello\x1b[2J".to_owned()],
            log_suppressed: 7,
            refused: Some(v1::PolicyError {
                file: "near.lua".to_owned(),
                line: 3,
                message: "'=' expected".to_owned(),
                kind: "syntax".to_owned(),
                ..v1::PolicyError::default()
            }),
            ..v1::PolicyStatus::default()
        }
    }

    #[test]
    fn a_script_shows_its_state_its_figures_and_what_went_wrong() {
        let reply =
            v1::GetPolicyResponse { status: Some(script()), ..v1::GetPolicyResponse::default() };
        let text = whole(&reply, None);
        for part in [
            "state:         tripped until 2026-05-04T10:20:30Z, the default policy decides, \
             tripped 2 times\n",
            "decisions:     120 asked for, 100 chosen, 0 abstained, 0 deferred, 3 starved\n",
            "errors:        budget=1 runtime=2\n",
            "metrics:       near=0.5\n",
            "last change refused: near.lua:3: '=' expected (syntax)\n",
            "log (7 lines suppressed):\n  hello\u{fffd}[2J\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(whole(&reply, Some(80)).lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn a_native_policy_shows_nothing_of_lua() {
        let native = v1::PolicyStatus {
            kind: v1::PolicyKind::Native.into(),
            name: "fastest".to_owned(),
            ..v1::PolicyStatus::default()
        };
        let lines = in_force(&native);
        assert_eq!(lines[0], ("policy", "fastest (native)".to_owned()));
        for of_lua in ["functions", "watched file", "events", "memory", "metrics"] {
            assert!(lines.iter().all(|(key, _)| *key != of_lua), "{of_lua}");
        }
    }

    #[test]
    fn a_shadow_shows_where_it_differs() {
        let shadow = v1::PolicyShadow {
            status: Some(script()),
            agreed: 199,
            differed: 1,
            differences: vec![v1::ShadowDifference {
                info_hash: "ab".repeat(20),
                chunk: "a film with a long name.webm.part118".to_owned(),
                chosen: "192.168.1.181:7000".to_owned(),
                shadow: String::new(),
                reason: "everybody in the zone has failed this chunk".to_owned(),
            }],
        };
        let reply = v1::GetPolicyResponse {
            status: Some(script()),
            shadow: Some(shadow),
            torrents: vec![v1::PolicyStatus { info_hash: "cd".repeat(20), ..script() }],
        };
        let text = whole(&reply, Some(80));
        assert!(text.contains("  agreement:     99% (199 of 200 decisions)\n"), "{text}");
        assert!(text.contains(".part118  abababababab  "), "{text}");
        assert!(text.contains("\ncdcdcdcdcdcd  near.lua  tripped"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(agreement(&v1::PolicyShadow::default()), "nothing compared yet");
    }
}
