//! The API as its descriptor has it, with comments.

use prost_reflect::{
    DescriptorPool, EnumDescriptor, FileDescriptor, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor,
};
use shoal_ctl::methods::ENTRIES;

/// The package.
pub const PACKAGE: &str = "shoal.v1";

/// The descriptors of the package.
pub struct Api {
    pool: DescriptorPool,
}

impl Api {
    /// As it is compiled in.
    pub fn load() -> Self {
        let pool = DescriptorPool::decode(shoal::v1::DESCRIPTOR_SET_COMMENTED);
        Self { pool: pool.expect("the set decodes") }
    }

    /// Its files, in order of name.
    pub fn files(&self) -> Vec<FileDescriptor> {
        let mut files: Vec<_> =
            self.pool.files().filter(|file| file.package_name() == PACKAGE).collect();
        files.sort_by(|a, b| a.name().cmp(b.name()));
        files
    }

    /// Its services, in order of file.
    pub fn services(&self) -> Vec<ServiceDescriptor> {
        self.files().iter().flat_map(|file| file.services().collect::<Vec<_>>()).collect()
    }

    /// Every method of every service.
    pub fn methods(&self) -> Vec<MethodDescriptor> {
        self.services().iter().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
    }

    /// Its messages, without the entries of maps.
    pub fn messages(&self) -> Vec<MessageDescriptor> {
        let mut open: Vec<_> =
            self.files().iter().flat_map(|file| file.messages().collect::<Vec<_>>()).collect();
        let mut messages = Vec::new();
        while let Some(message) = open.pop() {
            open.extend(message.child_messages().filter(|child| !child.is_map_entry()));
            messages.push(message);
        }
        messages.sort_by(|a, b| a.full_name().cmp(b.full_name()));
        messages
    }

    /// Its enums, in order of name.
    pub fn enums(&self) -> Vec<EnumDescriptor> {
        let mut enums: Vec<_> =
            self.files().iter().flat_map(|file| file.enums().collect::<Vec<_>>()).collect();
        enums.sort_by(|a, b| a.name().cmp(b.name()));
        enums
    }
}

/// `PeerService.Ping`.
pub fn method_name(method: &MethodDescriptor) -> String {
    format!("{}.{}", method.parent_service().name(), method.name())
}

/// The command that makes the call.
pub fn command(method: &MethodDescriptor) -> Option<&'static str> {
    let name = method_name(method);
    let entry = ENTRIES.iter().find(|entry| entry.method == name);
    entry.map(|entry| entry.command)
}

/// The comment above what has this path in its file, on one line; empty where there is none.
pub fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.clone().unwrap_or_default();
    let at = info.location.into_iter().find(|location| location.path == path);
    let text = at.and_then(|location| location.leading_comments).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
