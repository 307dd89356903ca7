//! Every `shoalctl …` and `shoald …` that a page shows is understood by the program.

use clap::{Parser as _, error::ErrorKind};

use crate::page::Page;

/// What ends a command, or begins another.
const OPERATORS: &[&str] = &["|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1", "||:"];
/// Languages of blocks that hold commands.
const SHELLS: &[&str] = &["sh", "bash", "console"];

/// The commands of a line: each a list of words, without assignments in front.
fn commands(line: &str) -> Vec<Vec<String>> {
    let line = line.trim().strip_prefix("$ ").unwrap_or(line.trim());
    let words = shlex::split(line).unwrap_or_else(|| panic!("no words: {line}"));
    let mut all = vec![Vec::new()];
    for word in words {
        if word.starts_with('#') {
            break;
        }
        if OPERATORS.contains(&word.as_str()) {
            all.push(Vec::new());
        } else if let Some(current) = all.last_mut() {
            current.push(word);
        }
    }
    for words in &mut all {
        let begins = words.iter().position(|word| word == "shoalctl" || word == "shoald");
        let before = words.drain(..begins.unwrap_or(words.len())).collect::<Vec<_>>();
        let allowed =
            |word: &String| word.contains('=') || ["sudo", "-u", "shoal"].contains(&&**word);
        if !before.iter().all(allowed) {
            words.clear();
        }
    }
    all.retain(|words| !words.is_empty());
    all
}

/// Lines with their continuations.
fn joined(text: &str) -> Vec<String> {
    text.replace("\\\n", " ").lines().map(str::to_owned).collect()
}

fn check(words: &[String]) -> Result<(), clap::Error> {
    let error = match words[0].as_str() {
        "shoald" => shoal_node::cli::command().try_get_matches_from(words).err(),
        _ => shoal_ctl::cli::Cli::try_parse_from(words).err(),
    };
    match error {
        Some(error) if error.use_stderr() => Err(error),
        Some(_) | None => Ok(()),
    }
}

/// In a sentence a command may be named without all that it needs: `shoalctl policy test`,
/// `shoald peer --listen`, `shoalctl jobs list|cancel`, `shoalctl COMMAND`.
fn check_mention(words: &[String]) -> Result<(), clap::Error> {
    let named = |word: &&String| !word.bytes().all(|byte| byte.is_ascii_uppercase());
    let words: Vec<_> = words.iter().take_while(named).cloned().collect();
    if let Some(at) = words.iter().position(|word| word.contains('|')) {
        return words[at].split('|').try_for_each(|word| {
            let mut words = words.clone();
            words[at] = word.to_owned();
            check_mention(&words)
        });
    }
    let Err(error) = check(&words) else { return Ok(()) };
    let option_alone = words.last().is_some_and(|word| word.starts_with('-'));
    match error.kind() {
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Ok(()),
        ErrorKind::InvalidValue if option_alone => Ok(()),
        _ => Err(error),
    }
}

#[test]
fn every_command_of_a_page_is_one() {
    let (mut seen, mut bad) = (0, Vec::new());
    for page in Page::all() {
        let blocks = page.blocks().into_iter();
        let shells = blocks.filter(|(language, ..)| {
            SHELLS.contains(&language.split_whitespace().next().unwrap_or_default())
        });
        let lines = shells.flat_map(|(_, _, text)| joined(&text));
        let lines = lines.filter(|line| line.contains("shoalctl ") || line.contains("shoald "));
        let prose = page.prose();
        let spans = prose.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " "));
        let spans = spans.filter(|span| {
            ["shoalctl ", "shoald "].iter().any(|program| span.starts_with(program))
        });
        let mentions = spans.flat_map(|span| commands(&span)).map(|words| (words, true));
        let commands = lines.flat_map(|line| commands(&line)).map(|words| (words, false));
        for (words, mention) in commands.chain(mentions) {
            seen += 1;
            let checked = if mention { check_mention(&words) } else { check(&words) };
            if let Err(error) = checked {
                bad.push(format!("{}: {words:?}: {error}", page.name));
            }
        }
    }
    assert!(seen > 60, "only {seen} commands");
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn a_command_that_is_none_is_found() {
    let line = "A=1 shoalctl -o json torrent lst | jq . && shoalctl ping 10.0.0.1 7000  # once";
    let found = commands(line);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(check(&found[0]).is_err() && check(&found[1]).is_ok(), "{found:?}");
}
