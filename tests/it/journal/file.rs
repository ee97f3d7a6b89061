//! What is particular to a journal in a file: where it may begin, who may write it, and what is
//! said when the disk, a lock or another process is in the way.

use std::path::Path;
use std::time::Duration;

use orderly::journal::{
    Anchor, AppendError, Expect, Failure, OpenError, Status, TaskEnd, sqlite, verify,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Executor};

use super::support::{ID, Place, Running, draft, one, start, stream};

async fn create(path: &Path) -> Result<orderly::journal::Opened, OpenError> {
    sqlite::create(path, ID, start(), &sqlite::Options::default()).await
}

async fn open(path: &Path) -> Result<orderly::journal::Opened, OpenError> {
    sqlite::open(path, &sqlite::Options::default()).await
}

/// A connection as any other program would have.
async fn stranger(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::ZERO);
    SqliteConnection::connect_with(&options).await.expect("a connection")
}

#[tokio::test]
async fn opening_never_creates_and_the_error_says_how_to() {
    let place = Place::sqlite();
    let path = place.path();
    let error = open(&path).await.expect_err("nothing there");
    assert_eq!(
        error.to_string(),
        format!(
            "no journal at `{}`: create it with `orderly init` or `orderly serve --init`, or check \
             the path (a wrong path would start a second history)",
            path.display()
        )
    );
    assert!(matches!(sqlite::open_read_only(&path).await, Err(OpenError::Missing { .. })));
    let folder = path.parent().expect("a folder");
    assert_eq!(std::fs::read_dir(folder).expect("readable").count(), 0, "nothing was left there");
}

#[tokio::test]
async fn creating_never_overwrites() {
    let place = Place::sqlite();
    place.open().await.task.close().await;
    assert!(matches!(create(&place.path()).await, Err(OpenError::Exists { .. })));
    open(&place.path()).await.expect("it is untouched");
}

#[tokio::test]
async fn creating_refuses_where_half_of_a_journal_is_left() {
    let place = Place::sqlite();
    let log = place.path().with_file_name("journal.db-wal");
    std::fs::write(&log, b"frames").expect("written");
    assert!(
        matches!(create(&place.path()).await, Err(OpenError::Leftover { path }) if path == log)
    );
    assert!(!place.path().exists());
}

#[tokio::test]
async fn another_file_is_not_taken_for_a_journal() {
    let place = Place::sqlite();
    let path = place.path();
    let refused = async |what: &str| match open(&path).await {
        Err(OpenError::NotAJournal { .. }) => {}
        other => panic!("{what}: {other:?}"),
    };
    std::fs::write(&path, b"").expect("written");
    refused("an empty file").await;
    std::fs::write(&path, vec![b'x'; 8192]).expect("written");
    refused("a text").await;
    std::fs::remove_file(&path).expect("removed");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut other = SqliteConnection::connect_with(&options).await.expect("connected");
    other.execute("CREATE TABLE entries (seq INTEGER)").await.expect("created");
    other.close().await.expect("closed");
    refused("another database").await;
    assert!(matches!(
        open(path.parent().expect("a folder")).await,
        Err(OpenError::NotAJournal { .. })
    ));
}

