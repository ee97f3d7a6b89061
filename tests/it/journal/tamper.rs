//! Whoever edits the file behind the journal's back is found out, and the entry is named.

use std::path::Path;

use orderly::journal::{
    Anchor, Anchored, BadEntry, Batch, Flaw, Hash, Head, ReadError, VerifyReport, sqlite, verify,
};
use proptest::prelude::*;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};

use super::support::{ID, Place, draft, start, stream};

/// Enough for several of everything, few enough for many cases.
const ENTRIES: u64 = 8;

/// One edit of the rows.
#[derive(Debug, Clone)]
enum Edit {
    /// Flips a bit of a column.
    Flip {
        seq: u64,
        column: Column,
        byte: usize,
        bit: u8,
    },
    Drop {
        seq: u64,
    },
    /// Removes it and moves the later ones up.
    DropAndClose {
        seq: u64,
    },
    /// Exchanges the content of two rows, hashes included.
    Swap {
        one: u64,
        other: u64,
    },
    /// Puts a copy of one entry at a place, moving the later ones down.
    Insert {
        at: u64,
        copy: u64,
    },
    /// Removes all from this one on.
    Truncate {
        from: u64,
    },
}

#[derive(Debug, Clone, Copy)]
enum Column {
    Seq,
    Stream,
    Kind,
    Time,
    Body,
    Previous,
    Hash,
}

fn edit() -> impl Strategy<Value = Edit> {
    let seq = || 1..=ENTRIES;
    let column = prop::sample::select(vec![
        Column::Seq,
        Column::Stream,
        Column::Kind,
        Column::Time,
        Column::Body,
        Column::Previous,
        Column::Hash,
    ]);
    prop_oneof![
        6 => (seq(), column, any::<prop::sample::Index>(), 0..8_u8)
            .prop_map(|(seq, column, byte, bit)| Edit::Flip { seq, column, byte: byte.index(64), bit }),
        // The last one missing is a truncation.
        1 => (1..ENTRIES).prop_map(|seq| Edit::Drop { seq }),
        1 => (1..ENTRIES).prop_map(|seq| Edit::DropAndClose { seq }),
        2 => (seq(), seq()).prop_filter("two rows", |(one, other)| one != other)
            .prop_map(|(one, other)| Edit::Swap { one: one.min(other), other: one.max(other) }),
        2 => (1..=ENTRIES + 1, seq()).prop_map(|(at, copy)| Edit::Insert { at, copy }),
        1 => (1..=ENTRIES).prop_map(|from| Edit::Truncate { from }),
    ]
}

async fn filled(place: &Place) -> Head {
    let running = place.open().await;
    let drafts = (1..=ENTRIES)
        .map(|number| draft(&format!("stream-{}", number % 3), format!("body {number}")))
        .collect();
    running.journal.append(Batch::from_drafts(drafts).expect("some")).await.expect("appended");
    let head = running.journal.head().await.expect("head");
    running.task.close().await;
    head
}

async fn run(connection: &mut SqliteConnection, statement: String) {
    connection.execute(AssertSqlSafe(statement)).await.expect("edited");
}

async fn tamperer(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("connected");
    for trigger in ["entries_are_not_changed", "entries_are_not_deleted"] {
        run(&mut connection, format!("DROP TRIGGER {trigger}")).await;
    }
    connection
}

async fn flip(connection: &mut SqliteConnection, seq: u64, column: Column, byte: usize, bit: u8) {
    let (name, text) = match column {
        Column::Seq => {
            // Far enough that it does not collide with another number.
            let moved = seq + (1 << (u32::from(bit) + 8));
            let statement = format!("UPDATE entries SET seq = {moved} WHERE seq = {seq}");
            return run(connection, statement).await;
        }
        Column::Time => {
            let change = 1_i64 << (byte % 56);
            let statement = format!("UPDATE entries SET time = time + {change} WHERE seq = {seq}");
            return run(connection, statement).await;
        }
        Column::Stream => ("stream", true),
        Column::Kind => ("kind", true),
        Column::Body => ("body", false),
        Column::Previous => ("previous", false),
        Column::Hash => ("hash", false),
    };
    let select = format!("SELECT CAST({name} AS BLOB) FROM entries WHERE seq = {seq}");
    let mut bytes: Vec<u8> =
        sqlx::query_scalar(AssertSqlSafe(select)).fetch_one(&mut *connection).await.expect("read");
    let at = byte % bytes.len();
    bytes[at] ^= 1 << bit;
    let value = if text { "CAST(? AS TEXT)" } else { "?" };
    let update = format!("UPDATE entries SET {name} = {value} WHERE seq = {seq}");
    let changed = sqlx::query(AssertSqlSafe(update)).bind(bytes).execute(connection).await;
    changed.expect("edited");
}

