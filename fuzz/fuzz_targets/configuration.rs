//! A configuration, file and environment: every fault has its place and its mend, what is printed as in effect is in effect,
//! and no secret is in either.

#![no_main]

use libfuzzer_sys::fuzz_target;
use patapim_edge::config::fuzzing::load_text;
use patapim_edge::config::{Fault, Place};
use patapim_fuzz::{lines, text};

const SECRET: &str = "hunter2-and-more";

// Two variables, name and value, and the file.
fuzz_target!(|data: &str| {
    let [one, two, text] = lines(data.as_bytes()).map(text);
    let overrides = [one, two].into_iter().filter_map(|line| line.split_once('='));
    let mut variables: Vec<_> =
        overrides.map(|(name, value)| (format!("PATAPIM_EDGE__{name}"), value.to_owned())).collect();
    if text.contains("[mail]") {
        variables.push(("PATAPIM_EDGE__MAIL__PASSWORD".to_owned(), SECRET.to_owned()));
    }
    match load_text(text, variables) {
        Ok(loaded) => {
            let effective = loaded.config.effective();
            assert!(!effective.contains(SECRET));
            loaded.warnings.iter().for_each(|warning| well_placed(warning, text));
            // The password's place is not that file, and so the file alone may be one that wants a password.
            if !effective.contains("[mail]") {
                let again = load_text(&effective, Vec::new()).expect("what is printed can be read");
                assert_eq!(again.config.effective(), effective);
            }
        }
        Err(bad) => {
            assert!(!bad.faults.is_empty());
            assert!(!bad.to_string().contains(SECRET));
            bad.faults.iter().for_each(|fault| well_placed(fault, text));
        }
    }
});

fn well_placed(fault: &Fault, text: &str) {
    if let Place::File(_, line) = fault.place {
        assert!(line <= text.split('\n').count(), "{fault}");
    }
    assert!(!fault.wrong.is_empty() && !fault.mend.is_empty(), "{fault:?}");
}