#[tokio::test]
async fn another_format_is_named() {
    let place = Place::sqlite();
    place.open().await.task.close().await;
    let mut other = stranger(&place.path()).await;
    other.execute("PRAGMA user_version = 2").await.expect("set");
    other.close().await.expect("closed");
    let error = open(&place.path()).await.expect_err("a newer one");
    assert!(matches!(error, OpenError::Format { found: 2, supported: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_damaged_header_is_refused() {
    let place = Place::sqlite();
    let running = place.open().await;
    running.append("s", "1").await;
    running.task.close().await;
    let mut bytes = std::fs::read(place.path()).expect("read");
    bytes[..16].fill(0);
    std::fs::write(place.path(), bytes).expect("written");
    assert!(matches!(open(&place.path()).await, Err(OpenError::NotAJournal { .. })));
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let place = Place::sqlite();
    let running = place.open().await;
    for number in 0..40 {
        running.append("s", &format!("{number}").repeat(400)).await;
    }
    running.task.close().await;
    let file = std::fs::OpenOptions::new().write(true).open(place.path()).expect("opened");
    file.set_len(5 * 4096).expect("truncated");
    let error = open(&place.path()).await.expect_err("half of it is gone");
    assert!(
        matches!(
            error,
            OpenError::Store { source: Failure::Corrupted(_), .. } | OpenError::NotAJournal { .. }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_second_writer_is_refused_as_long_as_the_first_lives() {
    let place = Place::sqlite();
    let running = place.open().await;
    let error = open(&place.path()).await.expect_err("in use");
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    running.task.close().await;
    open(&place.path()).await.expect("free again");
}

#[tokio::test]
async fn it_is_read_while_it_is_written_and_after() {
    let place = Place::sqlite();
    let running = place.open().await;
    running.append("s", "1").await;
    let reader = sqlite::open_read_only(&place.path()).await.expect("opened");
    assert_eq!(reader.read(1, 0).await.expect("read").len(), 1);
    running.append("s", "2").await;
    assert_eq!(reader.head().await.expect("head").seq, 2);
    assert!(verify(&reader, None).await.expect("verified").is_sound());
    running.task.close().await;
    let reader = sqlite::open_read_only(&place.path()).await.expect("opened");
    assert_eq!(reader.head().await.expect("head").seq, 2);
}

#[tokio::test]
async fn entries_cannot_be_changed_or_removed_by_ordinary_means() {
    let place = Place::sqlite();
    let running = place.open().await;
    running.append("s", "1").await;
    let mut other = stranger(&place.path()).await;
    for statement in ["UPDATE entries SET body = x'00'", "DELETE FROM entries"] {
        let error = other.execute(statement).await.expect_err("refused");
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_appends_until_there_is_room() {
    let place = Place::sqlite();
    place.open().await.task.close().await;
    let options = sqlite::Options { max_pages: Some(40), ..sqlite::Options::default() };
    let opened = sqlite::open(&place.path(), &options).await.expect("opened");
    let running = Running::start(opened);
    let big = "x".repeat(6000);
    let mut stored = 0;
    let refused = loop {
        match running.journal.append(one("s", &big)).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 40, "the disk never fills");
    };
    assert_eq!(refused, AppendError::Unavailable { reason: Failure::DiskFull });
    assert!(matches!(running.journal.status(), Status::Failed { reason: Failure::DiskFull, .. }));
    // More than one statement takes: the transaction is refused whole.
    let drafts = (0..300).map(|_| draft("t", &big)).collect();
    let many = orderly::journal::Batch::from_drafts(drafts).expect("not empty");
    let refused = running.journal.append(many).await;
    assert_eq!(refused, Err(AppendError::Unavailable { reason: Failure::DiskFull }));
    assert!(stored > 0);
    assert_eq!(running.journal.head().await.expect("head").seq, stored);
    assert!(verify(&running.journal, None).await.expect("verified").is_sound());
    running.task.close().await;

    let running = place.open().await;
    let expecting = Expect::StreamVersion(stored);
    let batch = one("s", &big).expecting(stream("s"), expecting);
    assert_eq!(running.journal.append(batch).await.expect("room").last_seq, stored + 1);
}

#[tokio::test]
async fn a_lock_held_by_another_is_named_and_waited_for_a_little() {
    let place = Place::sqlite();
    place.open().await.task.close().await;
    let lock_patience = Duration::from_millis(20);
    let options = sqlite::Options { lock_patience, ..sqlite::Options::default() };
    let running = Running::start(sqlite::open(&place.path(), &options).await.expect("opened"));
    running.append("s", "1").await;
    let mut other = stranger(&place.path()).await;
    other.execute("BEGIN EXCLUSIVE").await.expect("locked");
    let refused = running.journal.append(one("s", "2")).await;
    assert_eq!(refused, Err(AppendError::Unavailable { reason: Failure::Locked }));
    assert!(matches!(running.journal.status(), Status::Failed { reason: Failure::Locked, .. }));
    assert_eq!(running.bodies().await, ["1"], "it can still be read");
    other.execute("ROLLBACK").await.expect("released");
    running.append("s", "3").await;
    assert_eq!(running.journal.status(), Status::Healthy);
    assert_eq!(running.bodies().await, ["1", "3"]);
}

#[tokio::test]
async fn another_process_that_appends_stops_the_writer_for_good() {
    let place = Place::sqlite();
    let running = place.open().await;
    running.append("s", "1").await;
    let mut other = stranger(&place.path()).await;
    other
        .execute(
            "INSERT INTO entries SELECT seq + 1, stream, kind, time, body, hash, zeroblob(32) \
             FROM entries WHERE seq = 1",
        )
        .await
        .expect("inserted");
    let lost = Err(AppendError::Unavailable { reason: Failure::OtherWriter });
    assert_eq!(running.journal.append(one("s", "2")).await, lost);
    assert_eq!(running.journal.append(one("s", "3")).await, lost);
    assert!(matches!(
        running.journal.status(),
        Status::Failed { reason: Failure::OtherWriter, .. }
    ));
    assert_eq!(running.task.close().await, TaskEnd::Closed);
    let error = open(&place.path()).await.expect_err("the chain is broken");
    assert!(matches!(error, OpenError::Broken { ref bad, .. } if bad.seq == 2), "{error}");
}

#[tokio::test]
async fn a_kill_at_any_time_leaves_what_was_acknowledged() {
    let place = Place::sqlite();
    let running = place.open().await;
    for number in 0..10 {
        running.append("s", &number.to_string()).await;
    }
    // The files as they are at this instant, which is what a killed process leaves.
    let copy = Place::sqlite();
    for suffix in ["", "-wal"] {
        let name = format!("journal.db{suffix}");
        let from = place.path().with_file_name(&name);
        std::fs::copy(from, copy.path().with_file_name(&name)).expect("copied");
    }
    let again = copy.open().await;
    assert_eq!(again.bodies().await.len(), 10);
    assert_eq!(again.append("s", "next").await, 11);
    let anchor = Anchor::from(running.journal.head().await.expect("head"));
    let report = verify(&again.journal, Some(anchor)).await.expect("verified");
    assert!(report.is_sound(), "{report:?}");
}
