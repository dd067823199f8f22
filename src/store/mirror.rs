//! One prefix of the store, kept in memory: a snapshot first, then the change feed.
//!
//! The path of a request reads mirrors only. Whoever has written and needs to see it mirrored awaits
//! [`Mirror::reached`] with the revision that the commit returned.