const REST: &str = "stream, kind, time, body, previous, hash";

/// Edits the rows; gives the number of the entry that is bad first, if the chain alone shows it.
async fn apply(connection: &mut SqliteConnection, edit: &Edit) -> Option<u64> {
    // Through negative numbers, so that no two rows collide on the way.
    let shift = |from: u64, by: i64| {
        [
            format!("UPDATE entries SET seq = -seq WHERE seq >= {from}"),
            format!("UPDATE entries SET seq = -seq + {by} WHERE seq < 0"),
        ]
    };
    match *edit {
        Edit::Flip { seq, column, byte, bit } => {
            flip(connection, seq, column, byte, bit).await;
            Some(seq)
        }
        Edit::Drop { seq } => {
            run(connection, format!("DELETE FROM entries WHERE seq = {seq}")).await;
            Some(seq)
        }
        Edit::DropAndClose { seq } => {
            run(connection, format!("DELETE FROM entries WHERE seq = {seq}")).await;
            for statement in shift(seq, -1) {
                run(connection, statement).await;
            }
            Some(seq)
        }
        Edit::Swap { one, other } => {
            for (from, to) in [(one, -1), (other, one.cast_signed()), (-1_i64 as u64, 0)] {
                let from = from.cast_signed();
                let to = if to == 0 { other.cast_signed() } else { to };
                run(connection, format!("UPDATE entries SET seq = {to} WHERE seq = {from}")).await;
            }
            Some(one)
        }
        Edit::Insert { at, copy } => {
            run(
                connection,
                format!(
                    "CREATE TEMP TABLE copied AS SELECT {REST} FROM entries WHERE seq = {copy}"
                ),
            )
            .await;
            for statement in shift(at, 1) {
                run(connection, statement).await;
            }
            run(
                connection,
                format!("INSERT INTO entries (seq, {REST}) SELECT {at}, {REST} FROM copied"),
            )
            .await;
            // A copy before itself is not told from a copy after itself: the second is the bad one.
            Some(if at == copy { at + 1 } else { at })
        }
        Edit::Truncate { from } => {
            run(connection, format!("DELETE FROM entries WHERE seq >= {from}")).await;
            None
        }
    }
}

