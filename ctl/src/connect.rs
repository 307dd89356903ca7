//! Which token and which certificates go with a connection: flags over environment over context. Never
//! here: the connection itself.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use shoal::client::Connect;

use crate::{cli::Access, failure::Failure};

/// How to connect to `endpoint`; `kept` is the token's file where neither a flag nor the environment
/// names one.
///
/// No token is taken from a node's state folder by itself: whoever listens on a port of this machine
/// would get it, and need not be the node.
pub(crate) fn how(
    endpoint: &str,
    access: &Access,
    kept: Option<&Path>,
) -> Result<Connect, Failure> {
    from(endpoint, access, kept, &|name| env::var_os(name).filter(|value| !value.is_empty()))
}

fn from(
    endpoint: &str,
    access: &Access,
    kept: Option<&Path>,
    var: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Connect, Failure> {
    let mut how = Connect::to(endpoint);
    how = match token(access, var).or_else(|| kept.map(|path| Token::File(path.to_owned()))) {
        Some(Token::File(path)) => how.token_file(path),
        Some(Token::Text(text)) => {
            let text = text.into_string();
            how.token(text.map_err(|_| Failure::usage("SHOAL_TOKEN is not UTF-8"))?)
        }
        None => how,
    };
    if let Some(path) = &access.ca {
        how = how.ca_file(path);
    }
    match (&access.cert, &access.key) {
        (Some(cert), Some(key)) => Ok(how.identity_files(cert, key)),
        (None, None) => Ok(how),
        (Some(_), None) => Err(Failure::usage("--cert needs its key: name it with --key")),
        (None, Some(_)) => Err(Failure::usage("--key needs its certificate: name it with --cert")),
    }
}

/// Where the token is.
#[derive(PartialEq, Eq, Debug)]
enum Token {
    File(PathBuf),
    Text(OsString),
}

/// A flag, else the environment, where the token itself comes before a file of it.
fn token(access: &Access, var: &dyn Fn(&str) -> Option<OsString>) -> Option<Token> {
    let flag = access.token_file.clone().map(Token::File);
    let text = || var("SHOAL_TOKEN").map(Token::Text);
    let file = || var("SHOAL_TOKEN_FILE").map(|path| Token::File(path.into()));
    flag.or_else(text).or_else(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_beats_the_token_of_the_environment_which_beats_its_file() {
        let check = |file: Option<&str>, vars: &[(&str, &str)], expected: Option<Token>| {
            let access = Access { token_file: file.map(Into::into), ..Access::default() };
            let var = |name: &str| {
                let found = vars.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(*value))
            };
            assert_eq!(token(&access, &var), expected);
        };
        let both = [("SHOAL_TOKEN", "t"), ("SHOAL_TOKEN_FILE", "f")];
        check(Some("flag"), &both, Some(Token::File("flag".into())));
        check(None, &both, Some(Token::Text("t".into())));
        check(None, &both[1..], Some(Token::File("f".into())));
        check(None, &[], None);
    }

    #[test]
    fn a_certificate_and_its_key_come_together() {
        for (cert, key) in [(Some("c"), None), (None, Some("k"))] {
            let access = Access {
                cert: cert.map(Into::into),
                key: key.map(Into::into),
                ..Access::default()
            };
            assert!(from("unix:/x", &access, None, &|_| None).is_err());
        }
    }
}
