//! The fault matrix of an append: refused; not applied; applied but unacknowledged; crash before;
//! crash after. After each the caller knows what is so, and the next append is right.

use jiff::SignedDuration;
use orderly::journal::faults::Fault;
use orderly::journal::{AppendError, Expect, Failure, Status, TaskEnd, verify};

use super::support::{Place, Running, one, stream};

const PROBE: SignedDuration = SignedDuration::from_secs(5);

async fn sound(running: &Running, bodies: &[&str]) {
    assert_eq!(running.bodies().await, bodies);
    let report = verify(&running.journal, None).await.expect("verified");
    assert!(report.is_sound(), "{report:?}");
}

fn is_failed(status: &Status) -> bool {
    match status {
        Status::Healthy => false,
        Status::Failed { .. } => true,
    }
}

#[tokio::test]
async fn refused_is_told_and_the_status_says_why_until_an_append_works() {
    for place in Place::all() {
        let running = place.open().await;
        running.append("s", "1").await;
        running.faults.next([Fault::Refused(Failure::DiskFull)]);
        let refused = running.journal.append(one("s", "2")).await;
        assert_eq!(refused, Err(AppendError::Unavailable { reason: Failure::DiskFull }));
        match running.journal.status() {
            Status::Failed { reason, .. } => assert_eq!(reason, Failure::DiskFull),
            Status::Healthy => panic!("the status hides the failure"),
        }
        sound(&running, &["1"]).await;
        running.append("s", "3").await;
        assert_eq!(running.journal.status(), Status::Healthy);
        sound(&running, &["1", "3"]).await;
    }
}

#[tokio::test]
async fn everyone_in_a_group_hears_of_its_failure_and_conflicts_with_it_do_not_count() {
    for place in Place::all() {
        let running = place.open().await;
        running.faults.next([Fault::Refused(Failure::ReadOnly)]);
        let first = |body| one("s", body).expecting(stream("s"), Expect::StreamVersion(0));
        let (one, two) =
            tokio::join!(running.journal.append(first("1")), running.journal.append(first("2")));
        let unavailable = Err(AppendError::Unavailable { reason: Failure::ReadOnly });
        assert_eq!((one, two), (unavailable.clone(), unavailable));
        running.journal.append(first("3")).await.expect("nothing was stored before");
        sound(&running, &["3"]).await;
    }
}

#[tokio::test]
async fn not_applied_is_found_out_by_reading_back() {
    for place in Place::all() {
        let running = place.open().await;
        running.faults.next([Fault::NotApplied]);
        let outcome = running.journal.append(one("s", "lost")).await;
        assert!(matches!(outcome, Err(AppendError::Unavailable { .. })), "{outcome:?}");
        running.append("s", "next").await;
        sound(&running, &["next"]).await;
    }
}

#[tokio::test]
async fn applied_but_unacknowledged_is_found_out_by_reading_back() {
    for place in Place::all() {
        let running = place.open().await;
        running.faults.next([Fault::Unacknowledged]);
        let batch = one("s", "kept").expecting(stream("s"), Expect::StreamVersion(0));
        let receipt = running.journal.append(batch.clone()).await.expect("it is there");
        assert_eq!(receipt.stream_version(&stream("s")), Some(1));
        assert_eq!(running.journal.status(), Status::Healthy);
        let again = running.journal.append(batch).await;
        assert!(matches!(again, Err(AppendError::Conflict { found: 1, .. })), "{again:?}");
        sound(&running, &["kept"]).await;
    }
}

