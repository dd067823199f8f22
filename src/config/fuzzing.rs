//! A door for the fuzz targets (`fuzz/`) to the text of a configuration. In no program: only `cfg(fuzzing)` has it.

use std::path::Path;

use super::{BadConfig, Loaded};

/// As [`load_values`](super::load_values), of a text that lies nowhere.
pub fn load_text(text: &str, variables: Vec<(String, String)>) -> Result<Loaded, BadConfig> {
    let path = Path::new("/etc/patapim-edge/edge.toml");
    super::parse(path, text, variables).judged(path)
}
