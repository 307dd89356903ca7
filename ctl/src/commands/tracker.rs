//! `shoalctl tracker`. Never here: this node's own announces.

use shoal::v1;

use super::look::{optional_bytes, tell_of_more};
use crate::{
    cli::{Limit, node::SwarmArgs},
    failure::Failure,
    grid::{Column, Grid},
    human,
    pages::{PAGE_SIZE_MAX, gather},
    session::Session,
};

pub(super) async fn swarms(s: &mut Session<'_>, limit: Limit) -> Result<(), Failure> {
    let node = &*s;
    let reply = gather(limit.limit, PAGE_SIZE_MAX, async |page_size, page_token| {
        let request = node.request(v1::ListSwarmsRequest { page_size, page_token });
        node.unary(node.tracker().list_swarms(request)).await
    })
    .await?;
    s.reply(&reply, |reply, width| swarm_table(&reply.swarms).render(width))?;
    if reply.swarms.is_empty() {
        s.say("the tracker knows no swarm");
    }
    tell_of_more(s, &reply.next_page_token, "swarms");
    Ok(())
}

fn swarm_table(swarms: &[v1::Swarm]) -> Grid {
    let mut grid = Grid::new([
        Column::Left("INFO HASH"),
        Column::Right("SEEDERS"),
        Column::Right("LEECHERS"),
        Column::Right("COMPLETED"),
        Column::Left("LISTED"),
    ]);
    for swarm in swarms {
        grid.row([
            human::short_id(&swarm.info_hash),
            swarm.seeders.to_string(),
            swarm.leechers.to_string(),
            swarm.completed.to_string(),
            if swarm.listed { "yes" } else { "no" }.to_owned(),
        ]);
    }
    grid
}

pub(super) async fn peers(s: &mut Session<'_>, args: &SwarmArgs) -> Result<(), Failure> {
    let node = &*s;
    let reply = gather(args.limit.limit, PAGE_SIZE_MAX, async |page_size, page_token| {
        let info_hash = args.hash.clone().unwrap_or_default();
        let request = node.request(v1::GetSwarmRequest { info_hash, page_size, page_token });
        node.unary(node.tracker().get_swarm(request)).await
    })
    .await?;
    s.reply(&reply, |reply, width| peer_table(&reply.peers).render(width))?;
    if reply.peers.is_empty() {
        s.say("the swarm has no peer");
    }
    tell_of_more(s, &reply.next_page_token, "peers");
    Ok(())
}

fn peer_table(peers: &[v1::SwarmPeer]) -> Grid {
    let mut grid = Grid::new([
        Column::Left("PEER"),
        Column::Elastic("CLIENT"),
        Column::Right("CHUNKS"),
        Column::Right("LEFT"),
        Column::Right("UPLOADED"),
        Column::Right("SEEN"),
        Column::Left("SHOAL"),
    ]);
    for peer in peers {
        let entry = peer.entry.clone().unwrap_or_default();
        grid.row([
            human::address(entry.address.as_ref()),
            peer.client.clone(),
            entry.chunks_have.map_or_else(|| "-".to_owned(), |have| have.to_string()),
            optional_bytes(entry.left_bytes),
            optional_bytes(entry.uploaded_bytes),
            human::millis(peer.age_ms),
            if peer.shoal { "yes" } else { "no" }.to_owned(),
        ]);
    }
    grid
}
