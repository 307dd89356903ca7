//! What the numbers were measured on, as far as it matters to them. Never here: what the machine is
//! called or where it keeps its files.

use std::{fmt, fs, thread};

use serde::Serialize;

/// The machine.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Machine {
    /// The processor, as it calls itself.
    pub(crate) cpu: String,
    /// Threads that run at once.
    pub(crate) cores: usize,
    /// Memory, MiB.
    pub(crate) memory_mib: u64,
    /// The kernel's name and release.
    pub(crate) kernel: String,
    /// Whether there is a hypervisor underneath, as far as the processor says.
    pub(crate) is_virtual: bool,
    /// Tasks that ran or waited to, mean of the minute before: well under `cores`, or the numbers
    /// are those of a busy machine.
    pub(crate) load_before: f64,
}

/// The most of the processor's name that is shown, so that the line keeps to 80 columns.
const CPU_WIDTH: usize = 45;

impl Machine {
    /// This machine. What it does not say is "unknown" or 0.
    pub(crate) fn here() -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let uname = rustix::system::uname();
        Self {
            cpu: field(&cpu, "model name").unwrap_or("unknown").to_owned(),
            cores: thread::available_parallelism().map_or(0, usize::from),
            memory_mib: kib(&memory, "MemTotal").unwrap_or(0) / 1024,
            kernel: [uname.sysname(), uname.release()].map(|part| part.to_string_lossy()).join(" "),
            is_virtual: field(&cpu, "flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            load_before: load
                .split(' ')
                .next()
                .and_then(|mean| mean.parse().ok())
                .unwrap_or_default(),
        }
    }
}

impl fmt::Display for Machine {
    /// Two lines of at most 80 columns, the second without its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpu: String = self.cpu.chars().take(CPU_WIDTH).collect();
        let kind = if self.is_virtual { "virtual" } else { "bare" };
        writeln!(f, "{cpu}, {} cores ({kind}), {} MiB", self.cores, self.memory_mib)?;
        write!(f, "{}, load before {:.2}", self.kernel, self.load_before)
    }
}

/// The value of the first line `key : value`.
pub(crate) fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim_end() == key).then(|| value.trim())
    })
}

/// The value of the first line `key: value kB`, KiB.
pub(crate) fn kib(text: &str, key: &str) -> Option<u64> {
    field(text, key)?.strip_suffix(" kB")?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let text = "model name\t: A CPU: fast\nVmHWM:\t    4100 kB\nVmHWMark: 1 kB\n";
        assert_eq!(field(text, "model name"), Some("A CPU: fast"));
        assert_eq!(kib(text, "VmHWM"), Some(4100));
        assert_eq!(kib(text, "VmRSS"), None);
    }

    #[test]
    fn this_machine_is_described_without_its_name() {
        let machine = Machine::here();
        assert!(machine.cores > 0 && machine.memory_mib > 0, "{machine:?}");
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let text = serde_json::to_string(&machine).unwrap();
        assert!(name.is_empty() || !text.contains(&name), "{text}");
    }
}
