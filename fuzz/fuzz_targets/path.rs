//! Where a person wanted to be: a path on the tunnel and never elsewhere; and what the sign-in site puts behind it, the edge
//! takes away again, byte for byte.

#![no_main]

use libfuzzer_sys::fuzz_target;
use patapim_edge::deployer::fuzzing::{return_to, return_with};
use patapim_edge::edge::fuzzing::tokens;
use patapim_fuzz::{lines, text};
use url::Url;

const TUNNEL: &str = "https://ada.tunnel.patapim.test";

// Where the person wanted to be; any target.
fuzz_target!(|data: &[u8]| {
    let [wanted, target] = lines(data);
    let wanted = text(wanted);
    let path = return_to(wanted);
    assert!(path == wanted || path == "/");
    assert_eq!(return_to(&path), path);
    let url = Url::parse(&format!("{TUNNEL}{path}")).expect("a URL");
    assert_eq!(url.origin(), Url::parse(TUNNEL).expect("a URL").origin(), "{wanted:?}");
    let relative = Url::parse(TUNNEL).expect("a URL").join(&path).expect("a URL");
    assert_eq!(relative, url, "{wanted:?} as a relative reference");

    let with = return_with(&path, "a.b.c");
    let found = tokens(with.as_bytes());
    let (last, without) = found.last().expect("ours");
    assert_eq!(last.as_deref(), Some("a.b.c"));
    // A lone question mark is not kept: no parameter was behind it.
    assert!(
        path.as_bytes() == without || path.strip_suffix('?').is_some_and(|path| path.as_bytes() == without)
    );
    assert_eq!(found.len() - 1, tokens(path.as_bytes()).len());

    // Any target: each token goes alone, and all else stays in its order.
    let found = tokens(target);
    for (place, (_, without)) in found.iter().enumerate() {
        let left = tokens(without);
        assert_eq!(left.len(), found.len() - 1);
        let texts = || found.iter().map(|(text, _)| text);
        let others = texts().take(place).chain(texts().skip(place + 1));
        assert!(left.iter().map(|(text, _)| text).eq(others));
        assert!(without.len() < target.len());
        assert_eq!(pieces(without).len(), (pieces(target).len() - 1).max(1));
        assert!(pieces(without).iter().all(|piece| piece.is_empty() || pieces(target).contains(piece)));
    }
});

/// The parameters.
fn pieces(target: &[u8]) -> Vec<&[u8]> {
    let question = target.iter().position(|&byte| byte == b'?');
    question.map_or(vec![&b""[..]], |at| target[at + 1..].split(|&byte| byte == b'&').collect())
}
