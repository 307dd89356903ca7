//! Where files of this user's are kept. Never here: their content.

use std::{env, path::PathBuf};

/// Name of the folders of shoal.
const NAME: &str = "shoal";

/// Folders that `shoalctl` reads and writes without being told; `None` where nothing says which.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Configuration: `$XDG_CONFIG_HOME/shoal`, or `~/.config/shoal`.
    pub config: Option<PathBuf>,
    /// State of the default node, and the history of the shell: `$XDG_STATE_HOME/shoal`, or
    /// `~/.local/state/shoal`.
    pub state: Option<PathBuf>,
}

impl Places {
    /// Those of the user who runs this process.
    #[must_use]
    pub fn of_user() -> Self {
        let absolute =
            |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let below = |name: &str, home: &str| {
            absolute(name)
                .or_else(|| absolute("HOME").map(|dir| dir.join(home)))
                .map(|dir| dir.join(NAME))
        };
        Self {
            config: below("XDG_CONFIG_HOME", ".config"),
            state: below("XDG_STATE_HOME", ".local/state"),
        }
    }
}
