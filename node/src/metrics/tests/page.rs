//! What promtool would say of the page, and what must never be in it.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const OPEN_METRICS: &str = "accept: application/openmetrics-text;version=1.0.0\r\n";

/// A page that was read: what is said of each metric, and the series in order.
#[derive(Default)]
pub(super) struct Page {
    help: BTreeMap<String, String>,
    kind: BTreeMap<String, String>,
    pub(super) series: BTreeMap<(String, String), f64>,
}

impl Page {
    /// Reads the text format of Prometheus.
    pub(super) fn read(text: &str) -> Self {
        let mut page = Self::default();
        for line in text.lines() {
            if let Some(told) = line.strip_prefix("# HELP ") {
                let (name, help) = told.split_once(' ').unwrap();
                assert_eq!(page.help.insert(name.into(), help.into()), None, "{name} told twice");
            } else if let Some(told) = line.strip_prefix("# TYPE ") {
                let (name, kind) = told.split_once(' ').unwrap();
                assert!(page.help.contains_key(name), "{name} has no help");
                assert_eq!(page.kind.insert(name.into(), kind.into()), None, "{name} told twice");
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
                let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
                let before = page.series.insert((name.into(), labels.into()), value);
                assert_eq!(before, None, "{series} told twice");
                assert!(page.kind.contains_key(page.family(name)), "{name} has no type");
            }
        }
        page
    }

    /// The metric that a series is of.
    fn family<'a>(&self, series: &'a str) -> &'a str {
        let of_histogram = ["_bucket", "_sum", "_count"].into_iter().find_map(|suffix| {
            let name = series.strip_suffix(suffix)?;
            (self.kind.get(name).map(String::as_str) == Some("histogram")).then_some(name)
        });
        of_histogram.unwrap_or(series)
    }

    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.series.keys().map(|(name, _)| name.as_str()).collect()
    }

    /// The page of a node once every call is counted: a caller has its answer a moment before.
    pub(super) async fn settled(addr: SocketAddr) -> Self {
        let settles = async {
            loop {
                let page = Self::read(&get(addr, "/metrics", "").await.body);
                let calls = ["grpc_server_started_total", "grpc_server_handled_total"];
                let [started, handled] = calls.map(|name| page.sum(name));
                if started > 0.0 && started == handled {
                    return page;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), settles).await.unwrap()
    }

    /// The sum of the series of one name.
    fn sum(&self, name: &str) -> f64 {
        self.series.iter().filter(|((other, _), _)| other == name).map(|(_, value)| value).sum()
    }

    #[track_caller]
    pub(super) fn value(&self, name: &str, labels: &str) -> f64 {
        let found = self.series.get(&(name.to_owned(), labels.to_owned()));
        *found.unwrap_or_else(|| panic!("no {name}{{{labels}}} in {:#?}", self.series.keys()))
    }
}

/// The labels of a series.
fn labels(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = text.split("\",").filter(|part| !part.is_empty());
    parts.map(|part| part.trim_end_matches('"').split_once("=\"").unwrap())
}

#[tokio::test]
async fn every_metric_has_a_name_a_unit_and_help_as_promtool_wants_them() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path()).await;
    use_it(&node, dir.path(), "a").await;
    let got = get(node.metrics_addr().unwrap(), "/metrics", "").await;
    assert!(got.head.contains("content-type: text/plain; version=0.0.4"), "{}", got.head);
    let page = Page::read(&got.body);
    for (name, kind) in &page.kind {
        let base = name.strip_suffix("_total").unwrap_or(name);
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        let shape = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(name.chars().all(shape), "{name}");
        let ours = ["shoal_", "grpc_server_", "process_"].iter().any(|own| name.starts_with(own));
        assert!(ours, "{name}");
        for unit in ["ms", "us", "millis", "milliseconds", "kb", "mb", "mib", "bps", "minutes"] {
            assert!(!base.split('_').any(|word| word == unit), "{name} is not in base units");
        }
        let timed = kind == "histogram";
        assert!(!timed || base.ends_with("_seconds"), "{name} has no unit");
        let help = &page.help[name];
        assert!(help.len() > 8 && help.ends_with('.') && !help.contains(".."), "{name}: {help}");
        assert!(page.names().iter().any(|series| page.family(series) == name), "{name} is empty");
    }
    for (name, unit) in [("bytes", "bytes"), ("seconds", "seconds")] {
        let named = page.kind.keys().filter(|other| other.contains(name));
        named.for_each(|other| {
            let base = other.strip_suffix("_total").unwrap_or(other);
            assert!(base.ends_with(unit), "the unit of {other} is not at its end");
        });
    }
    node.shutdown().await;
}

