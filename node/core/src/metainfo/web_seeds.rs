//! Web seeds (BEP 19): which URLs a torrent names, and where on such a server a file is. BEP 17's
//! `httpseeds` is another protocol, and not read. Never here: a request.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Metainfo;
use crate::{
    bencode::Value,
    config::{URL_LEN_MAX, WEB_SEEDS_MAX},
};

/// All but what RFC 3986 calls unreserved: no server takes it for anything else.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The usable URLs of `url-list`, which is one of them or a list; what else there is, is left out.
pub(super) fn listed(value: Option<&Value<'_>>) -> Vec<String> {
    let values = match value {
        Some(value) => value.as_list().unwrap_or(std::slice::from_ref(value)),
        None => &[],
    };
    let mut urls: Vec<String> = Vec::new();
    for url in values.iter().filter_map(Value::as_str).map(str::trim) {
        if urls.len() == WEB_SEEDS_MAX {
            break;
        }
        if is_url(url) && urls.iter().all(|known| known != url) {
            urls.push(url.to_owned());
        }
    }
    urls
}

/// Whether this could be the URL of a web seed: HTTP or HTTPS, with a host, of bounded length.
#[must_use]
pub fn is_url(url: &str) -> bool {
    let rest = ["http://", "https://"].into_iter().find_map(|scheme| {
        let (head, rest) = url.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let has_host = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#']));
    has_host && url.len() <= URL_LEN_MAX && !url.contains(char::is_control)
}

impl Metainfo {
    /// Where a web seed has a file of this torrent (BEP 19): a folder's URL, followed by the name
    /// and the path; of a single file the URL alone, unless that ends with `/`. None for a file
    /// that does not exist.
    #[must_use]
    pub fn web_seed_url(&self, base: &str, file: usize) -> Option<String> {
        let path = &self.files.get(file)?.path;
        if !self.is_multi && !base.ends_with('/') {
            return Some(base.to_owned());
        }
        let mut url = base.to_owned();
        if !url.ends_with('/') {
            url.push('/');
        }
        url.extend(utf8_percent_encode(&self.name, SEGMENT));
        for component in path.iter().filter(|_| self.is_multi) {
            url.push('/');
            url.extend(utf8_percent_encode(component, SEGMENT));
        }
        Some(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bencode::Item,
        metainfo::create::{Content, CreateOptions, NewFile, Pad, Plan},
    };

    fn options(content: Content, web_seeds: &[&str]) -> CreateOptions {
        CreateOptions {
            name: "a b".to_owned(),
            content,
            piece_len: Some(16 * 1024),
            pad: Pad::Always,
            private: false,
            trackers: Vec::new(),
            web_seeds: web_seeds.iter().map(|&url| url.to_owned()).collect(),
            comment: None,
            created_unix: None,
        }
    }

    fn made(content: Content, web_seeds: &[&str]) -> Metainfo {
        let plan = Plan::new(options(content, web_seeds)).unwrap();
        let hashes = vec![[7; 20]; plan.layout().piece_count() as usize];
        Metainfo::parse(&plan.finish(&hashes).unwrap()).unwrap()
    }

    fn folder() -> Content {
        let file = |path: &[&str], len| NewFile {
            path: path.iter().map(|&part| part.to_owned()).collect(),
            len,
        };
        Content::Multi(vec![file(&["x", "50%#?.bin"], 5), file(&["é"], 5)])
    }

    #[test]
    fn what_is_created_is_read_again() {
        let urls = ["http://a/", "HTTPS://b:81/x?y"];
        assert_eq!(made(Content::Single { len: 1 }, &urls).web_seeds, urls);
        assert!(made(folder(), &[]).web_seeds.is_empty());
    }

    #[test]
    fn what_is_no_url_is_not_written() {
        for url in ["", "ftp://a/", "http:///a", "http://", "https://?", "http://a/\n", "a"] {
            let refused = Plan::new(options(folder(), &["http://a/", url])).unwrap_err();
            assert!(refused.to_string().contains("web seed"), "{url:?}: {refused}");
        }
        let fits = format!("http://a/{}", "x".repeat(URL_LEN_MAX - 9));
        assert!(Plan::new(options(folder(), &[&fits])).is_ok());
        assert!(Plan::new(options(folder(), &[&format!("{fits}x")])).is_err());
        let most = vec!["http://a/"; WEB_SEEDS_MAX];
        assert!(Plan::new(options(folder(), &most)).is_ok());
        assert!(Plan::new(options(folder(), &[&most[..], &["http://a/"]].concat())).is_err());
    }

    #[test]
    fn every_form_of_the_list_is_read_and_the_rest_left_out() {
        let read = |item: Item<'_>| {
            let bytes = Item::dict([("url-list", item)]).encode();
            let value = crate::bencode::decode(&bytes).unwrap();
            listed(value.as_dict().unwrap().get("url-list"))
        };
        let none: [&str; 0] = [];
        assert_eq!(read(Item::from("http://w/ ")), ["http://w/"]);
        assert_eq!(
            read(Item::list(["http://w/", "", "ftp://x/", "http://v/a.bin"])),
            ["http://w/", "http://v/a.bin"]
        );
        assert_eq!(read(Item::list(["http://w/", "http://w/"])), ["http://w/"]);
        assert_eq!(read(Item::from("")), none);
        assert_eq!(read(Item::from(&b"\xff"[..])), none);
        assert_eq!(read(Item::Int(5)), none);
        assert_eq!(read(Item::dict([("a", Item::Int(1))])), none);
        assert_eq!(read(Item::list([Item::Int(1), Item::list(["http://w/"])])), none);
        let many = (0..WEB_SEEDS_MAX + 9).map(|n| format!("http://{n}/")).collect::<Vec<_>>();
        assert_eq!(read(Item::list(many.iter())), many[..WEB_SEEDS_MAX]);
        assert_eq!(listed(None), none);
    }

    #[test]
    fn a_file_is_below_a_folder_and_a_single_file_may_be_the_url_itself() {
        let one = made(Content::Single { len: 1 }, &[]);
        let many = made(folder(), &[]);
        let table = [
            (&one, "http://w/f.bin", 0, Some("http://w/f.bin")),
            (&one, "http://w/", 0, Some("http://w/a%20b")),
            (&one, "http://w/", 1, None),
            (&many, "http://w/", 0, Some("http://w/a%20b/x/50%25%23%3F.bin")),
            (&many, "http://w/d", 2, Some("http://w/d/a%20b/%C3%A9")),
            (&many, "http://w/?p=/", 2, Some("http://w/?p=/a%20b/%C3%A9")),
        ];
        for (metainfo, base, file, expected) in table {
            assert_eq!(metainfo.web_seed_url(base, file).as_deref(), expected, "{base} {file}");
        }
    }
}
