//! Changes outlive the daemon.

use crate::rheostatd::{Place, SMALL, ask, block_on, tcp};
use rheostat_api::{KnobValue, Outcome};
use rustix::process::Signal;

const STAGE: &str = "pipeline.words.count";

#[test]
fn killed_at_any_instant_it_comes_back_with_whole_changes() {
    let place = Place::new(SMALL);
    let mut random = fastrand::Rng::with_seed(7);
    let mut acknowledged = 0;
    for _ in 0..5 {
        let mut daemon = place.start(&[]);
        let known = block_on(daemon.client().changes(0)).unwrap();
        assert!(known.len() as u64 >= acknowledged, "{} of {acknowledged} acknowledged changes are left", known.len());
        assert!(known.iter().enumerate().all(|(index, change)| change.id == index as u64 + 1), "{known:?}");
        acknowledged = known.len() as u64;
        let kill_after = random.u32(1..40);
        let client = daemon.client();
        let turning = std::thread::spawn(move || {
            let mut acknowledged = 0;
            block_on(async {
                for turn in 0.. {
                    let workers = KnobValue::Integer(1 + turn % 2);
                    match client.turn(STAGE, "workers", workers).await {
                        Ok(changes) => acknowledged += changes.len() as u64,
                        Err(_) => break,
                    }
                }
            });
            acknowledged
        });
        std::thread::sleep(std::time::Duration::from_millis(u64::from(kill_after)));
        daemon.signal(Signal::KILL);
        daemon.wait();
        acknowledged += turning.join().unwrap();
    }
    let daemon = place.start(&[]);
    let changes = block_on(daemon.client().changes(0)).unwrap();
    assert!(changes.len() as u64 >= acknowledged && acknowledged > 0);
    // Nobody's text is torn, and the numbering goes on.
    let turned = block_on(daemon.client().turn(STAGE, "workers", KnobValue::Integer(2))).unwrap();
    assert_eq!(turned[0].id, changes.len() as u64 + 1);
    let text = std::fs::read_to_string(place.path("state/journal.ndjson")).unwrap();
    for line in text.lines() {
        serde_json::from_str::<rheostat_api::Change>(line).unwrap();
    }
}

#[test]
fn a_change_that_was_settling_when_the_daemon_ended_is_shown_as_such() {
    let place = Place::new(SMALL);
    std::fs::create_dir(place.path("state")).unwrap();
    let line = r#"{"id":1,"at_ms":1,"actor":"uid 0","resource":"map.words","knob":"backend","from":"sharded","to":"flat","outcome":"settling","took_us":2000000}"#;
    std::fs::write(
        place.path("state/journal.ndjson"),
        format!(
            "{line}
"
        ),
    )
    .unwrap();
    let daemon = place.start(&[]);
    let [change] = block_on(daemon.client().changes(0)).unwrap().try_into().unwrap();
    assert_eq!(change.outcome, Outcome::Unknown);
    assert_eq!(change.why.as_deref(), Some("the daemon ended before it had settled"));
    let text = std::fs::read_to_string(place.path("state/journal.ndjson")).unwrap();
    let last: rheostat_api::Change = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last, change, "and so it stands in the file");
}

#[test]
fn with_a_full_disk_it_runs_on_and_says_so() {
    let place = Place::new(SMALL);
    std::fs::create_dir(place.path("state")).unwrap();
    std::os::unix::fs::symlink("/dev/full", place.path("state/journal.ndjson")).unwrap();
    let daemon = place.start(&[]);
    for workers in [2, 3] {
        let changes = block_on(daemon.client().turn(STAGE, "workers", KnobValue::Integer(workers))).unwrap();
        assert_eq!((&changes[0].to, changes[0].journalled), (&KnobValue::Integer(workers), false));
    }
    let kept = block_on(daemon.client().changes(0)).unwrap();
    assert!(kept.len() == 2 && kept.iter().all(|change| !change.journalled), "memory has them: {kept:?}");
    assert_eq!(daemon.said().matches("kept in memory only").count(), 1, "said once: {}", daemon.said());
    let address = daemon.address("metrics on http://");
    let metrics =
        ask(tcp(&address), &format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")).unwrap();
    assert!(metrics.body.contains("rheostat_journal_write_errors_total 2"));
}
