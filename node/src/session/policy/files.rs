//! Policies whose file is watched: a change is checked and put in force with the same parameters;
//! one that is refused leaves the old policy in force, and is told.

use std::path::PathBuf;

use super::Why;
use crate::{
    policy_host::{
        PolicyChoice, PolicyIssue, Scope, ScriptChoice,
        watch::{Content, FileWatch},
    },
    session::{inbox::Input, run::Shell},
};

/// The longest source that is taken from a file, bytes (policy.md §2).
const SOURCE_LEN_MAX: u64 = shoal_policy::budget::SOURCE_LEN_MAX as u64;

impl Shell {
    /// The watch of a policy's file: the one at work where it is the same file's.
    pub(super) fn watch_file(&mut self, scope: Scope, choice: &PolicyChoice) -> Option<FileWatch> {
        let PolicyChoice::Script(ScriptChoice { watched: Some(path), source, .. }) = choice else {
            return None;
        };
        if let Some(own) = self.policies.chosen.get_mut(&scope)
            && let PolicyChoice::Script(before) = &own.choice
            && before.watched.as_ref() == Some(path)
            && own.watch.is_some()
        {
            return own.watch.take();
        }
        let inbox = self.inbox.clone();
        let tell = move |content| inbox.tell(Input::PolicyFile { scope, content });
        let watch = FileWatch::begin(PathBuf::from(path), source.as_bytes(), SOURCE_LEN_MAX, tell);
        watch.inspect_err(|error| tracing::error!(path, %error, "not watched")).ok()
    }

    /// A watched file changed.
    pub(in crate::session) fn on_policy_file(&mut self, scope: Scope, content: Content) {
        let Some(own) = self.policies.chosen.get(&scope) else { return };
        let PolicyChoice::Script(script) = &own.choice else { return };
        let Some(path) = script.watched.clone() else { return };
        let source = content
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned()));
        match source {
            Ok(source) => {
                tracing::info!(path, "the policy's file changed");
                let changed = ScriptChoice { source, ..script.clone() };
                self.begin_policy(scope, PolicyChoice::Script(changed), Why::Changed);
            }
            Err(cause) => {
                let message = format!("{path}: {cause}; the policy stays as it was");
                let issue = PolicyIssue {
                    kind: "load",
                    file: script.name.clone(),
                    line: 0,
                    message: cause,
                    report: message.clone(),
                    at: self.clock.wall(self.clock.now()),
                    count: 1,
                };
                self.policies.host.refused(scope, Some(issue));
                self.tell_policy("refused", scope, message);
            }
        }
    }
}
