//! Workload runs through the API.

use crate::rheostatd::{Place, Rheostatd, SMALL, block_on, until};
use rheostat_api::{Run, RunState, RunVerdict, Submission};
use rustix::process::Signal;

fn workload(name: &str, seconds: &str) -> Submission {
    let text = format!(
        "format = 1\nname = \"{name}\"\n\
         [target.kv]\nkind = \"map\"\nkeys = {{ dist = \"uniform\", items = 1000 }}\n\
         [[phase]]\nname = \"mixed\"\nrole = \"measure\"\nduration = \"{seconds}\"\n\
         group = [{{ target = \"kv\", workers = 1, mix = {{ get = 50, update = 50 }} }}]\n\
         [check]\nlost_updates = true\n"
    );
    Submission { file: format!("{name}.toml"), text, inputs: vec![], vars: Default::default() }
}

fn submit(daemon: &Rheostatd, submission: &Submission) -> Run {
    block_on(daemon.client().submit(submission)).unwrap()
}

fn ended(daemon: &Rheostatd, id: &str) -> Run {
    let look = || block_on(daemon.client().run(id)).unwrap();
    until("the run to end", || look().state == RunState::Finished);
    look()
}

#[test]
fn a_run_is_queued_run_and_kept() {
    let place = Place::new(SMALL);
    let mut daemon = place.start(&[]);
    let run = submit(&daemon, &workload("short", "300ms"));
    let kept = ended(&daemon, &run.id);
    assert_eq!((kept.verdict, kept.error.as_deref()), (Some(RunVerdict::Pass), None), "{kept:?}");
    assert!(kept.started_ms >= Some(run.submitted_ms) && kept.ended_ms > kept.started_ms);
    let result = block_on(daemon.client().result(&run.id)).unwrap();
    assert_eq!((result.run.as_str(), result.name.as_str()), (run.id.as_str(), "short"));
    assert!(result.phases.iter().any(|phase| phase.items > 0));
    assert!(block_on(daemon.client().resource("map.kv")).is_err(), "a run's targets go when it ends");
    // Whole on disk, and known to the next process.
    daemon.signal(Signal::KILL);
    daemon.wait();
    let again = place.start(&[]);
    assert_eq!(block_on(again.client().runs()).unwrap(), [kept]);
    assert_eq!(block_on(again.client().result(&run.id)).unwrap(), result);
}

