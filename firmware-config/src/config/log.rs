//! `[log]`: captions on disk.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::Check;

/// Captions on disk, a JSON line each. Off without `path`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawLog {
    /// The file; older ones lie beside it, with a number behind their name.
    path: Option<PathBuf>,
    /// A new file is begun before this one would be longer.
    max_bytes: u64,
    /// Older files that are kept.
    keep: usize,
}

impl Default for RawLog {
    fn default() -> Self {
        Self { path: None, max_bytes: 10 << 20, keep: 5 }
    }
}

/// Captions on disk, a JSON line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Log {
    /// The file; older ones lie beside it, with a number behind their name.
    pub path: PathBuf,
    /// A new file is begun before this one would be longer.
    pub max_bytes: u64,
    /// Older files that are kept.
    pub keep: usize,
}

impl RawLog {
    /// None without the section.
    pub(super) fn validate(self, check: &mut Check) -> Option<Log> {
        if !check.has("log") {
            return None;
        }
        // A caption with its words takes a few hundred bytes; a file must hold some.
        if self.max_bytes < 4096 {
            check.problem("log.max_bytes", format!("{} bytes; give 4096 or more", self.max_bytes));
        }
        if self.keep > 1000 {
            check.problem("log.keep", format!("{} files; give 0 to 1000", self.keep));
        }
        if self.path.is_none() {
            check.problem("log.path", "missing; give the file, or take the section out");
        }
        self.path.map(|path| Log { path, max_bytes: self.max_bytes, keep: self.keep })
    }
}