#[tokio::test]
async fn what_cannot_be_read_back_is_unknown_and_the_head_is_read_before_going_on() {
    for place in Place::all() {
        let running = place.open().await;
        running.faults.next([Fault::UnacknowledgedAndBlind(2)]);
        let batch = one("s", "1").expecting(stream("s"), Expect::StreamVersion(0));
        assert_eq!(running.journal.append(batch).await, Err(AppendError::Unknown));
        assert!(is_failed(&running.journal.status()));
        // Still blind: nothing is written on a guess.
        let blind = running.journal.append(one("s", "2")).await;
        assert!(matches!(blind, Err(AppendError::Unavailable { .. })), "{blind:?}");
        running.append("s", "3").await;
        assert_eq!(running.journal.status(), Status::Healthy);
        assert_eq!(*running.journal.subscribe().borrow(), 2);
        sound(&running, &["1", "3"]).await;
    }
}

#[tokio::test]
async fn readiness_returns_without_an_append() {
    for place in Place::all() {
        let running = place.open().await;
        running.faults.next([Fault::UnacknowledgedAndBlind(3)]);
        let outcome = running.journal.append(one("s", "1")).await;
        assert_eq!(outcome, Err(AppendError::Unknown));
        let mut head = running.journal.subscribe();
        // Twice in vain (the third attempt was used up by reading back), then it works.
        for _ in 0..3 {
            while running.clock.next_deadline().is_none() {
                tokio::task::yield_now().await;
            }
            assert!(is_failed(&running.journal.status()));
            running.clock.advance(PROBE);
            tokio::task::yield_now().await;
        }
        running.until(|status| !is_failed(status)).await;
        assert_eq!(*head.borrow_and_update(), 1, "what was unknown has been found");
        sound(&running, &["1"]).await;
    }
}

#[tokio::test]
async fn a_crash_before_the_commit_leaves_nothing_and_the_outcome_unknown() {
    for place in Place::all() {
        let mut running = place.open().await;
        running.append("s", "1").await;
        running.faults.next([Fault::CrashBefore]);
        assert_eq!(running.journal.append(one("s", "2")).await, Err(AppendError::Unknown));
        assert!(matches!(running.task.ended().await, TaskEnd::Died(_)));
        let after = running.journal.append(one("s", "3")).await;
        assert_eq!(after, Err(AppendError::Unavailable { reason: Failure::Closed }));
        drop(running);
        let running = place.open().await;
        sound(&running, &["1"]).await;
        running.append("s", "4").await;
        sound(&running, &["1", "4"]).await;
    }
}

#[tokio::test]
async fn a_crash_after_the_commit_leaves_everything_and_the_outcome_unknown() {
    for place in Place::all() {
        let mut running = place.open().await;
        running.faults.next([Fault::CrashAfter]);
        assert_eq!(running.journal.append(one("s", "1")).await, Err(AppendError::Unknown));
        assert!(matches!(running.task.ended().await, TaskEnd::Died(_)));
        drop(running);
        let running = place.open().await;
        sound(&running, &["1"]).await;
        running.append("s", "2").await;
        sound(&running, &["1", "2"]).await;
    }
}

#[tokio::test]
async fn closing_stores_what_waits() {
    for place in Place::all() {
        let running = place.open().await;
        running.faults.next([Fault::Held]);
        let append = |body: &'static str| {
            let journal = running.journal.clone();
            tokio::spawn(async move { journal.append(one("s", body)).await })
        };
        let mut appends = vec![append("1")];
        while running.faults.held() == 0 {
            tokio::task::yield_now().await;
        }
        appends.extend([append("2"), append("3")]);
        while running.journal.queue_depth() < 2 {
            tokio::task::yield_now().await;
        }
        running.faults.release();
        assert_eq!(running.task.close().await, TaskEnd::Closed);
        for append in appends {
            append.await.expect("no panic").expect("appended");
        }
        let running = place.open().await;
        assert_eq!(running.bodies().await.len(), 3);
    }
}

#[tokio::test]
async fn the_writer_ends_when_nobody_is_left_to_append() {
    for place in Place::all() {
        let Running { journal, mut task, .. } = place.open().await;
        drop(journal);
        assert_eq!(task.ended().await, TaskEnd::Closed);
    }
}