#[test]
fn one_at_a_time_others_wait_and_each_can_be_cancelled() {
    let place = Place::new("[limits]\nruns_queued = 2\n");
    let daemon = place.start(&[]);
    let client = daemon.client();
    let first = submit(&daemon, &workload("first", "60s"));
    until("the first to get something done", || block_on(client.run(&first.id)).unwrap().progress.items > 0);
    let (second, third) = (submit(&daemon, &workload("second", "60s")), submit(&daemon, &workload("third", "300ms")));
    assert!(first.id < second.id && second.id < third.id);
    let refused = block_on(client.submit(&workload("fourth", "1s"))).unwrap_err().to_string();
    assert!(refused.contains("2 runs wait already"), "{refused}");
    let metrics = |state: &str| {
        let address = daemon.address("metrics on http://");
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let body = crate::rheostatd::ask(crate::rheostatd::tcp(&address), &request).unwrap().body;
        let line = body.lines().find(|line| line.starts_with(&format!("rheostat_runs{{state=\"{state}\"}}")));
        line.unwrap().rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert_eq!((metrics("running"), metrics("queued")), (1.0, 2.0));

    let cancelled = block_on(client.cancel(&second.id)).unwrap();
    assert_eq!((cancelled.state, cancelled.verdict), (RunState::Finished, Some(RunVerdict::Cancelled)));
    let refused = block_on(client.result(&second.id)).unwrap_err().to_string();
    assert!(refused.contains("cancelled before it began"), "{refused}");
    let refused = block_on(client.result(&first.id)).unwrap_err().to_string();
    assert!(refused.contains("has not ended"), "{refused}");

    block_on(client.cancel(&first.id)).unwrap();
    let first = ended(&daemon, &first.id);
    assert_eq!(first.verdict, Some(RunVerdict::Cancelled));
    let result = block_on(client.result(&first.id)).unwrap();
    assert!(result.phases[0].items > 0, "the part done is reported");
    assert_eq!(ended(&daemon, &third.id).verdict, Some(RunVerdict::Pass));
    let order: Vec<_> = block_on(client.runs()).unwrap().into_iter().map(|run| run.name).collect();
    assert_eq!(order, ["third", "second", "first"]);
}

#[test]
fn what_is_wrong_with_a_workload_is_said_at_once() {
    let daemon = Place::new("").start(&[]);
    let client = daemon.client();
    let mut wrong = workload("wrong", "1s");
    wrong.text = wrong.text.replace("workers = 1,", "workers = 0,").replace("kind = \"map\"", "kind = \"mop\"");
    for refused in [block_on(client.check(&wrong)).unwrap_err(), block_on(client.submit(&wrong)).unwrap_err()] {
        let said = refused.to_string();
        assert!(said.contains("wrong.toml:4:") && said.contains("mop"), "{said}");
        assert!(said.contains("wrong.toml:10:") && said.contains("workers"), "{said}");
    }
    block_on(client.check(&workload("right", "1s"))).unwrap();
    assert_eq!(block_on(client.runs()).unwrap(), []);
    assert_eq!(daemon.get("/v1/runs/nowhere").unwrap().problem().kind, "urn:rheostat:no-such-run");
    let strange = daemon.send("POST", "/v1/runs", r#"{"file": "f", "text": "", "surprise": 1}"#);
    assert_eq!(strange.status, 422);
    // A target that the host has already: the run ends in an error that says so, and the host keeps its own.
    let place = Place::new("[map.kv]\n");
    let daemon = place.start(&[]);
    let run = ended(&daemon, &submit(&daemon, &workload("taken", "1s")).id);
    assert_eq!(run.verdict, Some(RunVerdict::Error));
    assert!(run.error.as_deref().unwrap().contains("map.kv"), "{run:?}");
    assert!(block_on(daemon.client().resource("map.kv")).is_ok());
}

#[test]
fn asked_to_stop_in_mid_run_it_ends_the_run_and_keeps_its_part() {
    let place = Place::new("");
    let mut daemon = place.start(&[]);
    let run = submit(&daemon, &workload("long", "60s"));
    until("progress", || block_on(daemon.client().run(&run.id)).unwrap().progress.items > 0);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.said());
    let again = place.start(&[]);
    let run = block_on(again.client().run(&run.id)).unwrap();
    assert_eq!(run.verdict, Some(RunVerdict::Cancelled));
}

#[test]
fn a_workload_that_uses_what_is_not_hosted_is_refused_at_once() {
    let daemon = Place::new(SMALL).start(&[]);
    let script = |address: &str| {
        let text = format!(
            "format = 1\nname = \"n\"\n[target.kv]\nuse = \"{address}\"\nkeys = {{ dist = \"uniform\", items = 10 }}\n\
             [[phase]]\nname = \"p\"\nduration = \"1s\"\ngroup = [{{ target = \"kv\", workers = 1, mix = {{ get = 1 }} }}]\n"
        );
        serde_json::json!({ "file": "n.toml", "text": text }).to_string()
    };
    assert_eq!(daemon.send("POST", "/v1/runs/check", &script("map.words")).status, 204);
    for path in ["/v1/runs/check", "/v1/runs"] {
        let refused = daemon.send("POST", path, &script("map.gone"));
        assert_eq!(refused.status, 422, "{}", refused.body);
        assert!(refused.problem().detail.starts_with("n.toml: target.kv uses map.gone, which"), "{}", refused.body);
    }
}
