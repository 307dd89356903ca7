//! A line of the shell, from its text. Never here: carrying it out.

/// A line as it was meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing, or a comment.
    Empty,
    /// `exit` or `quit`.
    End,
    /// A command and its arguments.
    Words(Vec<String>),
}

/// Reads a line: words as a shell splits them, the first with or without the specification's slash.
///
/// # Errors
/// A quotation without its end.
pub(super) fn parse(text: &str) -> Result<Line, String> {
    let mut words =
        shlex::split(text).ok_or_else(|| "a quotation has no end on this line".to_owned())?;
    let Some(first) = words.first_mut() else { return Ok(Line::Empty) };
    if let Some(bare) = first.strip_prefix('/') {
        *first = bare.to_owned();
    }
    match words.as_slice() {
        [only] if only.is_empty() => Ok(Line::Empty),
        [only] if only == "exit" || only == "quit" => Ok(Line::End),
        _ => Ok(Line::Words(words)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        match parse(text) {
            Ok(Line::Words(words)) => words,
            other => panic!("{text:?} reads {other:?}"),
        }
    }

    #[test]
    fn both_spellings_are_taken() {
        assert_eq!(
            words("/request_download 10.0.0.2 7000 file1.webm.part3"),
            ["request_download", "10.0.0.2", "7000", "file1.webm.part3"]
        );
        assert_eq!(words("  see-chunk-status  --limit 3 "), ["see-chunk-status", "--limit", "3"]);
    }

    #[test]
    fn a_name_with_spaces_is_quoted() {
        assert_eq!(words("/merge_chunks 'tài liệu.webm'"), ["merge_chunks", "tài liệu.webm"]);
        assert_eq!(words(r#"merge_chunks "a \"b\".webm""#), ["merge_chunks", "a \"b\".webm"]);
        assert!(parse("merge_chunks 'a").is_err());
    }

    #[test]
    fn only_the_first_word_loses_its_slash() {
        assert_eq!(words("torrent create /data/a"), ["torrent", "create", "/data/a"]);
    }

    #[test]
    fn empty_lines_comments_and_ends_are_told_apart() {
        for text in ["", "   ", "# a comment", "/"] {
            assert_eq!(parse(text), Ok(Line::Empty), "{text:?}");
        }
        for text in ["exit", "quit", "/exit", " quit "] {
            assert_eq!(parse(text), Ok(Line::End), "{text:?}");
        }
        assert_eq!(words("quit_torrent"), ["quit_torrent"]);
    }
}
