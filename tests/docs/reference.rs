//! `docs/api.md` is written from the comments of the proto files. `SHOAL_BLESS=1` writes it anew.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use prost_reflect::{
    Cardinality, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
    MethodDescriptor, ServiceDescriptor,
};
use shoal_ctl::exit::Exit;
use shoal_node::rpc::{access, status::Reason};

use crate::{
    api::{Api, PACKAGE, command, comment, method_name},
    page::root,
};

const SCOPES: &str = "\
A token has scopes; each call needs one of them, and `admin` has all. The node's own user needs no token
over the Unix socket. [operating.md](operating.md#who-may-call) says how tokens are made.";

const HEAD: &str = "\
# API reference

Package `shoal.v1`, written from the comments in [proto/shoal/v1](../proto/shoal/v1) by
`SHOAL_BLESS=1 cargo test --test docs`; a test fails where they differ. How to call it, and the traps:
[integrating.md](integrating.md).

Numbers are never negative unless said, times are UTC. An info hash is text, 40 lowercase hexadecimal
digits. A field of type `optional …` can be absent, which is not the same as 0. `→ stream` marks a
call that answers with many messages. In JSON, names are in camelCase, 64-bit numbers are text, bytes
are base64.
";

#[test]
fn the_reference_is_that_of_the_proto_files() {
    let path = root().join("docs/api.md");
    let expected = render(&Api::load());
    if std::env::var_os("SHOAL_BLESS").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(
        found == expected,
        "docs/api.md is not what the proto files say; SHOAL_BLESS=1 writes it anew: {differs:?}"
    );
}

#[test]
fn every_method_has_a_row_and_a_section() {
    let (api, text) = (Api::load(), render(&Api::load()));
    for method in api.methods() {
        let name = method_name(&method);
        let row = format!("| [`{name}`](#{}) |", name.replace('.', "").to_lowercase());
        assert!(text.lines().any(|line| line.starts_with(&row)), "no row of {name}");
        assert!(text.contains(&format!("\n### {name}\n")), "no section of {name}");
    }
}

fn render(api: &Api) -> String {
    let mut text = HEAD.to_owned();
    overview(api, &mut text);
    for service in api.services() {
        section(&service, &mut text);
    }
    let _ = write!(text, "\n## Messages\n\nWhat requests and replies are made of.\n");
    for message in api.messages().iter().filter(|message| !is_envelope(api, message)) {
        let _ = write!(text, "\n### {}\n\n", message.name());
        let _ = writeln!(text, "{}", prose(&comment(&message.parent_file(), message.path())));
        fields(message, &mut text);
    }
    let _ = write!(text, "\n## Enums\n");
    for words in api.enums() {
        values(&words, &mut text);
    }
    errors(&mut text);
    text
}

/// A table of all methods.
fn overview(api: &Api, text: &mut String) {
    let _ = write!(
        text,
        "\n## All calls\n\n{SCOPES}\n\n| call | scope | command | |\n|---|---|---|---|\n"
    );
    for method in api.methods() {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            link(&method_name(&method)),
            scope(&method),
            shown_command(&method),
            cell(&first_sentence(&said(&method)))
        );
    }
}

/// What a token has to be for.
fn scope(method: &MethodDescriptor) -> &'static str {
    let path = format!("{}/{}", method.parent_service().name(), method.name());
    let found = access::METHODS.iter().find(|(known, _)| *known == path);
    found.unwrap_or_else(|| panic!("{path} has no scope")).1.name()
}

/// As a person types it.
fn shown_command(method: &MethodDescriptor) -> String {
    let name = method_name(method);
    let command = command(method).unwrap_or_else(|| panic!("{name} has no command"));
    format!("`{command}`")
}

fn section(service: &ServiceDescriptor, text: &mut String) {
    let file = service.parent_file();
    let _ = write!(text, "\n## {}\n\n", service.name());
    let _ = writeln!(text, "{}", prose(&comment(&file, service.path())));
    for method in service.methods() {
        let (input, output) = (method.input(), method.output());
        let stream = if method.is_server_streaming() { "stream " } else { "" };
        let _ = write!(text, "\n### {}\n\n", method_name(&method));
        let _ = write!(text, "{}\n\n", prose(&said(&method)));
        let _ = writeln!(
            text,
            "`{}` → {stream}`{}` · scope {} · {}",
            input.name(),
            output.name(),
            scope(&method),
            shown_command(&method).replacen('`', "`shoalctl ", 1)
        );
        for message in [input, output] {
            let file = message.parent_file();
            let _ = write!(text, "\n**{}**: ", message.name());
            let _ = writeln!(text, "{}", prose(&comment(&file, message.path())));
            fields(&message, text);
        }
    }
}

