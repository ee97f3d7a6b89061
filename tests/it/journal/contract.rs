//! What every store promises.

use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use orderly::journal::batch::{MAX_BATCH_ENTRIES, MAX_BODY_BYTES};
use orderly::journal::faults::Fault;
use orderly::journal::{
    AppendError, Batch, Commit, Draft, Expect, Kind, Observer, Order, PAGE_ENTRIES, Search, verify,
};

use super::support::{Place, Running, draft, one, start, stream};

#[tokio::test]
async fn entries_come_back_as_they_were_appended_in_order_and_linked() {
    for place in Place::all() {
        let running = place.open().await;
        let batch = one("a", [0, 255, 7]).and(draft("b", "")).and(draft("a", "third"));
        let receipt = running.journal.append(batch.clone()).await.expect("appended");
        assert_eq!((receipt.first_seq, receipt.last_seq), (1, 3));
        assert_eq!(running.append("c", "fourth").await, 4);

        let entries = running.journal.read(1, 0).await.expect("read");
        assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
        for (entry, draft) in entries.iter().zip(batch.drafts()) {
            assert_eq!((&entry.stream, &entry.kind), (&draft.stream, &draft.kind));
            assert_eq!(entry.body, draft.body);
            assert_eq!(entry.time.as_microsecond(), draft.time.as_microsecond());
            assert_eq!(entry.time.subsec_nanosecond() % 1000, 0, "stored to the microsecond");
        }
        for pair in entries.windows(2) {
            assert_eq!(pair[0].hash, pair[1].previous);
        }
        let head = running.journal.head().await.expect("head");
        assert_eq!((head.seq, head.hash), (4, entries[3].hash));

        let page = running.journal.read(2, 2).await.expect("read");
        assert_eq!(page, entries[1..3]);
        assert!(running.journal.read(5, 0).await.expect("read").is_empty());
        assert!(verify(&running.journal, None).await.expect("verified").is_sound());
    }
}

#[tokio::test]
async fn everything_is_there_after_it_was_closed_and_opened_again() {
    for place in Place::all() {
        let running = place.open().await;
        running.append("a", "1").await;
        let before = running.journal.read(1, 0).await.expect("read");
        let identity = running.journal.identity();
        running.task.close().await;
        let refused = running.journal.append(one("a", "late")).await;
        assert!(matches!(refused, Err(AppendError::Unavailable { .. })), "{refused:?}");

        let running = place.open().await;
        assert_eq!(running.journal.identity(), identity);
        assert_eq!(*running.journal.subscribe().borrow(), 1);
        assert_eq!(running.journal.read(1, 0).await.expect("read"), before);
        assert_eq!(running.append("a", "2").await, 2);
        assert!(verify(&running.journal, None).await.expect("verified").is_sound());
    }
}

#[tokio::test]
async fn an_append_is_refused_whole_when_the_stream_is_not_as_expected() {
    for place in Place::all() {
        let running = place.open().await;
        let new = |name: &str| one(name, "x").expecting(stream(name), Expect::StreamVersion(0));
        let receipt = running.journal.append(new("a")).await.expect("appended");
        assert_eq!(receipt.stream_version(&stream("a")), Some(1));
        let conflict = |name: &str, expected, found| {
            Err(AppendError::Conflict { stream: stream(name), expected, found })
        };
        assert_eq!(running.journal.append(new("a")).await, conflict("a", 0, 1));

        let behind = one("a", "x").expecting(stream("a"), Expect::StreamVersion(7));
        assert_eq!(running.journal.append(behind).await, conflict("a", 7, 1));

        // One of two does not hold: nothing of the batch is stored.
        let both = new("b").and(draft("a", "x")).expecting(stream("a"), Expect::StreamVersion(0));
        assert_eq!(running.journal.append(both).await, conflict("a", 0, 1));
        assert!(running.journal.read_stream(&stream("b")).await.expect("read").is_empty());

        // A condition on a stream to which nothing is appended.
        let watched = one("c", "x").expecting(stream("a"), Expect::StreamVersion(1));
        let receipt = running.journal.append(watched).await.expect("appended");
        assert_eq!(receipt.stream_version(&stream("a")), Some(1));

        // Entries that nobody had expectations on count as well.
        running.append("a", "x").await;
        let next = one("a", "x")
            .and(draft("a", "x"))
            .expecting(stream("a"), Expect::StreamVersion(2))
            .expecting(stream("unheard-of"), Expect::StreamVersion(0));
        let receipt = running.journal.append(next).await.expect("appended");
        assert_eq!(receipt.stream_version(&stream("a")), Some(4));
        assert_eq!(receipt.stream_version(&stream("unheard-of")), Some(0));
        assert_eq!(receipt.stream_version(&stream("c")), None);

        let any = new("a").expecting(stream("a"), Expect::Any);
        running.journal.append(any).await.expect("the later expectation counts");
    }
}

