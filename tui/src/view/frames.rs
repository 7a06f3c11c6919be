//! Golden frames, and every screen at every small size.

use super::draw;
use crate::app::{App, Screen};
use crate::msg::Msg;
use crate::sketch;
use crate::theme::{Colours, Theme};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};
use rheostat_api::Entry;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A moment on the dashboard's clock, counted from the same start in all tests.
fn moment(ms: u64) -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now) + Duration::from_millis(ms)
}

/// A dashboard that has watched the sketched host for ten seconds.
fn app() -> App {
    let mut app = App::new("unix:/run/rheostat/control.sock".into(), moment(0));
    for step in 0..40 {
        app.update(Msg::Tick(moment(step * 250)));
        app.update(Msg::Snapshot(Box::new(sketch::snapshot(step))));
    }
    app.update(Msg::Changes(sketch::changes()));
    app.update(Msg::History(sketch::history(120)));
    app
}

fn press(app: &mut App, keys: &str) {
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\u{1b}' => KeyCode::Esc,
            c => KeyCode::Char(c),
        };
        app.update(Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }
}

fn drawn(app: &App, theme: &Theme, columns: u16, rows: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(app, theme, frame)).unwrap();
    terminal
}

fn frame(app: &App, theme: &Theme, columns: u16, rows: u16) -> String {
    let text = drawn(app, theme, columns, rows).backend().to_string();
    text.lines().map(|line| line.trim_matches('"').trim_end()).collect::<Vec<_>>().join("\n")
}

fn plain() -> Theme {
    Theme::new(Colours::None, false)
}

/// Snapshots a state at both sizes of the golden frames.
macro_rules! golden {
    ($name:literal, $app:expr) => {
        let app = $app;
        insta::assert_snapshot!(concat!($name, "_80x24"), frame(&app, &plain(), 80, 24));
        insta::assert_snapshot!(concat!($name, "_160x50"), frame(&app, &plain(), 160, 50));
    };
}

fn after(keys: &str) -> App {
    let mut app = app();
    press(&mut app, keys);
    app
}

#[test]
fn overview() {
    golden!("overview", app());
}

#[test]
fn the_overview_says_that_history_is_full() {
    let mut app = app();
    assert!(!frame(&app, &plain(), 80, 24).contains("history"));
    let mut snapshot = sketch::snapshot(40);
    snapshot.host.history_left_out = 7382;
    app.update(Msg::Snapshot(Box::new(snapshot)));
    assert!(frame(&app, &plain(), 80, 24).contains("  history full "));
}

#[test]
fn pipelines() {
    golden!("pipelines", after("2jj"));
}

#[test]
fn queues() {
    golden!("queues", after("3"));
}

#[test]
fn maps() {
    golden!("maps", after("4"));
}

/// A backend that counts its contention and one that is sampled, among three maps.
#[test]
fn maps_say_how_contention_is_seen() {
    for (keys, name) in [("4", "maps_counted"), ("4j", "maps_sampled")] {
        let mut app = App::new("unix:/run/rheostat/control.sock".into(), moment(0));
        for step in 0..40 {
            let mut snapshot = sketch::snapshot(step);
            snapshot.resources.splice(0..0, sketch::contended(step));
            app.update(Msg::Tick(moment(step * 250)));
            app.update(Msg::Snapshot(Box::new(snapshot)));
        }
        press(&mut app, keys);
        insta::assert_snapshot!(format!("{name}_80x24"), frame(&app, &plain(), 80, 24));
        insta::assert_snapshot!(format!("{name}_160x50"), frame(&app, &plain(), 160, 50));
    }
}

#[test]
fn pools() {
    golden!("pools", after("5"));
}

#[test]
fn a_pool_that_chooses_its_level_shows_what_was_asked_for_and_what_is_in_force() {
    let mut app = app();
    let mut snapshot = sketch::snapshot(40);
    let pool = snapshot.resources.iter_mut().find(|resource| resource.address == "pool.batches").unwrap();
    pool.knobs[0].value = rheostat_api::KnobValue::Choice("auto".into());
    app.update(Msg::Tick(moment(10_000)));
    app.update(Msg::Snapshot(Box::new(snapshot)));
    press(&mut app, "5");
    for (columns, rows) in [(80, 24), (160, 50)] {
        let frame = frame(&app, &plain(), columns, rows);
        assert!(frame.contains(" thread_cached auto") && frame.contains(" knobs  level auto (unlocked|"), "{frame}");
    }
}

/// A dashboard that has watched the sketched host for ten seconds, with something changed in every snapshot.
fn watching(change: impl Fn(u64, &mut rheostat_api::Snapshot)) -> App {
    let mut app = App::new("unix:/run/rheostat/control.sock".into(), moment(0));
    for step in 0..40 {
        let mut snapshot = sketch::snapshot(step);
        change(step, &mut snapshot);
        app.update(Msg::Tick(moment(step * 250)));
        app.update(Msg::Snapshot(Box::new(snapshot)));
    }
    app
}

