//! A disk that can stand still: a file system of its own in a file, mounted through a loop device and
//! frozen with fsfreeze. Takes root. It is thawed by a process that outlives this one, whatever
//! happens here, and unmounted when dropped. Never here: who uses it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};

/// A file system of its own.
#[derive(Debug)]
pub(super) struct Disk {
    mount: PathBuf,
}

/// Why no disk can be frozen here; none where one can.
pub(super) fn why_not() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    let is_missing = |tool: &&str| {
        let mut look = Command::new("sh");
        look.args(["-c", &format!("command -v {tool}")]);
        let found = look.stdout(Stdio::null()).stderr(Stdio::null()).status();
        !found.is_ok_and(|status| status.success())
    };
    let tools = ["mkfs.ext4", "mount", "umount", "fsfreeze"];
    if let Some(tool) = tools.into_iter().find(is_missing) {
        return Some(format!("needs {tool}"));
    }
    let dir = tempfile::tempdir().ok()?;
    // A container may be root and still not mount.
    Disk::mount(dir.path(), 64 << 20).err().map(|error| format!("cannot mount: {error:#}"))
}

impl Disk {
    /// Makes one of `len` bytes in `dir`.
    ///
    /// # Errors
    /// The system does not let us.
    pub(super) fn mount(dir: &Path, len: u64) -> anyhow::Result<Self> {
        let (image, mount) = (dir.join("disk.img"), dir.join("disk"));
        File::create(&image)?.set_len(len)?;
        fs::create_dir(&mount)?;
        tell("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), image.as_ref()])?;
        tell("mount", &["-o".as_ref(), "loop".as_ref(), image.as_ref(), mount.as_ref()])?;
        Ok(Self { mount })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.mount
    }

    /// Lets it stand still for so long, and waits for that.
    ///
    /// # Errors
    /// It cannot be frozen.
    pub(super) fn freeze(&self, stall: Duration) -> anyhow::Result<()> {
        // Not a member: one ends with this process, and the disk would stay as it is.
        let script = "fsfreeze -f \"$1\" || exit 1; sleep \"$2\"; fsfreeze -u \"$1\"";
        let seconds = stall.as_secs().to_string();
        let args = ["-c", script, "sh"].map(Path::new);
        tell("sh", &[&args[..], &[&self.mount, Path::new(&seconds)]].concat())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Nothing is frozen any more unless a freeze was cut short.
        let quiet = |program: &str, args: &[&Path]| {
            let mut command = Command::new(program);
            let _ = command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
        };
        quiet("fsfreeze", &["-u".as_ref(), &self.mount]);
        quiet("umount", &[&self.mount]);
    }
}

fn tell(program: &str, args: &[&Path]) -> anyhow::Result<()> {
    let told = Command::new(program).args(args).stdin(Stdio::null()).output();
    let told = told.with_context(|| program.to_owned())?;
    if !told.status.success() {
        bail!("{program} ({}): {}", told.status, String::from_utf8_lossy(&told.stderr).trim());
    }
    Ok(())
}