#[tokio::test]
async fn buckets_add_up_and_end_with_all() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path()).await;
    use_it(&node, dir.path(), "a").await;
    let page = Page::settled(node.metrics_addr().unwrap()).await;
    let mut checked = 0;
    for ((name, labels), count) in &page.series {
        let Some(name) = name.strip_suffix("_count") else { continue };
        let prefix = if labels.is_empty() { String::new() } else { format!("{labels},") };
        let all = page.value(&format!("{name}_bucket"), &format!("{prefix}le=\"+Inf\""));
        assert_eq!(all, *count, "{name}{{{labels}}}");
        let of_it = page.series.iter().filter(|((other, of), _)| {
            *other == format!("{name}_bucket") && of.starts_with(&prefix)
        });
        let bound = |of: &str| of.rsplit_once("le=\"").unwrap().1.trim_end_matches('"').to_owned();
        let mut buckets: Vec<(f64, f64)> = of_it
            .map(|((_, of), n)| (bound(of).replace("+Inf", "inf").parse().unwrap(), *n))
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(
            buckets.len() > 2 && buckets.is_sorted_by(|a, b| a.1 <= b.1),
            "{name}: {buckets:?}"
        );
        checked += 1;
    }
    assert!(checked >= 8, "{checked} histograms");
    node.shutdown().await;
}

#[tokio::test]
async fn no_label_names_a_torrent_or_a_peer_and_none_grows_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path()).await;
    let addr = node.metrics_addr().unwrap();
    use_it(&node, dir.path(), "a").await;
    let before = Page::settled(addr).await;
    for name in ["b", "c", "d"] {
        use_it(&node, dir.path(), name).await;
    }
    // A path that is no method makes no label.
    let bogus = "POST /shoal.v1.Bogus/Method HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert_eq!(ask(addr, bogus).await.status, 404);
    let after = Page::settled(addr).await;
    let series = |page: &Page| page.series.keys().cloned().collect::<Vec<_>>();
    assert_eq!(series(&before), series(&after), "more torrents make no more series");
    assert!(after.series.len() < 2000, "{}", after.series.len());
    let known = ["grpc_service", "grpc_method", "grpc_code", "le", "state", "by", "reason", "kind"];
    let known = known.iter().chain(&["room", "result", "way", "version", "revision"]);
    let known: BTreeSet<_> = known.copied().collect();
    for (_, text) in after.series.keys() {
        for (key, value) in labels(text) {
            assert!(known.contains(key), "{key} in {text}");
            assert!(value.len() < 60 && !value.contains([':', '/']), "{text}");
            let hex = value.len() >= 20 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(!hex, "{text}");
        }
    }
    node.shutdown().await;
}

#[tokio::test]
async fn what_happened_is_in_the_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path()).await;
    use_it(&node, dir.path(), "a").await;
    for path in ["/announce?info_hash=short", "/scrape", "/nothing"] {
        get(node.tracker_addr().unwrap(), path, "").await;
    }
    let page = Page::settled(node.metrics_addr().unwrap()).await;
    let value = |name: &str, labels: &str| page.value(name, labels);
    let refused = |kind: &str| {
        let labels = format!("way=\"http\",kind=\"{kind}\",result=\"refused\"");
        value("shoal_tracker_requests_total", &labels)
    };
    assert_eq!(["announce", "scrape", "malformed"].map(refused), [1.0; 3]);
    assert!(value("shoal_disk_job_seconds_count", "room=\"files\"") >= 1.0);
    assert_eq!(value("shoal_disk_waiting_jobs", "room=\"files\""), 0.0);
    assert_eq!(page.sum("shoal_torrents"), 1.0, "being checked, or seeded already");
    assert_eq!(value("shoal_ready", ""), 1.0);
    assert_eq!(value("shoal_session_up", ""), 1.0);
    assert_eq!(value("shoal_buffers_max_bytes", ""), f64::from(64 << 20));
    let of = "grpc_service=\"shoal.v1.TorrentService\",grpc_method=\"GetTorrent\"";
    assert_eq!(value("grpc_server_handled_total", &format!("{of},grpc_code=\"NotFound\"")), 1.0);
    assert_eq!(value("grpc_server_started_total", of), 1.0);
    assert_eq!(value("grpc_server_handling_seconds_count", of), 1.0);
    let created = "grpc_service=\"shoal.v1.TorrentService\",grpc_method=\"CreateTorrent\"";
    let ended = format!("{created},grpc_code=\"OK\"");
    assert_eq!(value("grpc_server_handled_total", &ended), 1.0);
    assert_eq!(value("grpc_server_open_streams", created), 0.0);
    assert!(value("process_cpu_seconds_total", "") > 0.0);
    assert!(value("process_resident_memory_bytes", "") > 1e6);
    assert!(value("process_open_fds", "") > 4.0);
    assert!(value("process_start_time_seconds", "") > 1.6e9);
    node.shutdown().await;
}

#[tokio::test]
async fn a_scraper_that_takes_openmetrics_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path()).await;
    let addr = node.metrics_addr().unwrap();
    let got = get(addr, "/metrics", OPEN_METRICS).await;
    assert!(got.head.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(got.body.ends_with("# EOF\n"), "{}", got.body);
    let units = got.body.lines().filter_map(|line| line.strip_prefix("# UNIT "));
    let units: Vec<_> = units.map(|line| line.split_once(' ').unwrap()).collect();
    assert!(units.len() > 10, "{units:?}");
    assert!(units.iter().all(|(name, unit)| name.ends_with(&format!("_{unit}"))), "{units:?}");
    // The same series, but for what is spelled otherwise.
    let plain = Page::read(&get(addr, "/metrics", "").await.body);
    for name in plain.names() {
        assert!(got.body.contains(&format!("\n{name}")), "{name}");
    }
    node.shutdown().await;
}
