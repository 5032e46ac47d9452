//! What the engine makes of each outcome. Time is tokio's and passes only when nothing else can.

use super::*;
use crate::outputs::State;

#[tokio::test(start_paused = true)]
async fn everything_is_delivered_in_order_and_the_cursor_follows() {
    let memory = Memory::read_by("it");
    memory.store(2500);
    let bench = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::Delivered));
    bench.settled().await;
    memory.store(1);
    bench.settled().await;
    assert_eq!(bench.handed_over(), (1..=2501).collect::<Vec<_>>());
    assert_eq!(bench.seen.lock().iter().map(|it| it.1.len()).collect::<Vec<_>>(), [1000, 1000, 500, 1]);
    let status = bench.status();
    assert_eq!((status.state, status.sent, status.cursor, status.lag_events), (State::Ok, 2501, 2501, 0));
    assert!(status.last_success.is_some() && status.last_error.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_new_output_starts_at_the_end_unless_told_otherwise() {
    let memory = Memory::new();
    memory.store(5);
    let (conf, seen) = conf(&SCRIPTED, |_| all(Outcome::Delivered));
    let bench = Bench::run(&memory, conf.clone(), seen.clone());
    assert_eq!(memory.cursor("it"), 5, "saved at once, so that a restart misses nothing");
    memory.store(2);
    bench.settled().await;
    assert_eq!(bench.handed_over(), [6, 7]);

    let mut early = conf;
    early.name = "early".to_owned();
    early.conf.set("delivery.start", "beginning");
    let bench = Bench::run(&memory, early, seen);
    bench.settled().await;
    assert_eq!(bench.handed_over(), [6, 7, 1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test(start_paused = true)]
async fn the_cursor_is_saved_twice_a_second_at_most_and_at_the_stop() {
    let memory = Memory::read_by("it");
    let bench = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::Delivered));
    for _ in 0..100 {
        memory.store(1);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let saves = memory.0.saves.load(Ordering::Relaxed);
    assert!((16..=22).contains(&saves), "{saves} saves in 10 s");
    memory.store(1);
    bench.stop().await;
    assert_eq!(memory.cursor("it"), 101);
}

#[tokio::test(start_paused = true)]
async fn what_people_are_told_is_on_the_disk_after_so_many_events() {
    let memory = Memory::read_by("it");
    let disk = memory.clone();
    let (mut conf, seen) = conf(&FIVE, move |batch| {
        let unknown = batch[0] - 1 - disk.0.durable.load(Ordering::Relaxed);
        if unknown < 32 { all(Outcome::Delivered) } else { Reply::Hang }
    });
    conf.conf.set("scripted.unsaved", 32);
    memory.store(1000);
    let began = Instant::now();
    let bench = Bench::run(&memory, conf, seen);
    bench.settled().await;
    assert_eq!(bench.handed_over().len(), 1000);
    assert!(began.elapsed() < Duration::from_secs(1), "nothing had to wait");
    // And each is noted at once.
    memory.store(1);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(memory.cursor("it"), 1001);
}

#[tokio::test(start_paused = true)]
async fn what_was_delivered_is_saved_in_time_while_the_rest_waits() {
    let memory = Memory::read_by("it");
    let bench = Bench::start(&memory, &FIVE, |batch| match batch {
        [7, ..] => all(Outcome::retry("down")),
        _ => all(Outcome::Delivered),
    });
    for _ in 0..8 {
        memory.store(1);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((memory.cursor("it"), bench.status().state), (6, State::BackingOff));
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_where_the_cursor_stands() {
    let memory = Memory::read_by("it");
    memory.store(10);
    let bench = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::Delivered));
    bench.settled().await;
    bench.stop().await;
    memory.store(10);
    let bench = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::Delivered));
    bench.settled().await;
    assert_eq!(bench.handed_over(), (11..=20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_kill_between_delivery_and_save_repeats_and_never_loses() {
    let memory = Memory::read_by("it");
    memory.store(10);
    let bench = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::Delivered));
    bench.settled().await;
    // Delivered at once, but the cursor is not due for saving yet.
    memory.store(5);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!((bench.handed_over().len(), memory.cursor("it")), (15, 10));
    bench.kill().await;
    let bench = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::Delivered));
    bench.settled().await;
    assert_eq!(bench.handed_over(), (11..=15).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn an_outage_longer_than_the_cap_delays_and_loses_nothing() {
    let memory = Memory::read_by("it");
    memory.store(3);
    let up_at = Instant::now() + Duration::from_hours(3);
    let bench = Bench::start(&memory, &SCRIPTED, move |_| {
        all(if Instant::now() < up_at { Outcome::retry("connection refused") } else { Outcome::Delivered })
    });
    tokio::time::sleep(Duration::from_hours(2)).await;
    memory.store(3);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = bench.status();
    assert_eq!((status.state, status.lag_events, status.cursor), (State::BackingOff, 6, 0));
    assert_eq!(status.last_error.as_deref(), Some("connection refused"));
    assert!(!status.is_well());
    bench.settled().await;
    // Three hours at up to five minutes each: some dozens of attempts, not thousands.
    let seen = bench.seen.lock().clone();
    assert!((36..200).contains(&seen.len()), "{} attempts", seen.len());
    let longest = seen.windows(2).map(|it| it[1].0 - it[0].0).max().unwrap();
    assert!(longest <= Duration::from_mins(5) + Duration::from_secs(1), "{longest:?}");
    assert_eq!(seen.last().unwrap().1, [1, 2, 3, 4, 5, 6]);
    assert_eq!((bench.status().state, bench.status().sent), (State::Ok, 6));
    assert!(Instant::now() < up_at + Duration::from_mins(6));
}

#[tokio::test(start_paused = true)]
async fn a_receivers_wish_for_patience_is_honoured_up_to_an_hour() {
    let memory = Memory::read_by("it");
    memory.store(1);
    let mut replies = vec![3600 * 24, 120].into_iter();
    let bench = Bench::start(&memory, &SCRIPTED, move |_| match replies.next_back() {
        Some(seconds) => all(Outcome::Retry { why: "429".into(), after: Some(Duration::from_secs(seconds)) }),
        None => all(Outcome::Delivered),
    });
    bench.settled().await;
    let times: Vec<_> = bench.seen.lock().iter().map(|it| it.0).collect();
    let pauses: Vec<_> = times.windows(2).map(|it| (it[1] - it[0]).as_secs()).collect();
    assert_eq!(pauses, [120, 3600]);
}

#[tokio::test(start_paused = true)]
async fn each_outcome_of_a_mixed_batch_counts_for_its_event_alone() {
    let memory = Memory::read_by("it");
    memory.store(5);
    let mut first = true;
    let bench = Bench::start(&memory, &SCRIPTED, move |numbers| {
        if !std::mem::take(&mut first) {
            return all(Outcome::Delivered);
        }
        assert_eq!(numbers.len(), 5);
        Reply::Say(Delivery::Each(vec![
            Outcome::Delivered,
            Outcome::Duplicate,
            Outcome::retry("busy"),
            Outcome::Reject("no such field".into()),
            Outcome::Delivered,
        ]))
    });
    bench.settled().await;
    assert_eq!(bench.seen.lock()[1].1, [3], "only what has to be tried again is tried again");
    let status = bench.status();
    assert_eq!((status.sent, status.duplicate, status.retried, status.rejected), (3, 1, 1, 1));
    assert_eq!(memory.dead(), [("it".to_owned(), 4, "no such field".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_waits_holds_the_cursor() {
    let memory = Memory::read_by("it");
    memory.store(4);
    let bench = Bench::start(&memory, &SCRIPTED, |numbers| {
        let outcomes = numbers.iter().map(|it| match it {
            2 => Outcome::retry("busy"),
            _ => Outcome::Delivered,
        });
        Reply::Say(Delivery::Each(outcomes.collect()))
    });
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!((memory.cursor("it"), bench.status().sent), (1, 3));
    assert_eq!(bench.status().lag_events, 3);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_configuration_holds_everything_and_alarms() {
    let memory = Memory::read_by("it");
    memory.store(3);
    let repaired = Arc::new(Mutex::new(false));
    let asked = repaired.clone();
    let bench = Bench::start(&memory, &SCRIPTED, move |_| {
        all(if *asked.lock() { Outcome::Delivered } else { Outcome::Hold("401: wrong token".into()) })
    });
    tokio::time::sleep(Duration::from_hours(24)).await;
    let status = bench.status();
    assert_eq!((status.state, status.rejected, status.lag_events), (State::Hold, 0, 3));
    assert!(!status.is_well() && memory.dead().is_empty());
    // Also for whoever reads it from the store.
    let saved: OutputStatus = serde_json::from_str(&memory.0.cursors.lock()["it"].1).unwrap();
    assert_eq!((saved.state, saved.lag_events), (State::Hold, 3));
    // The operator repairs it and says so: no waiting for the end of the back-off.
    *repaired.lock() = true;
    bench.orders.send_modify(|it| it.reopen += 1);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!((bench.status().state, bench.status().sent), (State::Ok, 3));
}

#[tokio::test(start_paused = true)]
async fn one_poison_event_among_a_thousand_is_found_and_put_aside() {
    let memory = Memory::read_by("it");
    memory.store(1000);
    let got = Arc::new(Mutex::new(Vec::new()));
    let receiver = got.clone();
    let bench = Bench::start(&memory, &SCRIPTED, move |numbers| {
        if numbers.contains(&637) {
            return all(Outcome::Reject("400: mapping conflict".into()));
        }
        receiver.lock().extend_from_slice(numbers);
        all(Outcome::Delivered)
    });
    bench.settled().await;
    assert_eq!(*got.lock(), (1..=1000).filter(|it| *it != 637).collect::<Vec<_>>());
    assert_eq!(memory.dead(), [("it".to_owned(), 637, "400: mapping conflict".to_owned())]);
    let attempts = bench.seen.lock().len();
    assert!(attempts < 40, "{attempts} attempts");
    assert_eq!((bench.status().sent, bench.status().rejected), (999, 1));
    // And the batches are large again.
    memory.store(2000);
    bench.settled().await;
    assert_eq!(bench.seen.lock().iter().rev().take(3).map(|it| it.1.len()).max(), Some(1000));
}

#[tokio::test(start_paused = true)]
async fn what_a_receiver_does_not_want_and_housekeeping_never_reach_an_alerting_output() {
    let memory = Memory::read_by("it");
    for (seq, kind) in (1..).zip([&kinds::MESSAGE, &kinds::FTP_LOGIN, &kinds::NTP_MONLIST, &kinds::ERROR]) {
        memory.store_record(record(seq, kind));
    }
    let (mut conf, seen) = conf(&ALERTING, |_| all(Outcome::Delivered));
    conf.conf.set("delivery.send", "both");
    let alerting = Bench::run(&memory, conf, seen);
    alerting.settled().await;
    assert_eq!(alerting.handed_over(), [2]);
    alerting.stop().await;
    memory.save("it", 0, String::new());
    let plain = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::Delivered));
    plain.settled().await;
    assert_eq!(plain.handed_over(), [1, 2, 4]);
}

#[tokio::test(start_paused = true)]
async fn events_wait_for_company_where_the_type_wants_that() {
    let memory = Memory::read_by("it");
    let bench = Bench::start(&memory, &LINGERING, |_| all(Outcome::Delivered));
    let began = Instant::now();
    for _ in 0..3 {
        memory.store(1);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    bench.settled().await;
    memory.store(5);
    bench.settled().await;
    let seen = bench.seen.lock().clone();
    assert_eq!(seen.iter().map(|it| it.1.len()).collect::<Vec<_>>(), [3, 5]);
    assert_eq!((seen[0].0 - began).as_secs(), 10);
    assert!((seen[1].0 - seen[0].0).as_secs() < 5, "a full batch goes at once");
}

#[tokio::test(start_paused = true)]
async fn a_stop_delivers_what_is_stored_and_waits_for_nobody_who_is_down() {
    let memory = Memory::read_by("it");
    let bench = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::Delivered));
    memory.store(3000);
    bench.stop().await;
    assert_eq!(memory.cursor("it"), 3000);

    memory.store(1);
    let bench = Bench::start(&memory, &SCRIPTED, |_| Reply::Hang);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    bench.stop().await;
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(memory.cursor("it"), 3000);

    let bench = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::retry("down")));
    tokio::time::sleep(Duration::from_mins(30)).await;
    let began = Instant::now();
    bench.stop().await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_an_output_lets_wait_comes_again_with_what_is_new_and_is_no_trouble() {
    let memory = Memory::read_by("it");
    let began = Instant::now();
    let bench = Bench::start(&memory, &SCRIPTED, move |numbers| {
        let early = began.elapsed() < Duration::from_mins(1);
        all(if early && numbers.len() < 3 {
            Outcome::Wait(Duration::from_mins(1))
        } else {
            Outcome::Delivered
        })
    });
    memory.store(2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.status.read().state, State::Ok);
    assert_eq!(bench.status.read().sent, 0);
    memory.store(1);
    bench.settled().await;
    let seen: Vec<_> = bench.seen.lock().iter().map(|it| it.1.len()).collect();
    assert_eq!((seen.last(), bench.status.read().sent), (Some(&3), 3));
    assert!(seen.len() <= 3, "{seen:?}");
    assert_eq!((bench.status.read().retried, bench.status.read().last_error.clone()), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_an_attempt_gives_what_waits_another_one() {
    let memory = Memory::read_by("it");
    let orders = Arc::new(Mutex::new(None::<watch::Sender<Orders>>));
    let stopping = orders.clone();
    let bench = Bench::start(&memory, &SCRIPTED, move |_| match stopping.lock().take() {
        Some(orders) => {
            orders.send_modify(|it| it.stop = Some(Instant::now() + Duration::from_secs(5)));
            all(Outcome::Wait(Duration::from_hours(1)))
        }
        // The output was told to hurry by now.
        None => all(Outcome::Delivered),
    });
    *orders.lock() = Some(bench.orders.clone());
    memory.store(1);
    let seen = bench.seen.clone();
    bench.task.await.unwrap();
    let attempts: Vec<_> = seen.lock().iter().map(|it| it.1.clone()).collect();
    assert_eq!(attempts, [[1], [1]]);
    assert_eq!(memory.cursor("it"), 1);
}
