//! The comments of the API, which a node's own descriptors lack: those that this program was built
//! with. Never here: layout.

use std::{collections::HashMap, sync::LazyLock};

use prost_reflect::{DescriptorPool, FileDescriptor};
use shoal::v1;

/// The comment on what has this full name, as one line; empty where there is none.
pub(crate) fn comment(full_name: &str) -> &'static str {
    COMMENTS.get(full_name).map_or("", String::as_str)
}

static COMMENTS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    // Without comments the API is described all the same.
    let Ok(pool) = DescriptorPool::decode(v1::DESCRIPTOR_SET_COMMENTED) else {
        return HashMap::new();
    };
    let mut comments = HashMap::new();
    for service in pool.services() {
        keep(&mut comments, &service.parent_file(), service.path(), service.full_name());
        for method in service.methods() {
            keep(&mut comments, &service.parent_file(), method.path(), method.full_name());
        }
    }
    for message in pool.all_messages() {
        keep(&mut comments, &message.parent_file(), message.path(), message.full_name());
        for field in message.fields() {
            keep(&mut comments, &message.parent_file(), field.path(), field.full_name());
        }
    }
    for kind in pool.all_enums() {
        keep(&mut comments, &kind.parent_file(), kind.path(), kind.full_name());
        for value in kind.values() {
            keep(&mut comments, &kind.parent_file(), value.path(), value.full_name());
        }
    }
    comments
});

fn keep(comments: &mut HashMap<String, String>, file: &FileDescriptor, path: &[i32], name: &str) {
    let Some(info) = &file.file_descriptor_proto().source_code_info else { return };
    let text = info.location.iter().find(|at| at.path == path).map(|at| at.leading_comments());
    let words: Vec<&str> = text.unwrap_or_default().split_whitespace().collect();
    if !words.is_empty() {
        comments.insert(name.to_owned(), words.join(" "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_methods_messages_fields_and_values_have_theirs() {
        for (name, begin) in [
            ("shoal.v1.JobService", "Jobs: work that outlives"),
            ("shoal.v1.NodeService.GetInfo", "Shows version, roles"),
            ("shoal.v1.PeerAddress", "The address of a peer"),
            ("shoal.v1.PeerAddress.port", "TCP port, 1-65535."),
            ("shoal.v1.JOB_STATE_DONE", "Ended well."),
        ] {
            assert!(comment(name).starts_with(begin), "{name}: {}", comment(name));
        }
        assert_eq!(comment("shoal.v1.Nothing"), "");
    }
}