#[test]
fn a_run_that_drives_a_pool_is_among_its_users_with_what_the_others_do_not_take() {
    let mut app = watching(|step, snapshot| {
        snapshot.runs[0].uses = vec!["pool.batches".into()];
        let pool = snapshot.resources.iter_mut().find(|resource| resource.address == "pool.batches").unwrap();
        pool.samples[0].value = Some(509_000.0 * step as f64 / 4.0);
    });
    press(&mut app, "5");
    // The source takes 4 000 of 512 000 blocks a second, and `split` 8 000.
    let users = "run wordcount ~500k/s   pipeline.words.split 8k/s";
    for (columns, rows) in [(80, 24), (160, 50)] {
        let frame = frame(&app, &plain(), columns, rows);
        assert!(frame.contains(users), "{frame}");
    }
}

/// A pool that can be guarded, and what is known of its two knobs where there is little room.
#[test]
fn every_knob_has_its_value_and_the_selected_one_its_range() {
    let mut app = watching(|_, snapshot| {
        let pool = snapshot.resources.iter_mut().find(|resource| resource.address == "pool.batches").unwrap();
        let mut guarded = pool.knobs[0].clone();
        guarded.name = "guarded".into();
        guarded.help = "Whether blocks are looked at as they go out and come home.".into();
        guarded.value = rheostat_api::KnobValue::Choice("off".into());
        guarded.range = rheostat_api::Range::Choice { choices: vec!["off".into(), "on".into()] };
        pool.knobs.push(guarded);
    });
    press(&mut app, "5");
    let of = |app: &App| frame(app, &plain(), 80, 24);
    assert!(of(&app).contains("level thread_cached (…)  guarded off (off|on)"), "{}", of(&app));
    press(&mut app, "\t");
    assert!(of(&app).contains("level thread_cached (…)  guarded off (off|on)"), "{}", of(&app));
    press(&mut app, "3G");
    let queue = of(&app);
    assert!(queue.contains("kind segmented (ring|segmented|array_queue|seg_queue)  capacity 1024 (…)"), "{queue}");
    press(&mut app, "\t");
    assert!(of(&app).contains("kind segmented (…)  capacity 1024 (1..65536)"), "{}", of(&app));
    press(&mut app, "5\n");
    golden!("detail_pool", app);
}

#[test]
fn what_is_said_is_said_to_its_end() {
    let mut app = app();
    let text = "pool.batches.level=fixed: level stays mutex: 5 chunks of 64 KiB are in use and the limit leaves room for 4; \
                raise bytes_max, or free blocks first; then ask again";
    app.update(Msg::Told { text: text.into(), bad: true });
    for (columns, rows) in [(80, 24), (50, 20)] {
        let words: Vec<String> = frame(&app, &plain(), columns, rows).split_whitespace().map(str::to_owned).collect();
        assert!(words.join(" ").ends_with(text), "{words:?}");
    }
}

/// A pool whose threads meet, which has many classes and is near its limit; and its level about to be turned.
#[test]
fn pools_say_where_threads_meet_and_what_is_wasted() {
    for (keys, name) in [("5j", "pools_crowded"), ("5jW+", "pools_staged")] {
        let mut app = App::new("unix:/run/rheostat/control.sock".into(), moment(0));
        for step in 0..40 {
            let mut snapshot = sketch::snapshot(step);
            let before = snapshot.resources.iter().position(|resource| resource.kind == "allocator").unwrap();
            snapshot.resources.splice(before..before, sketch::crowded(step));
            app.update(Msg::Tick(moment(step * 250)));
            app.update(Msg::Snapshot(Box::new(snapshot)));
        }
        press(&mut app, keys);
        insta::assert_snapshot!(format!("{name}_80x24"), frame(&app, &plain(), 80, 24));
        insta::assert_snapshot!(format!("{name}_160x50"), frame(&app, &plain(), 160, 50));
    }
}

#[test]
fn the_allocator_among_the_pools() {
    golden!("allocator", after("5j"));
}

#[test]
fn changes() {
    golden!("changes", after("8j"));
}

#[test]
fn a_change_that_a_resource_made_of_its_own_accord_says_why() {
    let mut app = app();
    app.update(Msg::Changes(vec![sketch::own_turn()]));
    press(&mut app, "8");
    golden!("own_turn", app);
}

#[test]
fn help() {
    golden!("help", after("?"));
}

#[test]
fn detail_of_a_stage() {
    golden!("detail_stage", after("2j\n"));
}

