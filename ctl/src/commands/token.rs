//! `shoalctl token`. Never here: which token goes with a call.

use std::{
    fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path,
    time::SystemTime,
};

use shoal::v1;

use super::look::tell_of_more;
use crate::{
    cli::{
        Limit,
        token::{CreateArgs, RevokeArgs, TokenCommand},
    },
    failure::Failure,
    grid::{Column, Grid},
    human,
    pages::{PAGE_SIZE_MAX, gather},
    session::Session,
};

pub(super) async fn carry_out(s: &mut Session<'_>, command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create(args) => create(s, &args).await,
        TokenCommand::List(args) => list(s, args.limit).await,
        TokenCommand::Revoke(args) => revoke(s, &args).await,
    }
}

async fn create(s: &mut Session<'_>, args: &CreateArgs) -> Result<(), Failure> {
    // A secret that could not be kept would be of a token that nobody can use.
    let file = args.output.as_deref().map(Output::create).transpose()?;
    let request = s.request(v1::CreateTokenRequest {
        name: args.name.clone(),
        scopes: args.scopes.iter().map(|&scope| v1::TokenScope::from(scope).into()).collect(),
        expires_at: args.expires.map(|left| (SystemTime::now() + left).into()),
    });
    let mut reply = s.unary(s.auth().create_token(request)).await?;
    if let Some(file) = file {
        let secret = std::mem::take(&mut reply.secret);
        file.keep(&secret)?;
    }
    let token = reply.token.clone().unwrap_or_default();
    let secret = format!("{}\n", reply.secret);
    s.reply(&reply, |reply, _| if reply.secret.is_empty() { String::new() } else { secret })?;
    s.say(&match &args.output {
        Some(path) => format!("token {} ({}) is in {}", token.name, token.id, path.display()),
        None => format!("token {} ({}); its secret is shown this once", token.name, token.id),
    });
    Ok(())
}

/// A new file for a secret; removed again where there is none.
struct Output<'a>(&'a Path, Option<std::fs::File>);

impl<'a> Output<'a> {
    fn create(path: &'a Path) -> Result<Self, Failure> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        Ok(Self(path, Some(file.map_err(|error| Failure::file(path, &error))?)))
    }

    fn keep(mut self, secret: &str) -> Result<(), Failure> {
        let Some(mut file) = self.1.take() else { return Ok(()) };
        let written =
            file.write_all(format!("{secret}\n").as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|error| Failure::file(self.0, &error))
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        if self.1.is_some() {
            // Nothing is in it, and there is already a failure to tell.
            let _ = std::fs::remove_file(self.0);
        }
    }
}

async fn list(s: &mut Session<'_>, limit: Limit) -> Result<(), Failure> {
    let node = &*s;
    let reply = gather(limit.limit, PAGE_SIZE_MAX, async |page_size, page_token| {
        let request = node.request(v1::ListTokensRequest { page_size, page_token });
        node.unary(node.auth().list_tokens(request)).await
    })
    .await?;
    s.reply(&reply, |reply, width| table(&reply.tokens).render(width))?;
    tell_of_more(s, &reply.next_page_token, "tokens");
    Ok(())
}

fn table(tokens: &[v1::Token]) -> Grid {
    let mut grid = Grid::new([
        Column::Elastic("NAME"),
        Column::Left("SCOPES"),
        Column::Left("EXPIRES"),
        Column::Left("CREATED"),
        Column::Left("ID"),
        Column::Tail("FILE"),
    ]);
    for token in tokens {
        let scopes: Vec<_> =
            token.scopes().map(|scope| human::word(scope.as_str_name(), "TOKEN_SCOPE_")).collect();
        let or = |text: &str, none: &str| if text.is_empty() { none } else { text }.to_owned();
        grid.row([
            token.name.clone(),
            scopes.join(","),
            token.expires_at.map_or_else(|| "never".to_owned(), |at| human::date(Some(&at))),
            human::date(token.created_at.as_ref()),
            token.id.clone(),
            or(&token.file, "-"),
        ]);
    }
    grid
}

async fn revoke(s: &mut Session<'_>, args: &RevokeArgs) -> Result<(), Failure> {
    let request = s.request(v1::RevokeTokenRequest { token: args.token.clone() });
    let reply = s.unary(s.auth().revoke_token(request)).await?;
    let token = reply.token.clone().unwrap_or_default();
    s.sentence(&reply, &format!("token {} ({}) is refused from now on", token.name, token.id))
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    #[test]
    fn tokens_fit_eighty_columns() {
        let at = Some(prost_types::Timestamp { seconds: 1_777_890_030, nanos: 0 });
        let scopes = [v1::TokenScope::Read, v1::TokenScope::Write, v1::TokenScope::Policy];
        let token = v1::Token {
            id: "tok_0123456789ab".to_owned(),
            name: "a token with a long name".to_owned(),
            scopes: scopes.map(Into::into).to_vec(),
            created_at: at,
            expires_at: at,
            file: "/var/lib/shoal/readonly.token".to_owned(),
        };
        let text = table(&[token]).render(Some(80));
        assert!(text.lines().all(|line| line.width() <= 80), "{text}");
        assert!(text.contains("2026-05-04"), "{text}");
    }
}
