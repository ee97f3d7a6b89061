//! What can go wrong with a journal, in words for the person who has to act on it.

use std::path::PathBuf;

use super::entry::StreamId;
use super::verify::BadEntry;

/// A name or digest that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing in it.
    #[error("{what} is empty")]
    Empty {
        /// Which kind of name.
        what: &'static str,
    },
    /// Longer than the store takes.
    #[error("{what} has {bytes} bytes, the limit is {limit}")]
    TooLong {
        /// Which kind of name.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Would garble a table or a log.
    #[error("{what} contains a control character")]
    ControlCharacter {
        /// Which kind of name.
        what: &'static str,
    },
    /// Not 64 hexadecimal digits.
    #[error("not a hash: expected 64 hexadecimal digits")]
    NotAHash,
}

/// Why storage did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No room for another page.
    #[error("the disk is full; free space on the volume of the journal")]
    DiskFull,
    /// The file, its directory or its volume does not take writes.
    #[error(
        "the journal is read-only; check the permissions of the file, its directory and volume"
    )]
    ReadOnly,
    /// Another connection holds the write lock for longer than the patience.
    #[error("another process has locked the journal; end whatever else has the file open")]
    Locked,
    /// Another process appended: two histories would interleave, so this one stopped for good.
    #[error(
        "another process writes this journal; end it, run `orderly audit verify`, then restart"
    )]
    OtherWriter,
    /// The file's structure is damaged.
    #[error("the journal is damaged ({0}); run `orderly audit verify` and restore a backup")]
    Corrupted(String),
    /// The operating system reported a failed read, write or sync.
    #[error("the volume of the journal failed ({0}); check the disk and the kernel's log")]
    Io(String),
    /// The writer has ended.
    #[error("the journal has been closed")]
    Closed,
    /// None of the above.
    #[error("the journal's store failed: {0}")]
    Other(String),
}

/// Why a batch has no receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Someone else appended to the stream first; nothing of the batch is stored. Load it again.
    #[error("stream `{stream}` has {found} entries, not {expected}: load it again and decide anew")]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// The version the batch asked for.
        expected: u64,
        /// The version it has.
        found: u64,
    },
    /// The queue has no room; nothing is stored. Shed the load or try later.
    #[error("the journal's queue is full; try again later")]
    Full,
    /// The store did not take it; nothing of the batch is stored.
    #[error("nothing was stored: {reason}")]
    Unavailable {
        /// Why.
        reason: Failure,
    },
    /// Nobody knows whether it is stored: load the stream again before deciding anything.
    #[error("it is unknown whether the entries were stored; load the stream again")]
    Unknown,
    /// Over a limit; nothing is stored, and it will not be at the next attempt either.
    #[error("{what} of the batch is {size}, the limit is {limit}; split it or make it smaller")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
}

/// Why nothing could be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The stored bytes are not what was appended.
    #[error("{0}; run `orderly audit verify`")]
    Bad(BadEntry),
    /// The stream has more entries than anything here takes into memory.
    #[error("stream `{stream}` has more than {limit} entries; read it page by page")]
    TooMany {
        /// The stream.
        stream: StreamId,
        /// The limit.
        limit: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Failure),
}

/// Why a journal could not be opened or created.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No file there. Never created on the way: a wrong path would start a second history.
    #[error(
        "no journal at `{}`: create it with `orderly init` or `orderly serve --init`, or check the \
         path (a wrong path would start a second history)", path.display()
    )]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// Creating refuses to touch what is there.
    #[error("`{}` exists already; open it without `--init`, or choose another path", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// A write-ahead log without its journal: someone removed one of the two.
    #[error(
        "`{}` was left behind by a journal that is gone; restore the journal beside it, or remove \
         it if that history is not wanted", path.display()
    )]
    Leftover {
        /// The path of what was left.
        path: PathBuf,
    },
    /// Another process has it open for writing.
    #[error(
        "the journal `{}` is in use by another process; end that one first, or give this one a \
         journal of its own", path.display()
    )]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// Some other file.
    #[error("`{}` is not a journal ({detail}); check the path", path.display())]
    NotAJournal {
        /// The path.
        path: PathBuf,
        /// How that was seen.
        detail: String,
    },
    /// Written by another version of the program.
    #[error(
        "the journal `{}` has format {found}, this version reads format {supported}; use the \
         version of orderly that wrote it", path.display()
    )]
    Format {
        /// The path.
        path: PathBuf,
        /// The format of the file.
        found: i64,
        /// The format this program reads.
        supported: i64,
    },
    /// Its last entries do not form a chain.
    #[error(
        "the journal `{}` is broken: {bad}; run `orderly audit verify` and restore a backup",
        path.display()
    )]
    Broken {
        /// The path.
        path: PathBuf,
        /// The first bad entry among the last ones.
        bad: BadEntry,
    },
    /// The operating system refused a file operation.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What was tried, as an infinitive.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The store failed.
    #[error("cannot open the journal `{}`", path.display())]
    Store {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: Failure,
    },
}
