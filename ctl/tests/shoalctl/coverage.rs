//! Every method of the API has its command, and every command its method.

use std::collections::BTreeSet;

use clap::CommandFactory as _;
use prost_reflect::DescriptorPool;
use shoal_ctl::{cli::Cli, methods::ENTRIES};

fn methods() -> BTreeSet<String> {
    let pool = DescriptorPool::decode(shoal::v1::DESCRIPTOR_SET).expect("the set decodes");
    pool.services()
        .filter(|service| service.package_name() == "shoal.v1")
        .flat_map(|service| {
            let name = service.name().to_owned();
            service.methods().map(|method| format!("{name}.{}", method.name())).collect::<Vec<_>>()
        })
        .collect()
}

/// The words of every command of the tree.
pub(crate) fn commands() -> BTreeSet<String> {
    let mut leaves = BTreeSet::new();
    let mut open = vec![(String::new(), Cli::command())];
    while let Some((path, command)) = open.pop() {
        if command.has_subcommands() {
            for deeper in command.get_subcommands().filter(|c| c.get_name() != "help") {
                let path = format!("{path} {}", deeper.get_name());
                open.push((path.trim().to_owned(), deeper.clone()));
            }
        } else {
            leaves.insert(path);
        }
    }
    leaves
}

#[test]
fn every_method_has_a_command() {
    let lines = ENTRIES.iter().filter(|entry| !entry.method.is_empty());
    let mapped: Vec<String> = lines.map(|entry| entry.method.to_owned()).collect();
    assert_eq!(mapped.iter().cloned().collect::<BTreeSet<_>>(), methods());
    assert_eq!(mapped.len(), methods().len(), "a method has two lines");
}

#[test]
fn every_command_has_a_line() {
    let mapped: Vec<String> = ENTRIES.iter().map(|entry| entry.command.to_owned()).collect();
    assert_eq!(mapped.iter().cloned().collect::<BTreeSet<_>>(), commands());
    assert_eq!(mapped.len(), commands().len(), "a command has two lines");
}

#[test]
fn every_method_of_the_specification_is_a_command_of_its_name_in_both_spellings() {
    for entry in ENTRIES {
        let Some(method) = entry.method.strip_prefix("PeerService.") else { continue };
        let command = entry.command;
        let mut kebab = String::new();
        for c in method.chars() {
            if c.is_ascii_uppercase() && !kebab.is_empty() {
                kebab.push('-');
            }
            kebab.push(c.to_ascii_lowercase());
        }
        assert_eq!(command, kebab);
        let tree = Cli::command();
        let found = tree.find_subcommand(kebab.replace('-', "_")).expect("the other spelling");
        assert_eq!(found.get_name(), command);
    }
}
