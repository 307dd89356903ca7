//! Replies as documents: canonical proto JSON, lines of it, YAML, or identifiers alone. Never here:
//! tables, and where any of it goes.

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage};
use shoal::v1;

use crate::{cli::Format, methods::Knows};

mod json;
mod names;
mod yaml;

use json::Layout;

/// A message of a node, by its name in the descriptor set.
pub(crate) trait Reply: Message + Name {}

impl<M: Message + Name> Reply for M {}

/// How a document stands among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The only one.
    Alone,
    /// One of several: each begins or ends so that they can be told apart.
    Among,
}

/// A reply as the descriptor set describes it.
///
/// # Errors
/// A reply that is not in the descriptor set, which is a fault of this program.
pub(crate) fn dynamic<R: Reply>(reply: &R) -> Result<DynamicMessage, String> {
    let name = R::full_name();
    let kind = pool()?
        .get_message_by_name(&name)
        .ok_or_else(|| format!("{name} is not in the descriptor set"))?;
    DynamicMessage::decode(kind, reply.encode_to_vec().as_slice())
        .map_err(|e| format!("{name} does not decode: {e}"))
}

/// The descriptor set that this program was built with.
///
/// # Errors
/// A set that does not decode, which is a fault of this program.
pub(crate) fn pool() -> Result<&'static DescriptorPool, String> {
    POOL.as_ref().map_err(Clone::clone)
}

/// A message in any format but a table, with the line feed that ends it.
///
/// # Errors
/// A message that JSON cannot hold, such as a time beyond the year 9999.
pub(crate) fn message(
    message: &DynamicMessage,
    format: Format,
    knows: Knows,
    place: Place,
) -> Result<String, String> {
    match format {
        Format::Json => json::text(&json::Canonical(message), layout(place)),
        Format::Jsonl => match names::items(message, knows.names()) {
            Some(items) => {
                items.iter().map(|item| json::text(&json::Canonical(item), Layout::Line)).collect()
            }
            None => json::text(&json::Canonical(message), Layout::Line),
        },
        Format::Yaml => yaml::text(&json::Canonical(message), place),
        Format::Name => Ok(names::of(message, knows.names())),
        Format::Table => Ok(String::new()),
    }
}

/// What is no message of a node, in any format but a table: a JSON value, the list in it that jsonl
/// writes line by line (a JSON pointer; empty where there is none), and its identifiers.
///
/// # Errors
/// None that a JSON value could cause.
pub(crate) fn value(
    value: &serde_json::Value,
    list: &str,
    names: &[String],
    (format, place): (Format, Place),
) -> Result<String, String> {
    let items = value.pointer(list).and_then(serde_json::Value::as_array);
    match (format, items) {
        (Format::Json, _) => json::text(value, layout(place)),
        (Format::Jsonl, Some(items)) => {
            items.iter().map(|item| json::text(item, Layout::Line)).collect()
        }
        (Format::Jsonl, None) => json::text(value, Layout::Line),
        (Format::Yaml, _) => yaml::text(value, place),
        (Format::Name, _) => {
            Ok(names.iter().map(|name| format!("{}\n", names::plain(name))).collect())
        }
        (Format::Table, _) => Ok(String::new()),
    }
}

const fn layout(place: Place) -> Layout {
    match place {
        Place::Alone => Layout::Pretty,
        Place::Among => Layout::Line,
    }
}

static POOL: LazyLock<Result<DescriptorPool, String>> = LazyLock::new(|| {
    DescriptorPool::decode(v1::DESCRIPTOR_SET).map_err(|e| format!("descriptor set: {e}"))
});