async fn report(path: &Path, anchor: Option<Anchor>) -> VerifyReport {
    let reader = sqlite::open_read_only(path).await.expect("opened");
    verify(&reader, anchor).await.expect("verified")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn every_single_edit_is_found(edit in edit()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let place = Place::sqlite();
            let head = filled(&place).await;
            let mut connection = tamperer(&place.path()).await;
            let bad = apply(&mut connection, &edit).await;
            connection.close().await.expect("closed");

            let alone = report(&place.path(), None).await;
            let anchored = report(&place.path(), Some(head.into())).await;
            match bad {
                Some(seq) => {
                    let found = alone.first_bad.as_ref().map(|bad| bad.seq);
                    prop_assert_eq!(found, Some(seq.cast_signed()), "{:?}", &alone);
                    prop_assert_eq!(alone.entries, seq - 1);
                    prop_assert!(!anchored.is_sound());
                    // The tail is checked when a journal is opened: this one is all tail.
                    let options = sqlite::Options::default();
                    prop_assert!(sqlite::open(&place.path(), &options).await.is_err());
                }
                None => {
                    // The documented limit: only the anchor tells.
                    prop_assert!(alone.is_sound(), "{:?}", &alone);
                    prop_assert_eq!(anchored.anchored, Anchored::NotReached);
                    prop_assert!(!anchored.is_sound());
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_rewritten_entry_with_a_hash_to_match_is_named() {
    let place = Place::sqlite();
    filled(&place).await;
    // The same history but for one body: its entries are what a forger would compute.
    let forged = Place::sqlite();
    let running = forged.open().await;
    for number in 1..=ENTRIES {
        let body = if number == 4 { "forged".to_owned() } else { format!("body {number}") };
        let entry = draft(&format!("stream-{}", number % 3), body);
        running.journal.append(Batch::of(entry)).await.expect("appended");
    }
    running.task.close().await;
    let mut connection = tamperer(&place.path()).await;
    run(&mut connection, format!("ATTACH '{}' AS forged", forged.path().display())).await;
    let columns = "(seq, stream, kind, time, body, previous, hash)";
    let replace = |wanted: &str| {
        format!("REPLACE INTO entries {columns} SELECT * FROM forged.entries WHERE {wanted}")
    };
    run(&mut connection, replace("seq = 4")).await;
    let found = report(&place.path(), None).await;
    assert_eq!(found.first_bad, Some(BadEntry { seq: 4, flaw: Flaw::Rewritten }));

    // All computed anew from there on: the chain has no key, so only the anchor tells.
    let honest = Place::sqlite();
    let head = filled(&honest).await;
    run(&mut connection, replace("seq >= 4")).await;
    connection.close().await.expect("closed");
    assert!(report(&place.path(), None).await.is_sound());
    let anchored = report(&place.path(), Some(head.into())).await;
    assert!(matches!(anchored.anchored, Anchored::Differs { .. }), "{anchored:?}");
}

#[tokio::test]
async fn entries_of_another_journal_and_a_changed_identity_are_found() {
    let place = Place::sqlite();
    filled(&place).await;
    let mut connection = tamperer(&place.path()).await;
    run(&mut connection, "UPDATE meta SET created_at = created_at + 1".to_owned()).await;
    connection.close().await.expect("closed");
    let found = report(&place.path(), None).await;
    assert_eq!(found.first_bad, Some(BadEntry { seq: 1, flaw: Flaw::Foreign }));
}

#[tokio::test]
async fn a_changed_entry_is_not_read_as_if_it_were_one() {
    let place = Place::sqlite();
    filled(&place).await;
    let running = place.open().await;
    let mut connection = tamperer(&place.path()).await;
    run(&mut connection, "UPDATE entries SET body = x'00' WHERE seq = 4".to_owned()).await;
    let bad = Err(ReadError::Bad(BadEntry { seq: 4, flaw: Flaw::Changed }));
    assert_eq!(running.journal.read_stream(&stream("stream-1")).await, bad);
    assert_eq!(running.journal.read(1, 0).await, bad);
    running.journal.read_stream(&stream("stream-2")).await.expect("that one is sound");
}

#[tokio::test]
async fn an_index_that_hides_an_entry_is_reported() {
    let place = Place::sqlite();
    filled(&place).await;
    let mut connection = tamperer(&place.path()).await;
    // The two indexes exchange their pages behind SQLite's back.
    run(&mut connection, "PRAGMA writable_schema = ON".to_owned()).await;
    run(
        &mut connection,
        "UPDATE sqlite_schema SET rootpage = (SELECT sum(rootpage) FROM sqlite_schema \
         WHERE name LIKE 'entries_by_%') - rootpage WHERE name LIKE 'entries_by_%'"
            .to_owned(),
    )
    .await;
    connection.close().await.expect("closed");
    let found = report(&place.path(), None).await;
    assert!(found.first_bad.is_none());
    assert!(!found.damage.is_empty() && !found.is_sound());
}

#[tokio::test]
async fn an_anchor_from_the_past_holds_as_long_as_history_does() {
    let place = Place::sqlite();
    filled(&place).await;
    let reader = sqlite::open_read_only(&place.path()).await.expect("opened");
    let entry = reader.read(3, 1).await.expect("read").remove(0);
    let anchor = Anchor { seq: entry.seq, hash: entry.hash };
    assert!(report(&place.path(), Some(anchor)).await.is_sound());
    let other = Anchor { seq: 3, hash: Hash::from_bytes([1; 32]) };
    let found = report(&place.path(), Some(other)).await;
    assert_eq!(found.anchored, Anchored::Differs { found: entry.hash });
    assert!(!found.is_sound());
}

#[tokio::test]
async fn an_empty_journal_is_sound() {
    let place = Place::sqlite();
    sqlite::create(&place.path(), ID, start(), &sqlite::Options::default()).await.expect("created");
    let found = report(&place.path(), None).await;
    assert!(found.is_sound());
    assert_eq!(found.entries, 0);
}
