//! `AuthService`: the tokens of the node. Never here: who is let in with them.

use std::time::SystemTime;

use shoal::v1::{self as api, auth_service_server::AuthService};
use tonic::{Request, Response, Status};

use super::{
    context::{Context, owned},
    message::timestamp,
    page::{self, List},
    status::{Reason, Refusal},
};
use crate::auth::{
    scope::{Scope, Scopes},
    tokens::{NewToken, Token, TokenError},
};

type Reply<M> = Result<Response<M>, Status>;

const TOKENS: List = List("tokens");

#[tonic::async_trait]
impl AuthService for Context {
    async fn create_token(
        &self,
        request: Request<api::CreateTokenRequest>,
    ) -> Reply<api::CreateTokenResponse> {
        let api::CreateTokenRequest { name, scopes, expires_at } = request.into_inner();
        let scopes = scopes.into_iter().map(scope).collect::<Result<Vec<_>, _>>()?;
        let expires = expires_at.map(expiry).transpose()?;
        let new = NewToken { name, scopes: Scopes::new(scopes), expires };
        let tokens = self.tokens.clone();
        let create = move || tokens.create(new, SystemTime::now());
        let (token, secret) = owned(blocking(create)).await?;
        tracing::info!(name = token.name, id = token.id, "a token was made");
        let (token, secret) = (Some(message(token)), secret.expose().to_owned());
        Ok(Response::new(api::CreateTokenResponse { token, secret }))
    }

    async fn list_tokens(
        &self,
        request: Request<api::ListTokensRequest>,
    ) -> Reply<api::ListTokensResponse> {
        let request = request.into_inner();
        let (size, offset) = (page::size(request.page_size)?, TOKENS.offset(&request.page_token)?);
        let tokens = self.tokens.list().into_iter().map(message);
        let (tokens, next_page_token) = TOKENS.page(tokens, offset, size);
        Ok(Response::new(api::ListTokensResponse { tokens, next_page_token }))
    }

    async fn revoke_token(
        &self,
        request: Request<api::RevokeTokenRequest>,
    ) -> Reply<api::RevokeTokenResponse> {
        let (tokens, which) = (self.tokens.clone(), request.into_inner().token);
        if which.is_empty() {
            return Err(Refusal::field("token", "is empty; name its id or its name").into());
        }
        let token = owned(blocking(move || tokens.revoke(&which))).await?;
        tracing::info!(name = token.name, id = token.id, "a token was revoked");
        Ok(Response::new(api::RevokeTokenResponse { token: Some(message(token)) }))
    }
}

/// Work on the disk, away from the threads that serve calls.
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, TokenError> + Send + 'static,
) -> Result<R, Refusal> {
    let lost = |error| Refusal::internal(format!("the command was lost: {error}"));
    Ok(tokio::task::spawn_blocking(work).await.map_err(lost)??)
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        let message = error.to_string();
        match error {
            TokenError::BadName(_) => Self::field("name", message),
            TokenError::NoScope => Self::field("scopes", message),
            TokenError::Expired => Self::field("expires_at", message),
            TokenError::Exists(name) => Self::new(Reason::TokenExists, message).with("token", name),
            TokenError::TooMany => Self::new(Reason::TooManyTokens, message)
                .with("limit", crate::auth::tokens::TOKENS_MAX),
            TokenError::Unknown(which) => {
                Self::new(Reason::UnknownToken, message).with("token", which)
            }
            TokenError::NotSaved { cause, .. } | TokenError::RevokedNotSaved { cause, .. } => {
                Self::new(Reason::TokensNotSaved, message).with("cause", cause)
            }
        }
    }
}

fn scope(number: i32) -> Result<Scope, Refusal> {
    match api::TokenScope::try_from(number) {
        Ok(api::TokenScope::Read) => Ok(Scope::Read),
        Ok(api::TokenScope::Write) => Ok(Scope::Write),
        Ok(api::TokenScope::Policy) => Ok(Scope::Policy),
        Ok(api::TokenScope::Admin) => Ok(Scope::Admin),
        Ok(api::TokenScope::Unspecified) | Err(_) => {
            Err(Refusal::field("scopes", format!("{number} is no scope")))
        }
    }
}

fn expiry(at: prost_types::Timestamp) -> Result<SystemTime, Refusal> {
    SystemTime::try_from(at).map_err(|_| Refusal::field("expires_at", "is no time"))
}

fn message(token: Token) -> api::Token {
    let scope = |scope| match scope {
        Scope::Read => api::TokenScope::Read,
        Scope::Write => api::TokenScope::Write,
        Scope::Policy => api::TokenScope::Policy,
        Scope::Admin => api::TokenScope::Admin,
    };
    api::Token {
        scopes: token.scopes.iter().map(|held| scope(held).into()).collect(),
        id: token.id,
        name: token.name,
        created_at: Some(timestamp(token.created)),
        expires_at: token.expires.map(timestamp),
        file: token.file.map(|path| path.display().to_string()).unwrap_or_default(),
    }
}