#[tokio::test]
async fn of_many_that_compete_for_a_version_exactly_one_wins() {
    for place in Place::all() {
        let running = place.open().await;
        for round in 0..4 {
            let attempts = (0..50).map(|number| {
                let batch = one("contested", format!("{round}/{number}"))
                    .expecting(stream("contested"), Expect::StreamVersion(round));
                running.journal.append(batch)
            });
            let outcomes = futures::future::join_all(attempts).await;
            let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            assert_eq!(won, 1);
            for outcome in outcomes.into_iter().filter_map(Result::err) {
                assert_eq!(
                    outcome,
                    AppendError::Conflict {
                        stream: stream("contested"),
                        expected: round,
                        found: round + 1
                    }
                );
            }
        }
        assert_eq!(running.journal.head().await.expect("head").seq, 4);
    }
}

#[derive(Debug, Default)]
struct Tally(Mutex<Vec<Commit>>);

impl Observer for Tally {
    fn committed(&self, commit: Commit) {
        self.0.lock().expect("not poisoned").push(commit);
    }
}

#[tokio::test]
async fn what_waits_together_is_stored_together_whatever_its_size() {
    for place in Place::all() {
        let tally = Arc::new(Tally::default());
        let running = Running::start(place.opened().await.observed_by(tally.clone()));
        running.faults.next([Fault::Held]);
        let (journal, faults) = (running.journal.clone(), running.faults.clone());
        let first = tokio::spawn(async move { journal.append(one("s", "first")).await });
        while faults.held() == 0 {
            tokio::task::yield_now().await;
        }
        let sizes = [1, 63, 64, 65, 300, 1];
        let rest = sizes.map(|size| {
            let drafts = vec![draft("s", "rest"); size];
            running.journal.append(Batch::from_drafts(drafts).expect("not empty"))
        });
        let rest = futures::future::join_all(rest);
        tokio::pin!(rest);
        // Polled once, so that all of them wait before the first is let go.
        assert!(futures::poll!(&mut rest).is_pending());
        assert_eq!(running.journal.queue_depth(), sizes.len());
        faults.release();
        let receipts = rest.await;
        first.await.expect("no panic").expect("appended");

        let mut next = 2;
        for (receipt, size) in receipts.into_iter().zip(sizes) {
            let receipt = receipt.expect("appended");
            assert_eq!(receipt.first_seq, next);
            next += size as u64;
            assert_eq!(receipt.last_seq, next - 1);
        }
        let commits = tally.0.lock().expect("not poisoned").clone();
        let total: usize = sizes.iter().sum();
        let expected = [(1, 1), (total, sizes.len())];
        let seen: Vec<_> = commits.iter().map(|commit| (commit.entries, commit.batches)).collect();
        assert_eq!(seen, expected);
        assert!(verify(&running.journal, None).await.expect("verified").is_sound());
    }
}

#[tokio::test]
async fn a_full_queue_sheds_at_once_and_whoever_waits_gets_through() {
    for place in Place::all() {
        let running = Running::start(place.opened().await.with_queue(1));
        running.faults.next([Fault::Held]);
        let journal = running.journal.clone();
        let held = tokio::spawn(async move { journal.append(one("s", "held")).await });
        while running.faults.held() == 0 {
            tokio::task::yield_now().await;
        }
        let slot = running.journal.try_reserve().expect("there is one place");
        assert_eq!(running.journal.try_reserve().err(), Some(AppendError::Full));
        assert_eq!(running.journal.append(one("s", "shed")).await, Err(AppendError::Full));
        let patient = running.journal.append_when_room(one("s", "patient"));
        tokio::pin!(patient);
        assert!(futures::poll!(&mut patient).is_pending());

        running.faults.release();
        slot.append(one("s", "reserved")).await.expect("the place was kept");
        patient.await.expect("its turn came");
        held.await.expect("no panic").expect("appended");
        assert_eq!(running.bodies().await, ["held", "reserved", "patient"]);
    }
}