#[test]
fn detail_of_a_map_with_its_greatest_entries() {
    let mut app = after("4\n");
    let entries = [("the", 912_345), ("of", 611_002), ("żółw", 3)]
        .map(|(key, value)| Entry { key: key.into(), value: value.into() });
    app.update(Msg::Top { address: "map.words".into(), entries: entries.into() });
    golden!("detail_map", app);
}

#[test]
fn detail_of_a_kind_without_a_screen() {
    golden!("detail_scheduler", after("G\n"));
}

#[test]
fn staged_change() {
    golden!("staged", after("2jW+++"));
}

#[test]
fn palette() {
    golden!("palette", after(":set pipeline.words.count.workers=4"));
}

#[test]
fn disconnected() {
    let mut app = app();
    app.update(Msg::FeedLost { why: "Connection refused (os error 111)".into(), retry_in: Duration::from_secs(4) });
    app.update(Msg::Tick(moment(13_000)));
    golden!("disconnected", app);
}

#[test]
fn old_data_is_dimmed() {
    let dimmed = |app: &App| {
        let terminal = drawn(app, &plain(), 80, 24);
        terminal.backend().buffer()[(1, 5)].modifier.contains(Modifier::DIM)
    };
    let mut app = app();
    assert!(!dimmed(&app));
    app.update(Msg::Tick(moment(12_500)));
    assert!(dimmed(&app), "nothing has come for 2.75 s");
}

#[test]
fn ascii() {
    let theme = Theme::new(Colours::None, true);
    let text = frame(&after("2jW+"), &theme, 80, 24);
    assert!(text.is_ascii(), "{text}");
    insta::assert_snapshot!("ascii_80x24", text);
}

#[test]
fn narrow_windows_are_not_refused() {
    insta::assert_snapshot!("overview_60x20", frame(&app(), &plain(), 60, 20));
    insta::assert_snapshot!("pipelines_45x12", frame(&after("2"), &plain(), 45, 12));
    insta::assert_snapshot!("summary_30x8", frame(&app(), &plain(), 30, 8));
}

#[test]
fn colours_say_what_signs_say() {
    let theme = Theme::new(Colours::True, false);
    let terminal = drawn(&after("2"), &theme, 80, 24);
    let buffer = terminal.backend().buffer();
    // The rows of the stages; below them is a chart.
    let cells: Vec<_> = (3..6).flat_map(|row| (0..80).map(move |column| &buffer[(column, row)])).collect();
    for (sign, colour) in [
        (theme.signs.busy, Color::Rgb(0, 158, 115)),
        (theme.signs.backpressured, Color::Rgb(230, 159, 0)),
        (theme.signs.warn, Color::Rgb(230, 159, 0)),
        (theme.signs.bad, Color::Rgb(213, 94, 0)),
    ] {
        let mut with_sign = cells.iter().filter(|cell| cell.symbol() == sign).peekable();
        assert!(with_sign.peek().is_some(), "no {sign} on screen");
        assert!(with_sign.all(|cell| cell.fg == colour), "{sign} has another colour");
    }
}

#[test]
fn no_window_is_too_small() {
    let screens = Screen::ALL.map(|screen| screen.digit().to_string());
    let more = ["2j\n", "G\n", "4\n", "?", "2jW+", ":set pipeline.words.count.workers=4", "/none"].map(str::to_owned);
    let mut apps: Vec<App> = screens.into_iter().chain(more).map(|keys| after(&keys)).collect();
    apps.push(App::new("unix:/nowhere".into(), moment(0)));
    for app in &mut apps {
        for columns in 0..=40 {
            for rows in 0..=12 {
                app.update(Msg::Resize(columns, rows));
                drawn(app, &plain(), columns, rows);
            }
        }
        // Beyond the sizes where anything is drawn in full, and one no screen has.
        for (columns, rows) in [(41, 200), (79, 11), (119, 12), (121, 13), (500, 200)] {
            drawn(app, &plain(), columns, rows);
        }
    }
}

#[test]
fn a_filter_without_a_match_says_so() {
    assert!(frame(&after("/zzz\n"), &plain(), 80, 24).contains("no resource matches /zzz"));
    assert!(frame(&after("8/zzz\n"), &plain(), 80, 24).contains("no change matches /zzz"));
}

#[test]
fn a_mark_leaves_the_data_of_its_column_on_screen() {
    let theme = plain();
    let terminal = drawn(&after("2j"), &theme, 160, 50);
    let buffer = terminal.backend().buffer();
    let marked = |row: u16| {
        let cells = (0..160).map(move |column| &buffer[(column, row)]);
        cells.filter(|cell| cell.modifier.contains(Modifier::REVERSED | Modifier::UNDERLINED)).collect::<Vec<_>>()
    };
    for row in 3..6 {
        assert_eq!(marked(row).len(), 1, "the trend of row {row} shows the one change of the pipeline");
        assert!(theme.signs.heights.contains(&marked(row)[0].symbol()), "{}", marked(row)[0].symbol());
    }
}
