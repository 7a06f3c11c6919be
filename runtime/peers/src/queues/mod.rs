//! Queues of `u64`s. The cases are defined in the README.

#[cfg(have_moodycamel)]
mod cpp;
mod ours;
mod rust;

use crate::Options;
use crate::measure::{self, Contender, Figure};
use std::hint::black_box;

/// What bounded queues are made for.
const CAPACITY: usize = 1024;
const BURST: u64 = 512;
const BULK: u64 = 100;
const RUN: u64 = 64;

/// A queue as its user would use it: its ends, waiting as its users would wait.
trait Peer: Sized {
    type Producer: Producer + Send;
    type Consumer: Consumer + Send;

    /// The ends of a fresh queue; `None` if it cannot have that many.
    fn ends(producers: usize, consumers: usize) -> Option<Ends<Self>>;
}

/// The producers and the consumers of one queue.
type Ends<P> = (Vec<<P as Peer>::Producer>, Vec<<P as Peer>::Consumer>);

trait Producer {
    fn push(&mut self, item: u64);
    /// All of them, in as few calls as the queue allows.
    fn push_run(&mut self, items: &mut Vec<u64>) {
        items.drain(..).for_each(|item| self.push(item));
    }
}

trait Consumer {
    fn pop(&mut self) -> u64;
    /// At least one, at most `max`.
    fn pop_run(&mut self, out: &mut Vec<u64>, max: usize) {
        out.extend((0..max).map(|_| self.pop()));
    }
}

/// A column of the table.
#[derive(Clone, Copy)]
enum Case {
    Pair,
    Burst,
    Bulk,
    /// So many producers and as many consumers, in calls of `run` items.
    Exchange {
        each: usize,
        run: u64,
    },
}

/// With the items it moves, about.
const CASES: [(&str, Case, u64); 7] = [
    ("pair", Case::Pair, 4_000_000),
    ("burst 512", Case::Burst, 4_000_000),
    ("bulk 100", Case::Bulk, 8_000_000),
    ("1P1C", Case::Exchange { each: 1, run: 1 }, 4_000_000),
    ("1P1C bulk 64", Case::Exchange { each: 1, run: RUN }, 8_000_000),
    ("2P2C", Case::Exchange { each: 2, run: 1 }, 2_000_000),
    ("4P4C", Case::Exchange { each: 4, run: 1 }, 2_000_000),
];

impl Case {
    fn run<P: Peer>(self, about: u64) -> Option<Figure> {
        match self {
            Case::Pair => alone::<P>(about, |producer, consumer, items| {
                (0..items).fold(0, |sum, item| {
                    producer.push(black_box(item));
                    sum + consumer.pop()
                })
            }),
            Case::Burst => alone::<P>(about.next_multiple_of(BURST), |producer, consumer, items| {
                (0..items).step_by(BURST as usize).fold(0, |sum, first| {
                    (first..first + BURST).for_each(|item| producer.push(black_box(item)));
                    (0..BURST).fold(sum, |sum, _| sum + consumer.pop())
                })
            }),
            Case::Bulk => alone::<P>(about.next_multiple_of(BULK), |producer, consumer, items| {
                let (mut run, mut out) = (Vec::new(), Vec::new());
                (0..items).step_by(BULK as usize).fold(0, |mut sum, first| {
                    run.extend(first..first + BULK);
                    producer.push_run(&mut run);
                    let mut left = BULK as usize;
                    while left > 0 {
                        consumer.pop_run(&mut out, left);
                        left -= out.len();
                        sum += out.drain(..).sum::<u64>();
                    }
                    sum
                })
            }),
            Case::Exchange { each, run } => exchange::<P>(each, run, about),
        }
    }
}

/// One thread has both ends and moves the items `0..items`; `body` returns the sum of what came out.
fn alone<P: Peer>(
    items: u64,
    body: impl FnOnce(&mut P::Producer, &mut P::Consumer, u64) -> u64 + Send,
) -> Option<Figure> {
    let (mut producers, mut consumers) = P::ends(1, 1)?;
    let (producer, consumer) = (&mut producers[0], &mut consumers[0]);
    let (figure, sum) = measure::alone(items, move || body(producer, consumer, items));
    assert_eq!(sum, items * (items - 1) / 2, "what came out is not what went in");
    Some(figure)
}

/// What each thread moves is fixed beforehand, so that nobody has to be told when to stop.
fn exchange<P: Peer>(each: usize, run: u64, about: u64) -> Option<Figure> {
    let share = (about / each as u64).next_multiple_of(run);
    let (producers, consumers) = P::ends(each, each)?;
    let mut bodies: Vec<Box<dyn FnOnce() -> u64 + Send>> = Vec::new();
    for (index, (mut producer, mut consumer)) in producers.into_iter().zip(consumers).enumerate() {
        let begin = index as u64 * share;
        bodies.push(Box::new(move || {
            if run == 1 {
                (begin..begin + share).for_each(|item| producer.push(item));
            } else {
                let mut items = Vec::with_capacity(run as usize);
                (begin..begin + share).step_by(run as usize).for_each(|first| {
                    items.extend(first..first + run);
                    producer.push_run(&mut items);
                });
            }
            0
        }));
        bodies.push(Box::new(move || {
            if run == 1 {
                return (0..share).fold(0, |sum, _| sum + consumer.pop());
            }
            let (mut sum, mut left, mut out) = (0, share, Vec::with_capacity(run as usize));
            while left > 0 {
                consumer.pop_run(&mut out, run.min(left) as usize);
                left -= out.len() as u64;
                sum += out.drain(..).sum::<u64>();
            }
            sum
        }));
    }
    let items = share * each as u64;
    let (figure, sums) = measure::together(items, bodies);
    assert_eq!(sums.iter().sum::<u64>(), items * (items - 1) / 2, "what came out is not what went in");
    Some(figure)
}

fn contender<P: Peer>(name: &str, options: Options) -> Contender<'static> {
    // In quick runs a twentieth of the items.
    let part = if options.quick { 20 } else { 1 };
    Contender {
        name: name.into(),
        run: Box::new(move |_| CASES.map(|(_, case, about)| case.run::<P>(about / part)).into()),
        remark: format!("{}", CASES.map(|(_, _, about)| about / part).iter().sum::<u64>()),
    }
}

/// Prints the table.
pub fn run(options: Options) {
    let mut contenders = ours::contenders(options);
    contenders.extend(rust::contenders(options));
    #[cfg(have_moodycamel)]
    contenders.extend(cpp::contenders(options));
    let rows = measure::repeat(options, contenders);
    let title = format!("Queues of u64, capacity {CAPACITY}: ns per item");
    let columns = CASES.map(|(name, _, _)| name);
    measure::print(&title, &columns, "items a repetition, about; sums asserted", &rows);
    measure::print_faces(&columns, &rows, &ours::FACED);
    if !cfg!(have_moodycamel) {
        println!("\nNot in this build: moodycamel (see the README on `--features cpp`).");
    }
}