/// Whether a message is a request or a reply, and stands with its method.
fn is_envelope(api: &Api, message: &MessageDescriptor) -> bool {
    api.methods().iter().any(|method| method.input() == *message || method.output() == *message)
}

fn fields(message: &MessageDescriptor, text: &mut String) {
    if message.fields().len() == 0 {
        return;
    }
    let mut rows: Vec<_> = message.fields().collect();
    rows.sort_by_key(FieldDescriptor::number);
    let _ = write!(text, "\n| # | field | type | |\n|---|---|---|---|\n");
    let file = message.parent_file();
    for field in rows {
        let choice = field.containing_oneof().filter(|choice| !choice.is_synthetic());
        let choice = choice.map(|choice| format!(" One of `{}`.", choice.name()));
        let _ = writeln!(
            text,
            "| {} | `{}` | {} | {}{} |",
            field.number(),
            field.name(),
            type_of(&field),
            cell(&comment(&file, field.path())),
            choice.unwrap_or_default()
        );
    }
    for choice in message.oneofs().filter(|choice| !choice.is_synthetic()) {
        let said = prose(&comment(&file, choice.path()));
        let _ = writeln!(text, "\nOneof `{}`: {said}", choice.name());
    }
}

fn type_of(field: &FieldDescriptor) -> String {
    let one = match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            return format!("map<{}, {}>", kind(&key.kind()), kind(&value.kind()))
                .replace('<', "&lt;");
        }
        other => kind(&other),
    };
    let optional = field.containing_oneof().is_some_and(|choice| choice.is_synthetic());
    match field.cardinality() {
        Cardinality::Repeated => format!("repeated {one}"),
        Cardinality::Optional if optional => format!("optional {one}"),
        Cardinality::Optional | Cardinality::Required => one,
    }
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) if message.package_name() == PACKAGE => link(message.name()),
        Kind::Message(message) => format!("`{}`", message.full_name()),
        Kind::Enum(words) => link(words.name()),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

fn values(words: &EnumDescriptor, text: &mut String) {
    let file = words.parent_file();
    let _ = write!(text, "\n### {}\n\n", words.name());
    let _ = writeln!(text, "{}", prose(&comment(&file, words.path())));
    let _ = write!(text, "\n| # | value | |\n|---|---|---|\n");
    for value in words.values() {
        let said = cell(&comment(&file, value.path()));
        let _ = writeln!(text, "| {} | `{}` | {said} |", value.number(), value.name());
    }
}

/// Every reason for which a call is refused.
fn errors(text: &mut String) {
    text.push_str(
        "\n## Errors\n\nEvery refusal carries a `google.rpc.ErrorInfo` of domain `shoal`. Its `reason` \
         is the contract and never changes its name; the message is for people. `exit` is the exit \
         code of `shoalctl`. Names in `code` are keys of the metadata.\n\n\
         | reason | gRPC code | exit | |\n|---|---|---|---|\n",
    );
    let reasons: BTreeMap<_, _> =
        Reason::ALL.iter().map(|reason| (reason.name(), reason)).collect();
    for (name, reason) in reasons {
        let (code, exit) = (reason.code(), Exit::of(reason.code()).number());
        let said = cell(reason.meaning().trim());
        let _ = writeln!(text, "| `{name}` | {code:?} | {exit} | {said} |");
    }
}

fn said(method: &MethodDescriptor) -> String {
    let file: FileDescriptor = method.parent_service().parent_file();
    comment(&file, method.path())
}

fn first_sentence(text: &str) -> String {
    text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.').to_owned()
}

fn link(name: &str) -> String {
    format!("[`{name}`](#{})", name.replace('.', "").to_lowercase())
}

/// Text as Markdown: angle brackets outside of code are no tags.
fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts = parts.map(
        |(index, part)| {
            if index % 2 == 0 { part.replace('<', "&lt;") } else { part.to_owned() }
        },
    );
    parts.collect::<Vec<_>>().join("`")
}

/// Text as a cell of a table.
fn cell(text: &str) -> String {
    prose(text).replace('|', "\\|")
}
