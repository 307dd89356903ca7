//! `PolicyService`: what decides who is asked for each chunk.
//!
//! | file | what |
//! |---|---|
//! | `choose` | which policy a request means |
//! | `show` | how policies are told |
//! | `decisions` | one decision explained, decisions watched |
//! | `trials` | checked, tested, measured |
//! | `simulate` | tried on a swarm in virtual time |

pub mod choose;
mod decisions;
mod show;
mod simulate;
mod trials;

use std::collections::BTreeMap;

use shoal::v1::{self as api, policy_service_server::PolicyService};
use tonic::{Request, Response, Status};

use super::{
    context::{Context, owned, via},
    follow::Replies,
    page::{self, List},
    roots::Via,
    status::Refusal,
};
use crate::{
    policy_host::{Role, Scope},
    session::handle::SetPolicy,
};

type Reply<M> = Result<Response<M>, Status>;

const POLICIES: List = List("policies");
/// The most torrents with a policy of their own that one reply tells of.
const TORRENTS_MAX: usize = 1000;

#[tonic::async_trait]
impl PolicyService for Context {
    type WatchDecisionsStream = Replies<api::WatchDecisionsResponse>;
    type SimulatePolicyStream = Replies<api::SimulatePolicyResponse>;

    async fn validate_policy(
        &self,
        request: Request<api::ValidatePolicyRequest>,
    ) -> Reply<api::ValidatePolicyResponse> {
        Ok(Response::new(trials::validate(self, request.into_inner()).await?))
    }

    async fn set_policy(
        &self,
        request: Request<api::SetPolicyRequest>,
    ) -> Reply<api::SetPolicyResponse> {
        let via = via(&request);
        let (this, request) = (self.clone(), request.into_inner());
        owned(async move { set(&this, request, via).await.map(Response::new) }).await
    }

    async fn get_policy(
        &self,
        request: Request<api::GetPolicyRequest>,
    ) -> Reply<api::GetPolicyResponse> {
        let scope = scope(self, request.into_inner().torrent).await?;
        let session = self.peer_role()?;
        let own = session.policy_scopes();
        let torrents = own.iter().filter(|own| scope == Scope::Node && **own != Scope::Node);
        let torrents = torrents.take(TORRENTS_MAX);
        Ok(Response::new(api::GetPolicyResponse {
            status: Some(show::status(session.policy_status(scope))),
            shadow: session.policy_shadow(scope).map(show::shadow),
            torrents: torrents.map(|&own| show::status(session.policy_status(own))).collect(),
        }))
    }

    async fn reset_policy(
        &self,
        request: Request<api::ResetPolicyRequest>,
    ) -> Reply<api::ResetPolicyResponse> {
        let (this, request) = (self.clone(), request.into_inner());
        let reset = async move {
            let scope = scope(&this, request.torrent).await?;
            let set = this.peer_role()?.reset_policy(scope).await?;
            let status = Some(show::status(set.status));
            Ok(Response::new(api::ResetPolicyResponse { status }))
        };
        owned(reset).await
    }

    async fn list_policies(
        &self,
        request: Request<api::ListPoliciesRequest>,
    ) -> Reply<api::ListPoliciesResponse> {
        let request = request.into_inner();
        let active = self.peer_role()?.policy_status(Scope::Node);
        let (size, offset) =
            (page::size(request.page_size)?, POLICIES.offset(&request.page_token)?);
        let (policies, next_page_token) = POLICIES.page(show::list(&active), offset, size);
        Ok(Response::new(api::ListPoliciesResponse { policies, next_page_token }))
    }

    async fn explain_decision(
        &self,
        request: Request<api::ExplainDecisionRequest>,
    ) -> Reply<api::ExplainDecisionResponse> {
        Ok(Response::new(decisions::explain(self, request.into_inner()).await?))
    }

    async fn watch_decisions(
        &self,
        request: Request<api::WatchDecisionsRequest>,
    ) -> Reply<Self::WatchDecisionsStream> {
        Ok(Response::new(decisions::watch(self, request.into_inner()).await?))
    }

    async fn test_policy(
        &self,
        request: Request<api::TestPolicyRequest>,
    ) -> Reply<api::TestPolicyResponse> {
        Ok(Response::new(trials::test(self, request.into_inner()).await?))
    }

    async fn bench_policy(
        &self,
        request: Request<api::BenchPolicyRequest>,
    ) -> Reply<api::BenchPolicyResponse> {
        Ok(Response::new(trials::bench(self, request.into_inner()).await?))
    }

    async fn simulate_policy(
        &self,
        request: Request<api::SimulatePolicyRequest>,
    ) -> Reply<Self::SimulatePolicyStream> {
        Ok(Response::new(simulate::begin(self, request)?))
    }
}

/// Whose policy a request means.
async fn scope(this: &Context, torrent: Option<String>) -> Result<Scope, Refusal> {
    match torrent {
        None => this.peer_role().map(|_| Scope::Node),
        Some(selector) => Ok(Scope::Torrent(this.torrent(selector).await?.metainfo.info_hash)),
    }
}

async fn set(
    this: &Context,
    request: api::SetPolicyRequest,
    via: Via,
) -> Result<api::SetPolicyResponse, Refusal> {
    use api::set_policy_request::Policy;
    let session = this.peer_role()?;
    let scope = scope(this, request.torrent).await?;
    let params: BTreeMap<_, _> = request.params.into_iter().collect();
    let choice = match request.policy {
        None => return Err(Refusal::field("policy", "is missing: name, source, path or none")),
        Some(Policy::None(false)) => {
            return Err(Refusal::field("none", "is false; leave it out or make it true"));
        }
        Some(Policy::None(true)) => None,
        Some(Policy::Name(name)) => Some(choose::named(&name, params)?),
        Some(Policy::Source(source)) => Some(choose::sourced(source, request.source_name, params)?),
        Some(Policy::Path(_)) if request.shadow => {
            return Err(Refusal::field("path", "a shadow is not watched; send its source"));
        }
        Some(Policy::Path(path)) => {
            let roots = this.roots.clone();
            let read = move || choose::filed(&roots, &path, via, params);
            let read = tokio::task::spawn_blocking(read).await;
            Some(read.map_err(|error| Refusal::internal(error.to_string()))??)
        }
    };
    let role = if request.shadow { Role::Shadow } else { Role::Deciding };
    let set = session.set_policy(SetPolicy { scope, role, choice }).await?;
    let status = Some(show::status(set.status));
    Ok(api::SetPolicyResponse { status, warnings: set.warnings })
}
