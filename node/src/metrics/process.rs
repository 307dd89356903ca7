//! The process, as the system sees it, under the names that every Prometheus client has for it.
//! Never here: anything of shoal.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// What cannot be read is left out.
pub(super) fn register(registry: &mut Registry, started_at: SystemTime) {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    let help = "CPU time of the process, user and system";
    registry.register_with_unit("process_cpu", help, Unit::Seconds, ConstCounter::new(cpu));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(kib) = field(&status, "VmRSS:") {
        let bytes = ConstGauge::new(kib * 1024);
        let help = "Memory of the process that is resident";
        registry.register_with_unit("process_resident_memory", help, Unit::Bytes, bytes);
    }
    if let Some(threads) = field(&status, "Threads:") {
        let help = "Threads of the process";
        registry.register("process_threads", help, ConstGauge::new(threads));
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        let help = "File descriptors of the process that are open";
        // One of them was opened to count.
        let open = open.count().saturating_sub(1) as u64;
        registry.register("process_open_fds", help, ConstGauge::new(open));
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        let help = "File descriptors that the process may have open";
        registry.register("process_max_fds", help, ConstGauge::new(most));
    }
    if let Ok(since) = started_at.duration_since(UNIX_EPOCH) {
        let help = "When the node started, since the Unix epoch";
        let since = ConstGauge::new(since.as_secs_f64());
        registry.register_with_unit("process_start_time", help, Unit::Seconds, since);
    }
}

/// The number behind a key of `/proc/self/status`.
fn field(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}
