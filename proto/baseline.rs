//! What clients out there rely on: nothing that `proto/baseline.txt` names may go or change. A line
//! a thing, as the descriptors have it; a line that is gone is a break. New things are free, and
//! guarded once the file is written anew.
//!
//! After a deliberate break, and with every release:
//! `SHOAL_RENEW_BASELINE=1 cargo test -p shoal --lib baseline`, and the commit says why.

use std::{collections::BTreeSet, env, fs, path::Path};

use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

/// Every line of a descriptor set's own packages, in order.
fn lines(set: &FileDescriptorSet) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for file in set.file.iter().filter(|file| !file.package().starts_with("google.")) {
        let package = file.package();
        let name = |name: &str| format!("{package}.{name}");
        file.message_type.iter().for_each(|it| message(&name(it.name()), it, &mut lines));
        file.enum_type.iter().for_each(|it| values(&name(it.name()), it, &mut lines));
        file.service.iter().for_each(|it| methods(&name(it.name()), it, &mut lines));
    }
    lines
}

fn message(name: &str, message: &DescriptorProto, lines: &mut BTreeSet<String>) {
    lines.insert(format!("message {name}"));
    for field in &message.field {
        let oneof = match (field.oneof_index, field.proto3_optional()) {
            (Some(index), false) => {
                let oneof = usize::try_from(index).ok().and_then(|at| message.oneof_decl.get(at));
                format!(" in oneof {}", oneof.map_or("?", |oneof| oneof.name()))
            }
            (Some(_), true) | (None, _) => String::new(),
        };
        let (of, number) = (field.name(), field.number());
        lines.insert(format!("field {name}.{of} = {number}: {}{oneof}", kind(field)));
    }
    for nested in &message.nested_type {
        self::message(&format!("{name}.{}", nested.name()), nested, lines);
    }
    for nested in &message.enum_type {
        values(&format!("{name}.{}", nested.name()), nested, lines);
    }
}

fn kind(field: &FieldDescriptorProto) -> String {
    let cardinality = match (field.label(), field.proto3_optional()) {
        (Label::Repeated, _) => "repeated ",
        (_, true) => "optional ",
        (Label::Optional | Label::Required, false) => "",
    };
    let kind = match field.r#type() {
        Type::Message | Type::Enum | Type::Group => field.type_name().trim_start_matches('.'),
        scalar => scalar.as_str_name(),
    };
    format!("{cardinality}{kind}")
}

fn values(name: &str, values: &EnumDescriptorProto, lines: &mut BTreeSet<String>) {
    lines.insert(format!("enum {name}"));
    for value in &values.value {
        lines.insert(format!("value {name}.{} = {}", value.name(), value.number()));
    }
}

fn methods(name: &str, service: &ServiceDescriptorProto, lines: &mut BTreeSet<String>) {
    lines.insert(format!("service {name}"));
    for method in &service.method {
        let stream = |streams: bool| if streams { "stream " } else { "" };
        lines.insert(format!(
            "method {name}.{}({}{}) returns ({}{})",
            method.name(),
            stream(method.client_streaming()),
            method.input_type().trim_start_matches('.'),
            stream(method.server_streaming()),
            method.output_type().trim_start_matches('.'),
        ));
    }
}

fn current() -> FileDescriptorSet {
    FileDescriptorSet::decode(crate::v1::DESCRIPTOR_SET).unwrap()
}

/// What of the baseline a set has not got.
fn broken(baseline: &BTreeSet<String>, set: &FileDescriptorSet) -> Vec<String> {
    baseline.difference(&lines(set)).cloned().collect()
}

#[test]
fn nothing_that_clients_rely_on_is_gone_or_changed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/baseline.txt");
    let now = lines(&current());
    if env::var_os("SHOAL_RENEW_BASELINE").is_some() {
        let text: String = now.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&path, text).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    let baseline = text.lines().map(str::to_owned).collect();
    let gone = broken(&baseline, &current());
    assert!(
        gone.is_empty(),
        "clients rely on what is gone or changed:\n{}\nadd, do not alter; a deliberate break is \
         entered by SHOAL_RENEW_BASELINE=1 cargo test -p shoal --lib baseline",
        gone.join("\n")
    );
}

#[test]
fn every_kind_of_break_is_seen() {
    let baseline = lines(&current());
    let check = |what: &str, alter: &dyn Fn(&mut FileDescriptorSet), seen: &str| {
        let mut set = current();
        alter(&mut set);
        let gone = broken(&baseline, &set);
        assert!(gone.iter().any(|line| line.contains(seen)), "{what}: {gone:?}");
    };
    fn file<'a>(
        set: &'a mut FileDescriptorSet,
        name: &str,
    ) -> &'a mut prost_types::FileDescriptorProto {
        let path = format!("shoal/v1/{name}.proto");
        set.file.iter_mut().find(|file| file.name() == path).unwrap()
    }
    fn event(set: &mut FileDescriptorSet) -> &mut DescriptorProto {
        let messages = &mut file(set, "node").message_type;
        messages.iter_mut().find(|message| message.name() == "Event").unwrap()
    }
    check(
        "a field removed",
        &|set| drop(event(set).field.remove(0)),
        "field shoal.v1.Event.kind = 1",
    );
    check("renumbered", &|set| event(set).field[0].number = Some(99), "Event.kind = 1");
    check("renamed", &|set| event(set).field[3].name = Some("text".into()), "Event.message = 4");
    check(
        "another type",
        &|set| event(set).field[3].set_type(Type::Bytes),
        "Event.message = 4: TYPE_STRING",
    );
    check(
        "another cardinality",
        &|set| event(set).field[3].set_label(Label::Repeated),
        "Event.message = 4: TYPE_STRING",
    );
    check(
        "out of its oneof",
        &|set| event(set).field.iter_mut().for_each(|field| field.oneof_index = None),
        "in oneof detail",
    );
    check(
        "an enum value removed",
        &|set| drop(file(set, "node").enum_type[0].value.remove(1)),
        "value shoal.v1.Role.ROLE_TRACKER = 1",
    );
    check(
        "a method removed",
        &|set| drop(file(set, "node").service[0].method.remove(0)),
        "method shoal.v1.NodeService.GetInfo",
    );
    check(
        "no longer a stream",
        &|set| file(set, "node").service[0].method[1].server_streaming = Some(false),
        "returns (stream shoal.v1.WatchEventsResponse)",
    );
    check("a service removed", &|set| drop(file(set, "node").service.remove(1)), "JobService");
}