#[tokio::test]
async fn bytes_fill_the_queue_as_batches_do() {
    for place in Place::all() {
        let running = place.open().await;
        running.faults.next([Fault::Held]);
        let journal = running.journal.clone();
        let held = tokio::spawn(async move { journal.append(one("s", "held")).await });
        while running.faults.held() == 0 {
            tokio::task::yield_now().await;
        }
        let heavy = || {
            let drafts = vec![draft("s", vec![0; MAX_BODY_BYTES]); 7];
            running.journal.append(Batch::from_drafts(drafts).expect("not empty"))
        };
        let (first, second) = (heavy(), heavy());
        tokio::pin!(first);
        tokio::pin!(second);
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(heavy().await, Err(AppendError::Full));
        running.faults.release();
        held.await.expect("no panic").expect("appended");
        first.await.expect("appended");
        second.await.expect("appended");
        heavy().await.expect("there is room again");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_what_is_just_not_is_stored() {
    for place in Place::all() {
        let running = place.open().await;
        let too_large = |outcome| matches!(outcome, Err(AppendError::TooLarge { .. }));
        let body = vec![b'x'; MAX_BODY_BYTES + 1];
        assert!(too_large(running.journal.append(one("s", &body)).await));
        let drafts = vec![draft("s", ""); MAX_BATCH_ENTRIES + 1];
        let many = Batch::from_drafts(drafts.clone()).expect("not empty");
        assert!(too_large(running.journal.append(many).await));
        assert_eq!(running.journal.head().await.expect("head").seq, 0);

        running.journal.append(one("s", &body[1..])).await.expect("at the limit");
        let many = Batch::from_drafts(drafts[1..].to_vec()).expect("not empty");
        let receipt = running.journal.append(many).await.expect("at the limit");
        assert_eq!(receipt.last_seq, 1 + MAX_BATCH_ENTRIES as u64);
        let page = running.journal.read(2, usize::MAX).await.expect("read");
        assert_eq!(page.len(), PAGE_ENTRIES);
        let whole = running.journal.read_stream(&stream("s")).await;
        assert!(whole.is_err(), "more than is taken into memory at once");
    }
}

#[tokio::test]
async fn subscribers_are_woken_when_an_entry_is_durable_and_can_read_it() {
    for place in Place::all() {
        let running = place.open().await;
        let mut head = running.journal.subscribe();
        assert_eq!(*head.borrow_and_update(), 0);
        let journal = running.journal.clone();
        let reading = tokio::spawn(async move {
            head.changed().await.expect("the writer lives");
            let seq = *head.borrow_and_update();
            (seq, journal.read(seq, 0).await.expect("read").len())
        });
        running.append("s", "x").await;
        assert_eq!(reading.await.expect("no panic"), (1, 1));
    }
}

#[tokio::test]
async fn streams_are_listed_with_their_extent() {
    for place in Place::all() {
        let running = place.open().await;
        for name in ["b", "a", "b", "c", "b"] {
            running.append(name, "x").await;
        }
        let extent = |head: &orderly::journal::StreamHead| {
            (head.stream.to_string(), head.version, head.last_seq)
        };
        let all = running.journal.streams(None, 0).await.expect("streams");
        let expected = [("a", 1, 2), ("b", 3, 5), ("c", 1, 4)]
            .map(|(name, version, last)| (name.to_owned(), version, last));
        assert_eq!(all.iter().map(extent).collect::<Vec<_>>(), expected);
        let page = running.journal.streams(Some(&stream("a")), 1).await.expect("streams");
        assert_eq!(page.iter().map(extent).collect::<Vec<_>>(), expected[1..2]);
        let entries = running.journal.read_stream(&stream("b")).await.expect("read");
        assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 3, 5]);
        let later = running.journal.read_stream_from(&stream("b"), 2, 1).await.expect("read");
        assert_eq!(later, entries[1..2]);
    }
}

#[tokio::test]
async fn a_search_finds_what_all_its_conditions_hold_for() {
    for place in Place::all() {
        let running = place.open().await;
        let at = |minute: i64| -> Timestamp {
            start().checked_add(SignedDuration::from_mins(minute)).expect("in range")
        };
        let kinds = ["opened", "noted", "closed"];
        for number in 0..12 {
            let name = if number % 2 == 0 { "even" } else { "odd" };
            let kind = Kind::from_static(kinds[number % 3]);
            let time = at(number as i64);
            let entry = Draft { stream: stream(name), kind, time, body: Vec::new() };
            running.journal.append(Batch::of(entry)).await.expect("appended");
        }
        let found = async |search: Search| {
            let entries = running.journal.search(search).await.expect("search");
            entries.into_iter().map(|entry| entry.seq).collect::<Vec<_>>()
        };
        let all = Search::default;
        assert_eq!(found(all()).await, (1..=12).collect::<Vec<_>>());
        let window = Search { since: Some(at(3)), until: Some(at(6)), ..all() };
        assert_eq!(found(window).await, [4, 5, 6]);
        let closed = Kind::from_static("closed");
        let opened = Kind::from_static("opened");
        let some = Search { kinds: vec![closed, opened], limit: 3, ..all() };
        assert_eq!(found(some.clone()).await, [1, 3, 4]);
        assert_eq!(found(Search { past: Some(4), ..some.clone() }).await, [6, 7, 9]);
        let newest = Search { order: Order::NewestFirst, past: Some(10), ..some };
        assert_eq!(found(newest).await, [9, 7, 6]);
        let odd = Search { stream: Some(stream("odd")), since: Some(at(6)), ..all() };
        assert_eq!(found(odd).await, [8, 10, 12]);
        assert!(found(Search { stream: Some(stream("none")), ..all() }).await.is_empty());
    }
}
