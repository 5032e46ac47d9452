//! Outputs that misbehave: they hang, panic, lie, or have lost their receiver.

use super::*;
use crate::outputs::State;
use crate::outputs::manager::Manager;
use crate::runtime::journal::Journal;

#[tokio::test(start_paused = true)]
async fn a_delivery_that_hangs_ends_at_its_deadline_and_is_repeated() {
    let memory = Memory::read_by("it");
    memory.store(2);
    let mut hang = true;
    let bench = Bench::start(&memory, &SCRIPTED, move |_| {
        if std::mem::take(&mut hang) { Reply::Hang } else { all(Outcome::Delivered) }
    });
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(bench.status().in_flight, 2);
    bench.settled().await;
    assert_eq!(bench.handed_over(), [1, 2, 1, 2]);
    assert_eq!(bench.status().last_error.as_deref(), Some("no answer within 30 s"));
    assert_eq!((bench.status().state, bench.status().retried), (State::Ok, 2));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_makes_its_delivery_panic_is_found_and_put_aside() {
    let memory = Memory::read_by("it");
    memory.store(100);
    let got = Arc::new(Mutex::new(Vec::new()));
    let receiver = got.clone();
    let bench = Bench::start(&memory, &SCRIPTED, move |numbers| {
        if numbers.contains(&42) {
            return Reply::Panic;
        }
        receiver.lock().extend_from_slice(numbers);
        all(Outcome::Delivered)
    });
    bench.settled().await;
    assert_eq!(*got.lock(), (1..=100).filter(|it| *it != 42).collect::<Vec<_>>());
    assert_eq!(memory.dead(), [("it".to_owned(), 42, "the output failed in an unexpected way".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_encoded_is_put_aside() {
    let memory = Memory::read_by("it");
    memory.store(1);
    memory.store_record(record(2, &kinds::TFTP_REQUEST));
    memory.store(1);
    let bench = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::Delivered));
    bench.settled().await;
    assert_eq!(bench.handed_over(), [1, 3]);
    assert_eq!(memory.dead(), [("it".to_owned(), 2, "it cannot be encoded".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_forgets_an_outcome_loses_nothing() {
    let memory = Memory::read_by("it");
    memory.store(3);
    let bench = Bench::start(&memory, &SCRIPTED, |numbers| {
        let told = numbers.len().div_ceil(2);
        Reply::Say(Delivery::Each(vec![Outcome::Delivered; told]))
    });
    bench.settled().await;
    assert_eq!(bench.handed_over(), [1, 2, 3, 3]);
}

#[tokio::test(start_paused = true)]
async fn events_that_left_the_journal_are_counted_as_lost() {
    let memory = Memory::read_by("it");
    memory.store(100);
    memory.forget_up_to(60);
    let bench = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::Delivered));
    bench.settled().await;
    assert_eq!(bench.handed_over(), (61..=100).collect::<Vec<_>>());
    assert_eq!(bench.status().lost, 60);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_has_gone_for_good_disables_its_output() {
    let memory = Memory::read_by("it");
    memory.store(3);
    let bench = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::Gone("EPIPE".into())));
    bench.settled().await;
    memory.store(1000);
    bench.settled().await;
    assert_eq!(bench.seen.lock().len(), 1, "it is asked once");
    let status = bench.status();
    assert_eq!(
        (status.state, status.lost, status.last_error.as_deref()),
        (State::Disabled, 1003, Some("EPIPE"))
    );
    bench.stop().await;
    let bench = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::Delivered));
    memory.store(1);
    bench.settled().await;
    assert_eq!(bench.handed_over(), [1004], "the next start has a reader again");
}

/// A behaviour without a memory.
type Simple = fn(&[u64]) -> Reply;

#[tokio::test(start_paused = true)]
async fn dead_outputs_do_not_touch_a_healthy_one() {
    let memory = Memory::new();
    let behaviours: [(&str, Simple); 4] = [
        ("dead", |_| all(Outcome::retry("connection refused"))),
        ("hanging", |_| Reply::Hang),
        ("healthy", |_| all(Outcome::Delivered)),
        ("panicking", |_| Reply::Panic),
    ];
    let (confs, seen): (Vec<_>, Vec<_>) = behaviours
        .into_iter()
        .map(|(name, behaviour)| {
            let (conf, seen) = conf(&SCRIPTED, behaviour);
            (OutputConf { name: name.to_owned(), ..conf }, seen)
        })
        .unzip();
    let mut manager = Manager::prepare(&confs, None).start(&memory);
    assert_eq!(
        manager.describe(),
        "scripted (dead), scripted (hanging), scripted (healthy), scripted (panicking)"
    );
    for _ in 0..100 {
        memory.store(1);
        let began = Instant::now();
        let count = *memory.0.stored.borrow();
        while seen[2].lock().iter().map(|it| it.1.len() as u64).sum::<u64>() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(began.elapsed() < Duration::from_millis(50), "late by {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let states: Vec<_> = manager.statuses().iter().map(|it| it.read().state).collect();
    assert_eq!(states[0], State::BackingOff);
    assert_eq!(states[2], State::Ok);
    assert_eq!((memory.cursor("healthy"), memory.cursor("dead")), (100, 0));
    manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_configuration_disturbs_only_what_it_changes() {
    let memory = Memory::new();
    let (first, seen) = conf(&SCRIPTED, |_| all(Outcome::Delivered));
    let (second, gone) = conf(&SCRIPTED, |_| all(Outcome::Delivered));
    let second = OutputConf { name: "second".into(), ..second };
    let mut manager = Manager::prepare(&[first.clone(), second.clone()], None).start(&memory);
    memory.store(1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let kept = manager.statuses()[0].clone();
    let (third, came) = conf(&SCRIPTED, |_| all(Outcome::Delivered));
    let third = OutputConf { name: "third".into(), ..third };
    manager.reload(&[third, first], &memory).await;
    memory.store(1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let numbers = |it: &Seen| it.lock().iter().flat_map(|it| it.1.clone()).collect::<Vec<_>>();
    assert_eq!((numbers(&seen), numbers(&gone), numbers(&came)), (vec![1, 2], vec![1], vec![2]));
    assert!(Arc::ptr_eq(&kept, &manager.statuses()[1]), "in the order of the configuration");
    assert_eq!(kept.read().sent, 2);
    manager.stop().await;
    assert_eq!((memory.cursor("it"), memory.cursor("third"), memory.cursor("second")), (2, 2, 1));
}

#[tokio::test]
async fn what_the_journal_flushed_is_delivered_before_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let options = serin_store::Options::new(folder.path().join("serin.db"));
    let (journal, _) = Journal::start(options, "n".into()).unwrap();
    let (conf, seen) = conf(&SCRIPTED, |_| all(Outcome::Delivered));
    let mut manager = Manager::prepare(&[conf], None).start(&journal);
    for _ in 0..3 {
        journal.append(record(0, &kinds::FTP_LOGIN)).await;
    }
    journal.flush().await;
    manager.stop().await;
    assert_eq!(seen.lock().iter().map(|it| it.1.len()).sum::<usize>(), 3);
    assert_eq!(journal.cursor("it"), Ok(Some(3)));
    journal.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_output_waits_until_it_is_known_where_it_stands() {
    let memory = Memory::new();
    memory.store(5);
    memory.save("it", 2, String::new());
    memory.0.unreadable.store(true, Ordering::Relaxed);
    let bench = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::Delivered));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((bench.handed_over(), memory.cursor("it")), (vec![], 2));
    assert_eq!(bench.status().last_error.as_deref(), Some("on purpose"));
    memory.0.unreadable.store(false, Ordering::Relaxed);
    bench.settled().await;
    assert_eq!((bench.handed_over(), bench.status().state), (vec![3, 4, 5], State::Ok));
}

#[tokio::test(start_paused = true)]
async fn a_new_output_misses_nothing_while_the_store_is_not_open() {
    let memory = Memory::new();
    memory.0.unreadable.store(true, Ordering::Relaxed);
    let bench = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::Delivered));
    tokio::time::sleep(Duration::from_secs(3)).await;
    // It opens with five events of earlier days, and takes the two that waited.
    memory.store(7);
    *memory.0.began.lock() = 5;
    memory.0.unreadable.store(false, Ordering::Relaxed);
    bench.cursor_reaches(7).await;
    assert_eq!(bench.handed_over(), [6, 7]);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_never_learns_where_it_stands_stops_and_saves_nothing() {
    let memory = Memory::new();
    memory.store(5);
    memory.save("it", 2, String::new());
    memory.0.unreadable.store(true, Ordering::Relaxed);
    let bench = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::Delivered));
    tokio::time::sleep(Duration::from_secs(3)).await;
    bench.stop().await;
    assert_eq!(memory.cursor("it"), 2);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_gone_from_the_configuration_is_forgotten() {
    let memory = Memory::new();
    let named =
        |name: &str| OutputConf { name: name.to_owned(), ..conf(&SCRIPTED, |_| all(Outcome::Delivered)).0 };
    let (kept, changed, gone) = (named("kept"), named("changed"), named("gone"));
    let mut manager = Manager::prepare(&[kept.clone(), changed, gone], None).start(&memory);
    manager.reload(&[kept, named("changed")], &memory).await;
    assert_eq!(*memory.0.forgotten.lock(), ["gone"]);
    memory.store(3);
    let began = Instant::now();
    manager.stop().await;
    assert!(began.elapsed() < Duration::from_millis(50), "nothing to wait for: {:?}", began.elapsed());
    assert_eq!((memory.cursor("kept"), memory.cursor("changed"), memory.cursor("gone")), (3, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_steps_back_changes_no_order_and_makes_no_lag() {
    let memory = Memory::read_by("it");
    for (seq, seconds) in [(1, 4_000_000_000), (2, 1_000_000_000), (3, 4_000_000_001), (4, 0)] {
        let mut record = record(seq, &kinds::FTP_LOGIN);
        record.time = Timestamp(seconds * 1_000_000);
        memory.store_record(record);
    }
    let bench = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::retry("down")));
    tokio::time::sleep(Duration::from_secs(5)).await;
    // The oldest event comes from the future.
    assert_eq!(bench.status().lag_seconds, 0);
    bench.kill().await;
    let bench = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::Delivered));
    bench.settled().await;
    assert_eq!(bench.handed_over(), [1, 2, 3, 4]);
    assert_eq!(memory.cursor("it"), 4);
}

#[tokio::test(start_paused = true)]
async fn an_operator_moves_the_cursor_of_a_working_and_of_a_dead_output() {
    let memory = Memory::new();
    let behaviours: [(&str, Simple); 2] =
        [("dead", |_| all(Outcome::retry("connection refused"))), ("healthy", |_| all(Outcome::Delivered))];
    let (confs, seen): (Vec<_>, Vec<_>) = behaviours
        .into_iter()
        .map(|(name, behaviour)| {
            let (conf, seen) = conf(&SCRIPTED, behaviour);
            (OutputConf { name: name.to_owned(), ..conf }, seen)
        })
        .unzip();
    let mut manager = Manager::prepare(&confs, None).start(&memory);
    memory.store(10);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((memory.cursor("healthy"), memory.cursor("dead")), (10, 0));
    manager.go_to("healthy", 7).unwrap();
    manager.go_to("dead", 10).unwrap();
    assert!(manager.go_to("nobody", 1).is_err());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((memory.cursor("healthy"), memory.cursor("dead")), (10, 10));
    let handed: Vec<u64> = seen[1].lock().iter().flat_map(|it| it.1.clone()).collect();
    assert_eq!(handed[handed.len() - 3..], [8, 9, 10], "once more");
    let asked = seen[0].lock().len();
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(seen[0].lock().len(), asked, "the dead one has nothing to do any more");
    // Further than there is: up to the end.
    manager.go_to("healthy", 99).unwrap();
    memory.store(1);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(memory.cursor("healthy"), 11);
    manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_overtook_an_event_that_waits_is_not_told_again_after_a_crash() {
    let memory = Memory::read_by("it");
    memory.store(4);
    // As in quiet hours: what is critical goes, the rest waits for the morning.
    let night = |numbers: &[u64]| {
        let outcomes = numbers.iter().map(|it| match it {
            2 | 5 => Outcome::Wait(Duration::from_secs(30)),
            _ => Outcome::Delivered,
        });
        Reply::Say(Delivery::Each(outcomes.collect()))
    };
    for _ in 0..2 {
        let bench = Bench::start(&memory, &SCRIPTED, night);
        tokio::time::sleep(Duration::from_mins(1)).await;
        memory.store(2);
        tokio::time::sleep(Duration::from_mins(1)).await;
        let seen = bench.handed_over();
        assert!(memory.cursor("it") == 1 && seen.iter().filter(|it| [4, 6].contains(it)).count() <= 2);
        assert!(bench.status().ahead.is_none(), "nobody else needs it");
        bench.kill().await;
    }
    let bench = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::Delivered));
    bench.settled().await;
    assert_eq!(bench.handed_over(), [2, 5]);
    let saved: OutputStatus = serde_json::from_str(&memory.0.cursors.lock()["it"].1).unwrap();
    assert_eq!((memory.cursor("it"), saved.ahead), (8, None));
}

#[tokio::test(start_paused = true)]
async fn whoever_moves_the_cursor_gets_everything_behind_it() {
    let memory = Memory::read_by("it");
    memory.store(5);
    let bench = Bench::start(&memory, &SCRIPTED, |numbers| {
        let waits = |it: &u64| if *it == 3 { Outcome::retry("busy") } else { Outcome::Delivered };
        Reply::Say(Delivery::Each(numbers.iter().map(waits).collect()))
    });
    tokio::time::sleep(Duration::from_mins(1)).await;
    bench.kill().await;
    let status = memory.0.cursors.lock()["it"].1.clone();
    assert!(status.contains("\"ahead\""), "{status}");
    memory.save("it", 1, status);
    let bench = Bench::start(&memory, &SCRIPTED, |_| all(Outcome::Delivered));
    bench.settled().await;
    assert_eq!(bench.handed_over(), [2, 3, 4, 5]);
}
