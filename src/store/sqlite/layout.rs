//! What is in the file, and how it is known that nothing in it was changed but by us.
//!
//! SQLite finds a tree that does not hold together; a bit of a value that fell over it cannot see. So each entry has a sum
//! over all of itself, and the file one over all sums, which every commit brings up to date: an entry that was changed,
//! went missing or came from elsewhere is found before anything is served. They are sums against a failing disk; whoever
//! may write to the file can write sums as well.

use ring::digest::{Context, SHA256};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};

use crate::clock::Timestamp;
use crate::store::Revision;

/// "ptpm", in the file's header: by it `file(1)` and we know it.
pub(super) const APPLICATION_ID: i32 = 0x7074_706d;
/// The layout below. A program refuses what is newer than it.
pub(super) const VERSION: i64 = 2;
const SCHEMA: &str = "
    CREATE TABLE entries (
        key        TEXT PRIMARY KEY NOT NULL,
        value      BLOB NOT NULL,
        revision   INTEGER NOT NULL,
        expires_at INTEGER,
        sum        INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX entries_by_expiry ON entries (expires_at) WHERE expires_at IS NOT NULL;
    CREATE TABLE progress (
        only     INTEGER PRIMARY KEY CHECK (only = 0),
        revision INTEGER NOT NULL,
        moment   INTEGER NOT NULL,
        content  INTEGER NOT NULL,
        sum      INTEGER NOT NULL
    ) STRICT;
    INSERT INTO progress VALUES (0, 0, 0, 0, 0);
";
/// Before it there were no sums.
const FROM_1: &str = "
    ALTER TABLE entries ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE progress ADD COLUMN content INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE progress ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
";

/// SQLite's integers are signed. What does not fit is further away than anything we mean.
pub(super) fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The way back of [`column`].
pub(super) fn number(column: i64) -> u64 {
    u64::try_from(column).unwrap_or(0)
}

/// The sum of an entry.
pub(super) fn sum(key: &str, value: &[u8], revision: i64, expires_at: Option<i64>) -> i64 {
    let mut context = Context::new(&SHA256);
    context.update(&(key.len() as u64).to_be_bytes());
    context.update(key.as_bytes());
    context.update(&revision.to_be_bytes());
    context.update(&[u8::from(expires_at.is_some())]);
    context.update(&expires_at.unwrap_or_default().to_be_bytes());
    context.update(value);
    let mut first = [0; 8];
    first.copy_from_slice(&context.finish().as_ref()[..8]);
    i64::from_be_bytes(first)
}

/// What stands in a row of `entries`, where that is what was written: `key, value, revision, expires_at, sum`.
pub(super) struct Written<'a> {
    pub(super) key: &'a str,
    pub(super) value: &'a [u8],
    pub(super) revision: i64,
    pub(super) expires_at: Option<i64>,
    sum: i64,
}

#[derive(Debug, thiserror::Error)]
#[error("an entry under {0:?} is not as it was written")]
struct Changed(String);

impl<'a> Written<'a> {
    fn any(row: &'a Row<'_>) -> rusqlite::Result<Self> {
        let (key, value) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_blob()?);
        Ok(Self { key, value, revision: row.get(2)?, expires_at: row.get(3)?, sum: row.get(4)? })
    }

    /// Reads a row, and does not believe one whose sum is another.
    pub(super) fn read(row: &'a Row<'_>) -> rusqlite::Result<Self> {
        let written = Self::any(row)?;
        if written.sum == written.own_sum() {
            return Ok(written);
        }
        // Its kind alone: some keys are half a secret.
        let kind = written.key.split('/').next().unwrap_or_default().chars().take(40).collect();
        Err(rusqlite::Error::FromSqlConversionFailure(1, Type::Blob, Box::new(Changed(kind))))
    }

    fn own_sum(&self) -> i64 {
        sum(self.key, self.value, self.revision, self.expires_at)
    }
}

/// How far the file has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) revision: Revision,
    /// The latest moment it knows.
    pub(super) moment: Timestamp,
    /// All entries' sums, one over the other.
    pub(super) content: i64,
}

impl Progress {
    /// As the file says; none: it was changed, or is not there.
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        let mut select = connection.prepare_cached("SELECT revision, moment, content, sum FROM progress")?;
        let mut rows = select.query([])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let (revision, moment): (i64, i64) = (row.get(0)?, row.get(1)?);
        let progress = Self {
            revision: Revision(number(revision)),
            moment: Timestamp::from_millis(number(moment)),
            content: row.get(2)?,
        };
        Ok((progress.sum() == row.get::<_, i64>(3)?).then_some(progress))
    }

    fn sum(&self) -> i64 {
        let (revision, moment) = (column(self.revision.0), column(self.moment.millis()));
        sum("", &self.content.to_be_bytes(), revision, Some(moment))
    }

    /// Writes it down.
    pub(super) fn keep(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached("UPDATE progress SET revision = ?1, moment = ?2, content = ?3, sum = ?4")?
            .execute(params![column(self.revision.0), column(self.moment.millis()), self.content, self.sum()])
            .map(drop)
    }
}

/// Makes the tables in an empty file, or those of this layout out of those of an earlier one. All of it or nothing, so that
/// a crash leaves what was.
pub(super) fn prepare(connection: &mut Connection, version: i64) -> rusqlite::Result<()> {
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && version != 1 {
        return Ok(());
    }
    let making = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    making.pragma_update(None, "application_id", APPLICATION_ID)?;
    making.pragma_update(None, "user_version", VERSION)?;
    making.execute_batch(if tables == 0 { SCHEMA } else { FROM_1 })?;
    summed_up(&making)?;
    making.commit()
}

/// Takes everything for what was meant to be there.
pub(super) fn summed_up(changing: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut content = 0;
    {
        let mut select = changing.prepare("SELECT key, value, revision, expires_at, sum FROM entries")?;
        let mut update = changing.prepare("UPDATE entries SET sum = ?2 WHERE key = ?1")?;
        let mut wrong = Vec::new();
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let written = Written::any(row)?;
            let sum = written.own_sum();
            content ^= sum;
            if sum != written.sum {
                wrong.push((written.key.to_owned(), sum));
            }
        }
        for (key, sum) in wrong {
            update.execute(params![key, sum])?;
        }
    }
    let (revision, moment): (i64, i64) =
        changing
            .query_row("SELECT revision, moment FROM progress", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (revision, moment) = (Revision(number(revision)), Timestamp::from_millis(number(moment)));
    Progress { revision, moment, content }.keep(changing)
}

/// What is in the file that was not written so, if anything is.
pub(super) fn finding(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let Some(progress) = Progress::of(connection)? else {
        return Ok(Some("its table `progress` is not as it was written".to_owned()));
    };
    let mut content = 0;
    let mut select = connection.prepare("SELECT key, value, revision, expires_at, sum FROM entries")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        match Written::read(row) {
            Ok(written) => content ^= written.sum,
            Err(rusqlite::Error::FromSqlConversionFailure(_, _, why)) => return Ok(Some(why.to_string())),
            Err(other) => return Err(other),
        }
    }
    let missing = "entries are missing, or were put in".to_owned();
    Ok((content != progress.content).then_some(missing))
}
