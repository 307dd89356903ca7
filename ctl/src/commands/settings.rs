//! `shoalctl settings`. Never here: what a value may be.

use shoal::v1;

use crate::{
    cli::settings::{SetArgs, SettingsCommand, ShowArgs},
    failure::Failure,
    grid::block,
    human,
    session::Session,
};

pub(super) async fn carry_out(
    s: &mut Session<'_>,
    command: SettingsCommand,
) -> Result<(), Failure> {
    match command {
        SettingsCommand::Show(args) => show(s, args).await,
        SettingsCommand::Set(args) => set(s, args).await,
    }
}

async fn show(s: &mut Session<'_>, args: ShowArgs) -> Result<(), Failure> {
    let of_torrent = args.torrent.is_some();
    let request = s.request(v1::GetSettingsRequest { torrent: args.torrent });
    let reply = s.unary(s.node().get_settings(request)).await?;
    s.reply(&reply, |reply, _| describe(reply.settings.as_ref(), of_torrent))
}

async fn set(s: &mut Session<'_>, args: SetArgs) -> Result<(), Failure> {
    let mut settings = v1::Settings::default();
    args.pairs.iter().for_each(|pair| pair.put(&mut settings));
    let paths = args.pairs.iter().map(|pair| pair.path().to_owned()).collect();
    let of_torrent = args.torrent.is_some();
    let request = s.request(v1::UpdateSettingsRequest {
        torrent: args.torrent,
        settings: Some(settings),
        update_mask: Some(prost_types::FieldMask { paths }),
    });
    let reply = s.unary(s.node().update_settings(request)).await?;
    s.reply(&reply, |reply, _| describe(reply.settings.as_ref(), of_torrent))?;
    if !of_torrent {
        s.say("holds until the node ends; for good, put it into the node's configuration");
    }
    Ok(())
}

fn describe(settings: Option<&v1::Settings>, of_torrent: bool) -> String {
    let Some(settings) = settings else { return String::new() };
    let rate = |bps: u64| if bps == 0 { "none".to_owned() } else { human::rate(bps) };
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let slots = match settings.upload_slots {
        0 => "all".to_owned(),
        slots => slots.to_string(),
    };
    let limits = [
        ("upload-limit", rate(settings.upload_limit_bps)),
        ("download-limit", rate(settings.download_limit_bps)),
    ];
    if of_torrent {
        return block(limits);
    }
    block(limits.into_iter().chain([
        ("upload-slots", slots),
        ("labels", human::pairs(&settings.labels)),
        ("log-filter", or_dash(&settings.log_filter)),
        ("connections", settings.connections.to_string()),
        ("connections-per-torrent", settings.connections_per_torrent.to_string()),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_shown_by_the_keys_that_set_them() {
        let settings = v1::Settings { download_limit_bps: 2_000_000, ..Default::default() };
        let text = describe(Some(&settings), false);
        for line in text.lines() {
            let key = line.split(':').next().unwrap_or_default();
            let value = if key == "labels" { "none" } else { "1" };
            let pair = format!("{key}={value}").parse::<crate::cli::settings::Pair>();
            assert!(pair.is_ok(), "{line}");
        }
        assert_eq!(describe(Some(&settings), true).lines().count(), 2);
    }
}
