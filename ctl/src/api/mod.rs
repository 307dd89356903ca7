//! The API as its descriptors say: those of the node, by reflection, or those that this program was
//! built with. Never here: a command.

use prost_reflect::{
    DescriptorPool, EnumDescriptor, MessageDescriptor, MethodDescriptor, ServiceDescriptor,
};

use crate::{failure::Failure, render};

mod codec;
mod comments;
mod reflection;
mod request;
mod template;

pub(crate) use codec::Dynamic;
pub(crate) use comments::comment;
pub(crate) use reflection::of_node;
pub(crate) use request::read;
pub(crate) use template::template;

/// The package of the API.
pub(crate) const PACKAGE: &str = "shoal.v1";

/// The least likeness of a name that could have been meant.
const LIKENESS_MIN: f64 = 0.85;

/// Descriptors, and whose they are.
pub(crate) struct Api {
    pool: DescriptorPool,
    /// The node told them itself.
    pub(crate) by_node: bool,
}

/// Something that has a name in the API.
pub(crate) enum Symbol {
    Service(ServiceDescriptor),
    Method(MethodDescriptor),
    Message(MessageDescriptor),
    Enum(EnumDescriptor),
}

impl Api {
    /// As this program knows it.
    ///
    /// # Errors
    /// The embedded set does not decode, which is a fault of this program.
    pub(crate) fn built_in() -> Result<Self, Failure> {
        let pool = render::pool().map_err(Failure::internal)?.clone();
        Ok(Self { pool, by_node: false })
    }

    /// The services, those of shoal first.
    pub(crate) fn services(&self) -> Vec<ServiceDescriptor> {
        let (mut own, others): (Vec<_>, Vec<_>) =
            self.pool.services().partition(|service| service.package_name() == PACKAGE);
        own.extend(others);
        own
    }

    /// The method that is meant: `GetInfo`, `NodeService/GetInfo`, or with the package before that.
    ///
    /// # Errors
    /// There is none, or several of that name.
    pub(crate) fn method(&self, name: &str) -> Result<MethodDescriptor, Failure> {
        let found = self.methods(name);
        match found.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(self.unknown("method", name, self.method_names())),
            several => {
                let names: Vec<String> = several.iter().map(spelled).collect();
                Err(Failure::usage(format!("'{name}' is several methods: {}", names.join(", "))))
            }
        }
    }

    /// What is meant by a name: a service, method, message or enum, with or without what stands before
    /// it.
    ///
    /// # Errors
    /// There is nothing of that name, or several methods.
    pub(crate) fn symbol(&self, name: &str) -> Result<Symbol, Failure> {
        let ends = |full: &str| is_end(full, name);
        if let Some(service) = self.services().into_iter().find(|it| ends(it.full_name())) {
            return Ok(Symbol::Service(service));
        }
        if !self.methods(name).is_empty() {
            return self.method(name).map(Symbol::Method);
        }
        let messages: Vec<MessageDescriptor> = self.pool.all_messages().collect();
        if let Some(message) = messages.iter().find(|it| ends(it.full_name())) {
            return Ok(Symbol::Message(message.clone()));
        }
        if let Some(kind) = self.pool.all_enums().find(|it| ends(it.full_name())) {
            return Ok(Symbol::Enum(kind));
        }
        let mut names = self.method_names();
        names.extend(self.services().iter().map(|service| service.name().to_owned()));
        names.extend(messages.iter().map(|message| message.name().to_owned()));
        Err(self.unknown("service, method or message", name, names))
    }

    fn methods(&self, name: &str) -> Vec<MethodDescriptor> {
        let name = name.trim_start_matches('/').replace('/', ".");
        let all = self.services().into_iter().flat_map(|it| it.methods().collect::<Vec<_>>());
        all.filter(|method| is_end(method.full_name(), &name)).collect()
    }

    fn method_names(&self) -> Vec<String> {
        let names = |service: ServiceDescriptor| {
            service.methods().map(|method| method.name().to_owned()).collect::<Vec<_>>()
        };
        self.services().into_iter().flat_map(names).collect()
    }

    fn unknown(&self, what: &str, name: &str, known: Vec<String>) -> Failure {
        let whose = if self.by_node { "the node" } else { "this shoalctl" };
        let failure = Failure::no_symbol(format!("{whose} knows no {what} '{name}'"));
        match near(name, known) {
            Some(near) => failure.with_hint(format!("did you mean '{near}'?")),
            None => failure.with_hint("shoalctl describe lists them"),
        }
    }
}

/// A method as the command line takes it: `NodeService/GetInfo`.
pub(crate) fn spelled(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().name(), method.name())
}

/// The known name that is most like `name`, where one is like it at all.
pub(crate) fn near(name: &str, known: impl IntoIterator<Item = String>) -> Option<String> {
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(name, &known), known))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// Whether a name means a full one: all of it, or what stands behind one of its dots.
fn is_end(full: &str, name: &str) -> bool {
    !name.is_empty()
        && full.strip_suffix(name).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_meant_by_any_end_of_its_name() {
        let api = Api::built_in().ok().unwrap();
        for name in [
            "GetInfo",
            "NodeService/GetInfo",
            "NodeService.GetInfo",
            "shoal.v1.NodeService/GetInfo",
            "/shoal.v1.NodeService/GetInfo",
        ] {
            assert_eq!(api.method(name).ok().unwrap().full_name(), "shoal.v1.NodeService.GetInfo");
        }
        for name in ["", "Info", "getinfo", "Service/GetInfo", "NodeService"] {
            assert!(api.method(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_near_name_is_a_hint() {
        let api = Api::built_in().ok().unwrap();
        let Err(Failure::Report(report)) = api.method("ListTorents") else { panic!("found") };
        assert!(report.text().contains("did you mean 'ListTorrents'?"), "{}", report.text());
    }

    #[test]
    fn every_kind_of_symbol_is_found() {
        let api = Api::built_in().ok().unwrap();
        assert!(matches!(api.symbol("NodeService").ok(), Some(Symbol::Service(_))));
        assert!(matches!(api.symbol("Ping").ok(), Some(Symbol::Method(_))));
        assert!(matches!(api.symbol("shoal.v1.PeerAddress").ok(), Some(Symbol::Message(_))));
        assert!(matches!(api.symbol("EventKind").ok(), Some(Symbol::Enum(_))));
        assert!(api.symbol("Nothing").is_err());
    }
}
